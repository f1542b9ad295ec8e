import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax

KEY = jax.random.key(1)
XS = jax.random.normal(jax.random.key(2), (4, 2, 3))


def build(rnn, *rates):
    rnn = rnnjax.variational_dropout(rnn, *rates)
    return rnn, rnn.init(jax.random.key(0), jnp.ones(3))


@pytest.mark.parametrize("make", [rnnjax.simple, rnnjax.gru, rnnjax.lstm])
def test_unroll_is_the_loop_of_step(make):
    rnn, params = build(make(4), 0.5, 0.5)
    carry, ys = rnn.unroll(params, None, XS, key=KEY)
    step = jax.jit(rnn.step)
    loop, outputs = None, []
    for x, key in zip(XS, rnnjax.step_keys(KEY, 4), strict=True):
        loop, y = step(params, loop, x, key=key)
        outputs.append(y)
    chex.assert_trees_all_close(
        (carry, ys), (loop, jnp.stack(outputs)), rtol=1e-5, atol=1e-6
    )
    _, others = rnn.unroll(params, None, XS, key=jax.random.key(5))
    assert not np.allclose(ys, others)


def test_masks_are_those_of_a_sequence():
    """With the kernels the identity, the masks can be read off the outputs."""
    rnn = rnnjax.simple(8, activation=lambda a: a, use_bias=False)
    rnn = rnnjax.variational_dropout(rnn, 0.5, 0.5)
    params = {"input": {"kernel": jnp.eye(8)}, "recurrent": {"kernel": jnp.eye(8)}}
    xs = jnp.zeros((3, 16, 8)).at[0].set(1.0).at[2].set(1.0)
    _, hs = rnn.unroll(params, None, xs, key=KEY)
    inputs = hs[0]  # m_x
    assert set(np.unique(inputs)) == {0.0, 2.0}
    assert 0.3 < np.mean(inputs == 0) < 0.7
    hidden = np.where(inputs == 0, np.nan, hs[1] / 2)  # m_h where m_x h is not 0
    assert set(np.unique(hidden[~np.isnan(hidden)])) == {0.0, 2.0}
    np.testing.assert_array_equal(hs[2], hs[0] + hs[1] * np.nan_to_num(hidden))


def test_evaluation_is_the_plain_layer():
    inner = rnnjax.gru(4)
    rnn, params = build(inner, 0.5, 0.5)
    chex.assert_trees_all_equal(
        rnn.unroll(params, None, XS), inner.unroll(params, None, XS)
    )
    chex.assert_trees_all_equal(params, inner.init(jax.random.key(0), jnp.ones(3)))


def test_gradients_flow_and_deferred_equals_autodiff():
    grads = []
    for gradient in ("deferred", "autodiff"):
        schedule = rnnjax.Schedule(gradient=gradient)
        rnn, params = build(rnnjax.lstm(4, schedule=schedule), 0.3, 0.3)

        def loss(params, rnn=rnn):
            return jnp.sum(rnn.unroll(params, None, XS, key=KEY)[1] ** 2)

        grads.append(jax.jit(jax.grad(loss))(params))
    chex.assert_trees_all_close(*grads, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_equal_structs(grads[0], params)


def deaf(hidden_size):
    """A cell that does not read the mask, though it passes it around."""
    cell = rnnjax.cells.simple(hidden_size)

    @jax.jit
    def recur(w, h, u):
        h = jnp.tanh(u + h @ w["kernel"])
        return h, h

    return rnnjax.layer(cell._replace(recur=recur))


def test_a_mask_that_is_not_read_is_an_error():
    with pytest.raises(ValueError, match="reads the mask, got one that does not.*mult"):
        build(deaf(4), 0.0, 0.5)
    params = rnnjax.simple(4).init(jax.random.key(0), jnp.ones(3))
    rnn = rnnjax.variational_dropout(deaf(4), 0.0, 0.5)
    rnn.unroll(params, None, XS)  # evaluation draws no mask
    with pytest.raises(ValueError, match="got one that does not"):
        rnn.unroll(params, None, XS, key=KEY)
    with pytest.raises(ValueError, match="one by one"):
        build(rnnjax.stack(rnnjax.gru(4)), 0.0, 0.5)
    build(rnnjax.stack(rnnjax.gru(4)), 0.5)  # inputs alone: any layer


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="recurrent_rate: expected a probability"):
        rnnjax.variational_dropout(rnnjax.gru(4), 0.0, 1.0)
    rnn = rnnjax.variational_dropout(rnnjax.embed(5, 2), 0.5)
    params = rnn.init(jax.random.key(0), jnp.zeros((), int))
    with pytest.raises(ValueError, match="after embed"):
        rnn.unroll(params, None, jnp.zeros(3, int), key=KEY)
    with pytest.raises(TypeError, match="StepKey"):
        build(rnnjax.gru(4), 0.5)[0].step({}, None, jnp.ones(3), key=KEY)


def test_no_steps():
    rnn, params = build(rnnjax.gru(4), 0.5, 0.5)
    carry, ys = rnn.unroll(params, None, jnp.ones((0, 2, 3)), key=KEY)
    assert carry.shape == (2, 4) and ys.shape == (0, 2, 4)
