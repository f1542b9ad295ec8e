"""Training with the batch split over 8 devices equals training on one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import sharding, training
from tests.sharding.programs import assert_close, count
from tests.structure import hlo

T, B, F, H, STEPS = 5, 16, 3, 8, 3


def network():
    return rnnjax.stack(rnnjax.lstm(H), rnnjax.dropout(0.3), rnnjax.dense(1))


def sequence_loss(ys, targets, mask):
    del mask
    return jnp.mean((ys - targets) ** 2), {}


def start(optimizer):
    rnn, key = network(), jax.random.key(0)
    params = rnn.init(key, jnp.ones(F))
    return training.init_state(params, optimizer, rnn.initial_carry(params, (B,)))


def batches():
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(STEPS, T, B, F)).astype("float32")
    for x in xs:
        yield {"inputs": x, "targets": x.sum(-1, keepdims=True)}


def optimizer():
    return training.optimizer("adam", 1e-2, clip_norm=1.0)


def step_function():
    loss = training.stateful_loss(network(), sequence_loss)
    return training.train_step(loss, optimizer(), donate=False)


def trained(state, batches, key, step):
    losses = []
    for k, batch in enumerate(batches):
        state, metrics = step(state, batch, jax.random.fold_in(key, k))
        losses.append(metrics["loss"])
    return jax.device_get((state._replace(step=0), losses))


@pytest.fixture(scope="module")
def alone():
    return trained(start(optimizer()), batches(), jax.random.key(1), step_function())


@pytest.mark.parametrize("explicit", [False, True])
def test_train_step_on_8_devices(alone, explicit):
    """Dropout and the carry from window to window included."""
    mesh = sharding.mesh("data=8", explicit=explicit)
    step = step_function()
    with jax.set_mesh(mesh):
        state = sharding.shard_state(start(optimizer()), mesh)
        split = [sharding.shard_batch(batch, mesh) for batch in batches()]
        key = sharding.replicate(jax.random.key(1), mesh)
        assert_close(trained(state, split, key, step), alone)
        text = step.lower(state, split[0], key).compile().as_text()
    loops = hlo.innermost_loops(text)
    assert loops
    assert [count(loop.instructions) for loop in loops] == [{}] * len(loops)
    everywhere = [i for lines in hlo.computations(text).values() for i in lines]
    # With explicit axes JAX gathers a bias's gradient [B, 4H] before it sums over B.
    assert set(count(everywhere)) <= {"all-reduce", *["all-gather"] * explicit}


@pytest.mark.filterwarnings("ignore:.*pmap.*")
def test_pmap():
    """The old way: a gradient on each device, their mean, the same step everywhere."""
    rnn, optimiser = rnnjax.gru(H), optimizer()
    params = rnn.init(jax.random.key(0), jnp.ones(F))
    state = optimiser.init(params)
    xs = jnp.asarray(np.random.default_rng(1).normal(size=(T, B, F)), jnp.float32)

    def loss(params, xs):
        return jnp.mean(rnn.unroll(params, None, xs)[1] ** 2)

    def step(params, state, xs, mean):
        value, gradient = mean(jax.value_and_grad(loss)(params, xs))
        updates, state = optimiser.update(gradient, state, params)
        return jax.tree.map(jnp.add, params, updates), value

    expected = jax.jit(lambda *args: step(*args, lambda g: g))(params, state, xs)
    pieces = jnp.stack(jnp.split(xs, 8, axis=1))
    mapped = jax.pmap(
        lambda *args: step(*args, lambda g: jax.lax.pmean(g, "data")),
        axis_name="data",
        in_axes=(None, None, 0),
        out_axes=None,
    )
    assert_close(
        jax.device_get(mapped(params, state, pieces)), jax.device_get(expected)
    )
