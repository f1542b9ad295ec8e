import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax


def test_adds_to_the_input_and_masks_both():
    inner = rnnjax.simple(3)
    rnn = rnnjax.residual(inner)
    params = rnn.init(jax.random.key(0), jnp.ones(3))
    xs = jax.random.normal(jax.random.key(1), (4, 2, 3))
    mask = jnp.array([[1, 1], [1, 0], [0, 0], [1, 1]], bool)
    carry, ys = rnn.unroll(params, None, xs.at[2].set(jnp.nan), mask=mask)
    expected, hs = inner.unroll(params, None, xs, mask=mask)
    chex.assert_trees_all_close(carry, expected, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(
        ys, jnp.where(mask[..., None], xs + hs, 0), rtol=1e-5, atol=1e-6
    )
    _, y = rnn.step(params, None, xs[0])
    chex.assert_trees_all_close(y, ys[0], rtol=1e-5, atol=1e-6)


def test_passes_keys_and_direction_on():
    inner = rnnjax.stack(rnnjax.dropout(0.5), rnnjax.simple(3))
    rnn = rnnjax.residual(inner)
    params = rnn.init(jax.random.key(0), jnp.ones(3))
    xs = jnp.ones((3, 3))
    options = {"reverse": True, "key": jax.random.key(1)}
    _, ys = rnn.unroll(params, None, xs, **options)
    _, hs = inner.unroll(params, None, xs, **options)
    np.testing.assert_allclose(ys, xs + hs, rtol=1e-6)


def test_another_shape_is_an_error_at_init_and_at_run():
    rnn = rnnjax.residual(rnnjax.simple(2))
    with pytest.raises(ValueError, match=r"shape of the inputs, \(3,\).*dense\(F\)"):
        rnn.init(jax.random.key(0), jnp.ones(3))
    params = rnnjax.simple(2).init(jax.random.key(0), jnp.ones(3))
    with pytest.raises(ValueError, match=r"\(4, 3\), got float32\[4,2\]"):
        rnn.unroll(params, None, jnp.ones((4, 3)))
    with pytest.raises(TypeError, match="residual: expected layers"):
        rnnjax.residual(rnnjax.cells.simple(2))
