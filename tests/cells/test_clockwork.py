import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax

XS = jax.random.normal(jax.random.key(0), (5, 2, 3))
RNN = rnnjax.clockwork(6, periods=(1, 2, 4))
PARAMS = RNN.init(jax.random.key(1), XS[0])


def by_modules(params, xs):
    """The paper's form: each module receives from itself and from slower ones."""
    kernel = np.asarray(params["recurrent"]["kernel"])
    u = np.asarray(xs @ params["input"]["kernel"]) + np.asarray(params["input"]["bias"])
    h, hs = np.zeros((xs.shape[1], 6), np.float32), []
    for t in range(len(xs)):
        new = h.copy()
        for i, period in enumerate((1, 2, 4)):
            if t % period == 0:
                own = slice(2 * i, 2 * i + 2)
                new[:, own] = np.tanh(
                    u[t, :, own] + h[:, 2 * i :] @ kernel[2 * i :, own]
                )
        h = new
        hs.append(h)
    return np.stack(hs)


def test_equals_the_modules_of_the_paper():
    carry, hs = RNN.unroll(PARAMS, None, XS)
    chex.assert_trees_all_close(hs, by_modules(PARAMS, XS), rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_equal(carry.h, hs[-1])
    assert carry.t.dtype == jnp.int32 and carry.t.tolist() == [5, 5]
    np.testing.assert_array_equal(hs[0, :, 4:], hs[3, :, 4:])  # period 4 holds


def test_no_gradient_from_fast_to_slow():
    def loss(params):
        return jnp.sum(RNN.unroll(params, None, XS)[1] ** 2)

    kernel = jax.jit(jax.grad(loss))(PARAMS)["recurrent"]["kernel"]
    blocks = np.any(np.asarray(kernel).reshape(3, 2, 3, 2) != 0, axis=(1, 3))
    np.testing.assert_array_equal(blocks, np.tril(np.ones((3, 3), bool)))
    assert not np.any(np.triu(PARAMS["recurrent"]["kernel"], 2))


def test_time_resets_and_freezes_row_by_row():
    resets = jnp.zeros((5, 2), bool).at[3, 1].set(True)
    mask = jnp.ones((5, 2), bool).at[1, 0].set(False)
    carry, hs = RNN.unroll(PARAMS, None, XS, resets=resets, mask=mask)
    assert carry.t.tolist() == [4, 2]
    chex.assert_trees_all_close(
        hs[3:, 1], RNN.unroll(PARAMS, None, XS[3:, 1])[1], rtol=1e-5, atol=1e-6
    )
    chex.assert_trees_all_close(
        hs[jnp.array([0, 2, 3, 4]), 0],
        RNN.unroll(PARAMS, None, XS[jnp.array([0, 2, 3, 4]), 0])[1],
        rtol=1e-5,
        atol=1e-6,
    )


def test_bad_arguments():
    with pytest.raises(ValueError, match="multiple of the number of periods, got 5"):
        rnnjax.clockwork(5, periods=(1, 2))
    with pytest.raises(ValueError, match="periods: expected a positive integer, got 0"):
        rnnjax.clockwork(4, periods=(0, 2))
    with pytest.raises(ValueError, match="and 0 periods"):
        rnnjax.clockwork(4, periods=())
