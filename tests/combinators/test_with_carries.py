import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax

XS = jax.random.normal(jax.random.key(0), (5, 2, 3))
NETWORK = rnnjax.stack(rnnjax.dropout(0.5), rnnjax.lstm(4))


@pytest.mark.parametrize("reverse", [False, True])
def test_outputs_are_those_of_the_layer_and_carries_those_of_steps(reverse):
    rnn = rnnjax.with_carries(NETWORK)
    params = rnn.init(jax.random.key(1), jnp.ones(3))
    resets, mask = jax.random.bernoulli(jax.random.key(2), 0.5, (2, 5, 2))
    options = {
        "resets": resets,
        "mask": mask,
        "reverse": reverse,
        "key": jax.random.key(3),
    }
    expected = NETWORK.unroll(params, None, XS, **options)
    dirty = jnp.where(mask[..., None], XS, jnp.nan)
    carry, (ys, carries) = rnn.unroll(params, None, dirty, **options)
    chex.assert_trees_all_close((carry, ys), expected, rtol=1e-5, atol=1e-6)
    last = 0 if reverse else -1
    chex.assert_trees_all_equal(carry, jax.tree.map(lambda c: c[last], carries))
    h = np.asarray(carries[1].h)
    order = range(4, -1, -1) if reverse else range(5)
    before = np.zeros((2, 4))
    for t in order:  # y is h where valid, and the carry is frozen elsewhere
        valid = np.asarray(mask[t])[:, None]
        np.testing.assert_array_equal(h[t], np.where(valid, ys[t], before))
        before = h[t]


def test_step_gradient_and_empty():
    inner = rnnjax.gru(4)
    rnn = rnnjax.with_carries(inner)
    params = rnn.init(jax.random.key(1), jnp.ones(3))
    carry, (y, shown) = rnn.step(params, None, XS[0])
    chex.assert_trees_all_equal(carry, shown, y)

    def loss(params, rnn):
        ys = rnn.unroll(params, None, XS)[1]
        return jnp.sum((ys[0] if rnn is not inner else ys) ** 2)

    grad = jax.jit(jax.grad(loss), static_argnums=1)
    chex.assert_trees_all_close(
        grad(params, rnn), grad(params, inner), rtol=1e-5, atol=1e-6
    )
    carry, (ys, carries) = rnn.unroll(params, None, jnp.ones((0, 2, 3)))
    assert ys.shape == carries.shape == (0, 2, 4) and carry.shape == (2, 4)


def test_needs_a_layer_that_can_step():
    rnn = rnnjax.with_carries(rnnjax.bidirectional(rnnjax.gru(2)))
    params = rnn.init(jax.random.key(0), jnp.ones(3))
    with pytest.raises(ValueError, match="cannot run step by step"):
        rnn.unroll(params, None, XS)
