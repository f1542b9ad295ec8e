"""Optimisers by name: they descend, clip first, decay last, and spare the biases."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rnnjax
from rnnjax import training

PARAMS = {"kernel": jnp.asarray([[1.0, -2.0]]), "bias": jnp.asarray([3.0])}
GRADS = {"kernel": jnp.asarray([[2.0, 4.0]]), "bias": jnp.asarray([4.0])}  # norm 6


def update(optimizer, steps=1, grads=GRADS):
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(steps):
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


def assert_close(tree, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), tree, other)


# What Optax itself calls them.
PEERS = {
    "sgd": lambda rate: optax.sgd(rate),
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "rmsprop": lambda rate: optax.rmsprop(rate),
    "adam": lambda rate: optax.adam(rate),
    "adamw": lambda rate: optax.adamw(rate, weight_decay=0.0),
}


@pytest.mark.parametrize("name", PEERS)
def test_names_mean_what_they_mean_in_optax_and_descend(name):
    made = update(training.optimizer(name, 0.1), steps=3)
    assert_close(made, update(PEERS[name](0.1), steps=3))

    loss = lambda p: jnp.sum(p["kernel"] ** 2) + jnp.sum(p["bias"] ** 2)  # noqa: E731
    step = training.train_step(
        lambda params, carry, batch, key: (loss(params), (carry, {})),
        optimizer := training.optimizer(name, 0.05, clip_norm=10.0),
    )
    state = training.init_state(PARAMS, optimizer)
    values = []
    for k in range(20):
        state, metrics = step(state, None, jax.random.key(k))
        values.append(float(metrics["loss"]))
    assert values[0] == 14
    assert min(values) < 0.8 * values[0]


def test_clipping_is_of_the_global_norm_and_comes_first():
    # Adam does not see the size of a gradient that is clipped always the same way,
    # but momentum does: clipping after it would let 2 steps move by 1.9 * 3 / 6.
    clipped = update(training.optimizer("momentum", 1.0, clip_norm=3.0), steps=2)
    moved = jax.tree.map(lambda a, b: a - b, PARAMS, clipped)
    assert_close(moved, jax.tree.map(lambda g: (1 + 1.9) * g / 2, GRADS))
    untouched = update(training.optimizer("sgd", 1.0, clip_norm=6.5))
    assert_close(untouched, jax.tree.map(jnp.subtract, PARAMS, GRADS))
    # Of the decay nothing is clipped.
    decayed = training.optimizer("sgd", 0.5, clip_norm=1e-6, weight_decay=0.2)
    assert_close(update(decayed)["kernel"], 0.9 * PARAMS["kernel"])


def test_clipping_by_value_and_by_units():
    by_value = update(training.optimizer("sgd", 1.0, clip_value=3.0))
    assert_close(by_value["kernel"], PARAMS["kernel"] - jnp.asarray([[2.0, 3.0]]))
    assert_close(by_value["bias"], PARAMS["bias"] - 3.0)

    # A unit is a column of a kernel, or a whole vector; a weight of 0 counts as 1e-3.
    generator = np.random.default_rng(0)
    params = {"kernel": generator.normal(size=(3, 4)), "bias": generator.normal(size=4)}
    params["kernel"][:, 2] = 0
    grads = {"kernel": generator.normal(size=(3, 4)), "bias": 0.1 * params["bias"]}
    optimizer = training.optimizer("sgd", 1.0, clip_adaptive=0.5)
    params, grads = (jax.tree.map(jnp.float32, tree) for tree in (params, grads))
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    for unit in range(4):
        w, g, u = (np.asarray(t["kernel"])[:, unit] for t in (params, grads, updates))
        bound = 0.5 * max(np.linalg.norm(w), 1e-3)
        scale = min(1, bound / np.linalg.norm(g))
        np.testing.assert_allclose(u, -scale * g, rtol=1e-5)
    assert_close(updates["bias"], -grads["bias"])  # 0.1 of the weights


def test_the_mean_of_the_weights():
    optimizer = training.with_ema(optax.adam(0.3), 0.8)
    params, state = PARAMS, optimizer.init(PARAMS)
    plain, plain_state = PARAMS, optax.adam(0.3).init(PARAMS)
    mean = PARAMS
    for _ in range(3):
        updates, state = optimizer.update(GRADS, state, params)
        params = optax.apply_updates(params, updates)
        updates, plain_state = optax.adam(0.3).update(GRADS, plain_state, plain)
        plain = optax.apply_updates(plain, updates)
        mean = jax.tree.map(lambda m, w: 0.8 * m + 0.2 * w, mean, plain)
    assert_close(params, plain)
    assert_close(training.ema_params(state), mean)
    inside = training.accumulate(optax.chain(optimizer), 2)
    # Its own copy: a step gives the memory of parameters away.
    start = training.init_state(PARAMS, inside)
    assert_close(training.ema_params(start.opt_state), PARAMS)
    assert training.ema_params(start.opt_state)["bias"] is not start.params["bias"]
    with pytest.raises(ValueError, match="expected that of one with_ema.*got 0"):
        training.ema_params(plain_state)
    with pytest.raises(ValueError, match="decay: expected a number from 0 to 1, got 2"):
        training.with_ema(optax.sgd(1.0), 2)


def test_several_batches_move_as_one_of_their_size():
    xs = jnp.arange(12.0).reshape(6, 2)

    def loss(params, carry, batch, key):
        return jnp.mean((batch @ params["w"] - 1.0) ** 2), (carry, {})

    def train(optimizer, batches):
        step = training.train_step(loss, optimizer)
        state = training.init_state({"w": jnp.asarray([0.1, -0.2])}, optimizer)
        for k, batch in enumerate(batches):
            state, _ = step(state, batch, jax.random.key(k))
        return state.params

    adam = training.optimizer("adam", 0.1, clip_norm=1.0)
    small = train(training.accumulate(adam, 3), [xs[0:2], xs[2:4], xs[4:6]] * 2)
    assert_close(small, train(adam, [xs, xs]))
    with pytest.raises(ValueError, match="batches: expected a positive integer"):
        training.accumulate(adam, 0)


def test_decay_is_decoupled_and_spares_biases():
    for name in ("sgd", "momentum", "rmsprop", "adamw"):
        without = update(training.optimizer(name, 0.1))
        params = update(training.optimizer(name, 0.1, weight_decay=0.5))
        assert_close(params["bias"], without["bias"])
        assert_close(params["kernel"], without["kernel"] - 0.05 * PARAMS["kernel"])
    everything = training.optimizer(
        "sgd", 0.1, weight_decay=0.5, decay_mask={"kernel": False, "bias": True}
    )
    params = update(everything)
    assert_close(params["kernel"], PARAMS["kernel"] - 0.1 * GRADS["kernel"])
    assert_close(params["bias"], 0.95 * PARAMS["bias"] - 0.1 * GRADS["bias"])


def test_a_schedule_sets_the_learning_rate():
    schedule = optax.piecewise_constant_schedule(1.0, {1: 0.0})
    assert_close(
        update(training.optimizer("sgd", schedule), steps=3),
        jax.tree.map(jnp.subtract, PARAMS, GRADS),
    )


def test_options_reach_optax():
    made = training.optimizer("momentum", 0.1, momentum=0.5, nesterov=True)
    assert_close(
        update(made, 3), update(optax.sgd(0.1, momentum=0.5, nesterov=True), 3)
    )
    made = training.optimizer("adam", 0.1, b1=0.5, eps=0.1)
    assert_close(update(made, 3), update(optax.adam(0.1, b1=0.5, eps=0.1), 3))


@pytest.mark.parametrize(
    "error, message, options",
    [
        (ValueError, "name: expected one of sgd, .*got 'sdg'", {"name": "sdg"}),
        (ValueError, "clip_norm: .* None for no clipping, got 0", {"clip_norm": 0}),
        (ValueError, "clip_value: expected a bound above 0", {"clip_value": -1}),
        (ValueError, "clip_adaptive: expected a bound", {"clip_adaptive": 0.0}),
        (ValueError, "weight_decay: expected 0 or more", {"weight_decay": -1}),
        (ValueError, "Use 'adamw'", {"name": "adam", "weight_decay": 0.1}),
        (TypeError, "momentum: expected an option of 'sgd'", {"momentum": 0.9}),
        (TypeError, r"b1: .*'momentum' \(momentum", {"name": "momentum", "b1": 0.9}),
    ],
)
def test_errors(error, message, options):
    with pytest.raises(error, match=message):
        training.optimizer(**{"name": "sgd", "learning_rate": 0.1, **options})


def test_mask_of_a_network():
    rnn = rnnjax.stack(
        rnnjax.embed(5, 3),
        rnnjax.lstm(2, layer_norm=True),
        rnnjax.gru(2, reset_after=True),
        rnnjax.norm(),
        rnnjax.dense(2),
    )
    x = jax.ShapeDtypeStruct((), jnp.int32)
    params = jax.eval_shape(rnn.init, jax.random.key(0), x)
    mask = training.weight_decay_mask(params)
    paths = jax.tree_util.tree_leaves_with_path(mask)
    decayed = {
        jax.tree_util.keystr(p, simple=True, separator=".") for p, m in paths if m
    }
    assert decayed == {
        "1.input.kernel",
        "1.recurrent.kernel",
        "2.input.kernel",
        "2.recurrent.kernel",
        "4.kernel",
    }
    # The same of an ensemble, whose leaves all have one more axis.
    ensemble = jax.eval_shape(
        jax.vmap(rnn.init, (0, None)), jax.random.split(jax.random.key(0), 3), x
    )
    assert training.weight_decay_mask(ensemble) == mask
    learned = {"initial": {"h": jnp.zeros((1, 2))}, "recurrent": {"kernel": jnp.eye(2)}}
    assert training.weight_decay_mask(learned) == {
        "initial": {"h": False},
        "recurrent": {"kernel": True},
    }
