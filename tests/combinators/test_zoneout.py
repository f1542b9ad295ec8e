import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.cells import LSTMCarry

KEY = jax.random.key(1)
XS = jax.random.normal(jax.random.key(2), (4, 2, 3))


def build(cell, rate):
    rnn = rnnjax.layer(rnnjax.zoneout(cell, rate))
    return rnn, rnn.init(jax.random.key(0), jnp.ones(3))


def test_evaluation_blends_by_the_expectation():
    cell = rnnjax.cells.lstm(4)
    rates = LSTMCarry(h=0.25, c=0.5)
    rnn, params = build(cell, rates)
    carry, ys = rnn.unroll(params, None, XS)
    old = cell.initial_carry(params, (2,))
    for t, x in enumerate(XS):
        new, _ = cell.recur(params["recurrent"], old, cell.project(params, x))
        old = jax.tree.map(lambda p, a, b: p * a + (1 - p) * b, rates, old, new)
        chex.assert_trees_all_close(ys[t], old.h, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(carry, old, rtol=1e-5, atol=1e-6)


def test_training_keeps_units_at_the_rate():
    cell = rnnjax.cells.gru(64)
    rnn, params = build(cell, 0.25)
    xs = jnp.ones((3, 8, 3))
    _, ys = rnn.unroll(params, jnp.full((8, 64), 9.0), xs, key=KEY)
    kept = ys[0] == 9.0
    assert 0.2 < np.mean(kept) < 0.3
    new, _ = cell.recur(
        params["recurrent"], jnp.full((8, 64), 9.0), cell.project(params, xs[0])
    )
    chex.assert_trees_all_close(ys[0], jnp.where(kept, 9.0, new), rtol=1e-5, atol=1e-6)
    assert not np.array_equal(kept, ys[1] == ys[0])  # drawn anew at every step


@pytest.mark.parametrize("reverse", [False, True])
def test_unroll_is_the_loop_of_step(reverse):
    rnn, params = build(rnnjax.cells.lstm(4), 0.5)
    carry, ys = rnn.unroll(params, None, XS, key=KEY, reverse=reverse)
    step, loop, outputs = jax.jit(rnn.step), None, []
    order = XS[::-1] if reverse else XS
    for x, key in zip(order, rnnjax.step_keys(KEY, 4), strict=True):
        loop, y = step(params, loop, x, key=key)
        outputs.append(y)
    outputs = jnp.stack(outputs[::-1] if reverse else outputs)
    chex.assert_trees_all_close((carry, ys), (loop, outputs), rtol=1e-5, atol=1e-6)


def counting(hidden_size):
    """A cell with an int32 time index in its carry and a readout that sees u."""
    inner = rnnjax.cells.simple(hidden_size)

    def initial_carry(params, batch_shape=()):
        return inner.initial_carry(params, batch_shape), jnp.zeros(batch_shape, int)

    def recur(w, carry, u):
        h, y = inner.recur(w, carry[0], u)
        return (h, carry[1] + 1), y

    def readout(params, y, x, u):
        return y + 0 * u

    return inner._replace(initial_carry=initial_carry, recur=recur, readout=readout)


@pytest.mark.parametrize("key", [None, KEY])
def test_integer_leaves_are_left_alone(key):
    rnn, params = build(counting(4), 0.5)
    (h, count), ys = rnn.unroll(params, None, XS, key=key)
    assert count.tolist() == [4, 4]
    chex.assert_trees_all_close(ys[-1], h, rtol=1e-5, atol=1e-6)


def test_rate_zero_is_the_plain_cell_and_gradients_agree():
    rnn, params = build(rnnjax.cells.gru(4), 0.0)
    plain = rnnjax.gru(4, schedule=rnnjax.Schedule(backend="scan"))  # bit for bit
    chex.assert_trees_all_equal(
        rnn.unroll(params, None, XS, key=KEY), plain.unroll(params, None, XS)
    )
    grads = []
    for gradient in ("deferred", "autodiff"):
        rnn = rnnjax.layer(
            rnnjax.zoneout(rnnjax.cells.gru(4), 0.5), rnnjax.Schedule(gradient=gradient)
        )

        def loss(params, rnn=rnn):
            return jnp.sum(rnn.unroll(params, None, XS, key=KEY)[1] ** 2)

        grads.append(jax.jit(jax.grad(loss))(params))
    chex.assert_trees_all_close(*grads, rtol=1e-5, atol=1e-6)


def through_custom_vjp(f):
    wrapped = jax.custom_vjp(f)
    wrapped.defvjp(lambda *args: jax.vjp(f, *args), lambda vjp, g: vjp(g))
    return wrapped


WRAPS = [jax.jit, lambda f: jax.jit(jax.checkpoint(f)), through_custom_vjp]


@pytest.mark.parametrize("wrap", WRAPS, ids=["jit", "checkpoint", "custom_vjp"])
@pytest.mark.parametrize("key", [None, KEY], ids=["evaluation", "training"])
def test_the_output_is_the_blended_carry_behind_a_call(wrap, key):
    cell = rnnjax.cells.lstm(4)
    rnn, params = build(cell, 0.5)
    expected = rnn.unroll(params, None, XS, key=key)
    wrapped, _ = build(cell._replace(recur=wrap(cell.recur)), 0.5)
    got = wrapped.unroll(params, None, XS, key=key)
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-6)


def test_an_output_that_is_no_leaf_of_the_carry_is_left_alone():
    """Among them what a call is given and passes on, and another result of it."""
    inner = rnnjax.cells.simple(4)

    @jax.jit
    def recur(w, carry, u):
        new, y = inner.recur(w, carry, u)
        return new, {"h": y, "u": u, "before": carry, "twice": 2 * y}

    rnn, params = build(inner._replace(recur=recur), 0.25)
    carry, ys = rnn.unroll(params, None, XS)
    u = jax.vmap(inner.project, (None, 0))(params, XS)
    new, _ = jax.vmap(inner.recur, (None, 0, 0))(params["recurrent"], ys["before"], u)
    chex.assert_trees_all_close(carry, ys["h"][-1], rtol=1e-5, atol=1e-6)
    expected = {
        "h": 0.25 * ys["before"] + 0.75 * new,
        "u": u,
        "before": jnp.concatenate([jnp.zeros((1, 2, 4)), ys["h"][:-1]]),
        "twice": 2 * new,
    }
    chex.assert_trees_all_close(ys, expected, rtol=1e-5, atol=1e-6)


def test_bad_arguments():
    with pytest.raises(TypeError, match="make the layer of it"):
        rnnjax.zoneout(rnnjax.gru(4), 0.1)
    with pytest.raises(ValueError, match="expected a probability"):
        rnnjax.zoneout(rnnjax.cells.lstm(4), LSTMCarry(0.1, 1.0))
    rnn, params = build(rnnjax.cells.gru(4), LSTMCarry(0.1, 0.1))
    with pytest.raises(ValueError, match="structure of the carry"):
        rnn.unroll(params, None, XS)


def test_no_steps():
    rnn, params = build(rnnjax.cells.lstm(4), 0.5)
    carry, ys = rnn.unroll(params, None, jnp.ones((0, 2, 3)), key=KEY)
    assert carry.h.shape == (2, 4) and ys.shape == (0, 2, 4)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_rate_of_numpy_keeps_the_dtype_of_the_carry(kind):
    cell = rnnjax.cells.lstm(4, dtype=jnp.bfloat16)
    rnn, params = build(cell, 0.5)
    _, expected = rnn.unroll(params, None, XS)
    _, ys = rnnjax.layer(rnnjax.zoneout(cell, kind(0.5))).unroll(params, None, XS)
    assert ys.dtype == jnp.bfloat16
    assert np.array_equal(ys, expected)
