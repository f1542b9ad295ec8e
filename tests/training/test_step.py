"""Stateful truncated BPTT against gradients cut by hand; keys, carries, compilation."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rnnjax
from rnnjax import training
from tests.training.networks import draw

BATCH, LENGTH, WINDOW = 2, 6, 2
RNN = rnnjax.stack(rnnjax.simple(3), rnnjax.dense(1))
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def stream():
    wave = np.sin(np.arange(LENGTH * BATCH + 1, dtype=np.float32))
    pair = {"inputs": wave[:-1, None], "targets": wave[1:, None]}
    return training.streams(pair, BATCH)


@pytest.fixture(scope="module")
def params():
    return draw(RNN, jnp.ones(1))


@pytest.fixture(scope="module")
def carry(params):
    """Not zero, so that a gradient into it would show."""
    carry = RNN.initial_carry(params, (BATCH,))
    return jax.tree.map(lambda a: a + 0.3, carry)


def squared_error(params, carry, batch, key):
    carry, ys = RNN.unroll(params, carry, batch["inputs"], key=key)
    return jnp.mean((ys - batch["targets"]) ** 2), (carry, {"mean": ys.mean()})


def summing():
    """No optimiser: leaves the parameters alone and adds the gradients up."""
    zeros = lambda tree: jax.tree.map(jnp.zeros_like, tree)  # noqa: E731

    def update(grads, total, params):
        return zeros(grads), jax.tree.map(jnp.add, total, grads)

    return optax.GradientTransformation(zeros, update)


def run(step, state, batches):
    for k, batch in enumerate(batches):
        state, metrics = step(state, batch, jax.random.fold_in(KEY, k))
    return state, metrics


def by_truncate(params, carry, stream):
    """The same of one unroll, for a fixed given carry."""
    carry = jax.lax.stop_gradient(carry)
    cut = rnnjax.truncate(RNN, WINDOW)
    carry, ys = cut.unroll(params, carry, stream["inputs"])
    return jnp.mean((ys - stream["targets"]) ** 2) * (LENGTH / WINDOW), carry


def by_hand(params, carry, stream, cut):
    """The sum of the losses of the windows, step by step, cut between windows."""
    total = 0.0
    for t, (x, target) in enumerate(
        zip(stream["inputs"], stream["targets"], strict=True)
    ):
        if cut and t % WINDOW == 0:
            carry = jax.lax.stop_gradient(carry)
        carry, y = RNN.step(params, carry, x)
        total += jnp.mean((y - target) ** 2) / WINDOW
    return total, carry


def test_gradients_equal_those_cut_by_hand(params, carry, stream, tolerance):
    step = training.train_step(squared_error, summing())
    state = training.init_state(params, summing(), carry)
    state, _ = run(step, state, training.windows(stream, WINDOW))
    gradient = jax.jit(jax.grad(by_hand, has_aux=True), static_argnames="cut")
    cut, last = gradient(params, carry, stream, cut=True)
    uncut, _ = gradient(params, carry, stream, cut=False)
    truncated, _ = jax.jit(jax.grad(by_truncate, has_aux=True))(params, carry, stream)
    chex.assert_trees_all_close(state.opt_state, cut, **tolerance)
    chex.assert_trees_all_close(state.opt_state, truncated, **tolerance)
    chex.assert_trees_all_close(state.carry, last, **tolerance)
    assert int(state.step) == LENGTH // WINDOW
    kernel = ("0", "recurrent", "kernel")
    for name in kernel:
        cut, uncut = cut[name], uncut[name]
    assert np.abs(cut - uncut).max() > 1e-3  # the cut matters here


def test_no_gradient_passes_between_windows_of_one_program(params, carry, stream):
    first, second, *_ = training.windows(stream, WINDOW)
    step = training.train_step(squared_error, summing())

    @jax.jit
    def second_loss(carry):
        state = training.init_state(params, summing(), carry)
        state, _ = step(state, first, KEY)
        _, metrics = step(state, second, KEY)
        return metrics["loss"] + sum(map(jnp.sum, jax.tree.leaves(state.carry)))

    for leaf in jax.tree.leaves(jax.grad(second_loss)(carry)):
        np.testing.assert_array_equal(leaf, 0)


def test_one_compilation_for_all_windows_and_donated_states(params, stream):
    loss = chex.assert_max_traces(squared_error, n=1)
    optimizer = training.optimizer(
        "adamw", optax.linear_schedule(0.1, 0.01, 9), clip_norm=1.0, weight_decay=0.1
    )
    step = training.train_step(loss, optimizer)
    # Weakly typed on purpose, as the result of a computation with numbers may be.
    weak = jnp.full(1, 0.0)
    assert weak.weak_type
    start = {**params, "1": {**params["1"], "bias": weak}}
    first = training.init_state(start, optimizer, RNN.initial_carry(params, (BATCH,)))
    state, _ = run(step, first, training.windows(stream, WINDOW))
    assert int(state.step) == 3
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first.params))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(start))


def test_metrics_are_of_the_unclipped_gradient_and_the_old_parameters(
    params, carry, stream, tolerance
):
    batch = training.windows(stream, WINDOW)[0]
    optimizer = training.optimizer("sgd", 1.0, clip_norm=1e-3)
    step = training.train_step(squared_error, optimizer, donate=False)
    state = training.init_state(params, optimizer, carry)
    after, metrics = step(state, batch, KEY)
    (value, (_, given)), grads = jax.jit(
        jax.value_and_grad(squared_error, has_aux=True)
    )(params, carry, batch, KEY)
    assert set(metrics) == {"loss", "grad_norm", "mean"}
    expected = {"loss": value, "grad_norm": optax.tree.norm(grads), **given}
    chex.assert_trees_all_close(metrics, expected, **tolerance)
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, after.params, state.params))
    assert float(moved) == pytest.approx(1e-3, rel=1e-2)
    assert float(metrics["grad_norm"]) > 1e-2


def test_the_loss_gets_the_key_as_it_is():
    def loss(params, carry, batch, key):
        return params * jax.random.uniform(key), (carry, {})

    step = training.train_step(loss, optax.sgd(1.0))
    state = training.init_state(1.0, optax.sgd(1.0))
    for key in (jax.random.key(3), jax.random.PRNGKey(4)):
        state = training.init_state(1.0, optax.sgd(1.0))
        state, metrics = step(state, None, key)
        assert float(metrics["loss"]) == float(jax.random.uniform(key))
        assert state.carry is None


@pytest.fixture(scope="module")
def sgd_step():
    return training.train_step(squared_error, optax.sgd(0.1))


def test_a_step_without_a_key_raises(sgd_step, params, carry, stream):
    state = training.init_state(params, optax.sgd(0.1), carry)
    batch = training.windows(stream, WINDOW)[0]
    for arguments in ((state, batch), (state, batch, None)):
        with pytest.raises(ValueError, match="key: expected a PRNG key, got None"):
            sgd_step(*arguments)
    with pytest.raises(TypeError, match=r"key: .* got int32\[\].*jax.random.key"):
        sgd_step(state, batch, 0)


def test_a_carry_returned_where_none_was_given_raises(sgd_step, params, stream):
    state = training.init_state(params, optax.sgd(0.1))
    with pytest.raises(ValueError, match="carry None.*initial_carry.*return None"):
        sgd_step(state, training.windows(stream, WINDOW)[0], KEY)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda carry: {"h": carry}, "expected the loss to return the structure"),
        (lambda carry: (carry[0][:1], ()), r"carry\[0\]: .*\[2, 3\].* got .*\[1, 3"),
        (lambda carry: (carry[0] > 0, ()), r"carry\[0\]: .*float32.* got bool"),
    ],
    ids=["structure", "shape", "dtype"],
)
def test_a_carry_of_another_type_raises(params, carry, change, message):
    def loss(params, carry, batch, key):
        return jnp.sum(params["1"]["bias"]), (change(carry), {})

    state = training.init_state(params, optax.sgd(0.1), carry)
    with pytest.raises(ValueError, match=message):
        training.train_step(loss, optax.sgd(0.1))(state, None, KEY)


def test_an_ensemble_of_states_trains_under_vmap(params, carry, stream):
    optimizer = training.optimizer("sgd", 0.1)
    batch = training.windows(stream, WINDOW)[0]

    step = training.train_step(squared_error, optimizer, donate=False)
    members = [
        training.init_state(p, optimizer, carry)
        for p in (jax.tree.map(jnp.zeros_like, params), params)
    ]
    states = jax.tree.map(lambda *leaves: np.stack(leaves), *members)
    after, metrics = jax.jit(jax.vmap(step, (0, None, None)))(states, batch, KEY)
    assert metrics["loss"].shape == (2,)
    one, _ = step(members[1], batch, KEY)
    chex.assert_trees_all_close(
        jax.tree.map(lambda a: a[1], after), one, rtol=1e-5, atol=1e-6
    )
