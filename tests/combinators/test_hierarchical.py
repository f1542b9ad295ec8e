import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax

LOWER, UPPER = rnnjax.simple(4), rnnjax.stack(rnnjax.dropout(0.5), rnnjax.gru(2))
RNN = rnnjax.hierarchical(LOWER, UPPER)
X = jax.random.normal(jax.random.key(0), (6, 2, 3))
ENDS = jnp.array([[0, 1, 0, 0, 1, 0], [1, 0, 0, 0, 0, 1]], bool).T
PARAMS = RNN.init(jax.random.key(1), (X[0], ENDS[0]))
UNROLL = jax.jit(RNN.unroll, static_argnames="reverse")


def test_groups_by_hand():
    step = jax.jit(LOWER.step)

    def summary(xs):
        carry = LOWER.initial_carry(PARAMS["lower"])
        for x in xs:
            carry, h = step(PARAMS["lower"], carry, x)
        return h

    carry, ys = UNROLL(PARAMS, None, (X, ENDS))
    for row, groups in enumerate([[(0, 2), (2, 5)], [(0, 1), (1, 6)]]):
        summaries = [summary(X[a:b, row]) for a, b in groups]
        upper, hs = UPPER.unroll(PARAMS["upper"], None, jnp.stack(summaries))
        chex.assert_trees_all_close(ys[ENDS[:, row], row], hs, rtol=1e-4, atol=1e-6)
        chex.assert_trees_all_close(
            jax.tree.map(lambda c, row=row: c[row], carry.upper),
            upper,
            rtol=1e-4,
            atol=1e-6,
        )
    assert not np.any(ys[~ENDS])
    assert carry.fresh.tolist() == [False, True]
    chex.assert_trees_all_close(
        rnnjax.last_step(ys, mask=ENDS), carry.upper[1], rtol=1e-5, atol=1e-6
    )


def loop_of_steps(xs, resets, mask, key):
    """Streaming, with the mask applied by hand."""
    step = jax.jit(RNN.step)
    carry, outputs = RNN.initial_carry(PARAMS, (2,)), []
    keys = rnnjax.step_keys(key, len(mask))
    for t in range(len(mask)):
        x = jax.tree.map(lambda a, t=t: a[t], xs)
        new, y = step(PARAMS, carry, x, reset=resets[t], key=keys[t])

        def keep(a, b, t=t):
            return jnp.where(mask[t].reshape((2,) + (1,) * (a.ndim - 1)), a, b)

        carry = jax.tree.map(keep, new, carry)
        outputs.append(keep(y, jnp.zeros_like(y)))
    return carry, jnp.stack(outputs)


@pytest.mark.parametrize("seed", range(4))
def test_unroll_is_the_loop_of_step(seed):
    resets, mask, ends = jax.random.bernoulli(
        jax.random.key(seed), jnp.array([0.3, 0.7, 0.4]).reshape(3, 1, 1), (3, 6, 2)
    )
    key = jax.random.key(7)
    expected = loop_of_steps((X, ends), resets, mask, key)
    dirty = jnp.where(mask[..., None], X, jnp.nan)
    got = UNROLL(PARAMS, None, (dirty, ends), resets=resets, mask=mask, key=key)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-6)
    carry, ys = UNROLL(
        PARAMS,
        None,
        (X[::-1], ends[::-1]),
        resets=resets[::-1],
        mask=mask[::-1],
        reverse=True,
        key=key,
    )
    chex.assert_trees_all_close((carry, ys[::-1]), expected, rtol=1e-4, atol=1e-6)


def test_carries_on_between_windows_and_stacks():
    expected, ys = UNROLL(PARAMS, None, (X, ENDS))
    carry, first = UNROLL(PARAMS, None, (X[:2], ENDS[:2]))
    carry, second = UNROLL(PARAMS, carry, (X[2:], ENDS[2:]))
    chex.assert_trees_all_close(carry, expected, rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(
        jnp.concatenate([first, second]), ys, rtol=1e-4, atol=1e-6
    )
    rnn = rnnjax.stack(RNN, rnnjax.dense(5))
    params = rnn.init(jax.random.key(0), (X[0], ENDS[0]))
    out = jax.eval_shape(rnn.unroll, params, None, (X, ENDS))
    assert out[1].shape == (6, 2, 5)
    assert len(rnn.explain(params, (X, ENDS)).children[0].children) == 2


def test_no_steps():
    carry, ys = RNN.unroll(
        PARAMS, None, (X[:0], ENDS[:0]), resets=ENDS[:0], mask=ENDS[:0]
    )
    assert ys.shape == (0, 2, 2) and carry.fresh.tolist() == [True, True]


def test_bad_arguments():
    with pytest.raises(TypeError, match="xs: hierarchical expected a pair"):
        RNN.unroll(PARAMS, None, X)
    with pytest.raises(TypeError, match="ends: expected bool"):
        RNN.unroll(PARAMS, None, (X, ENDS.astype(int)))
    with pytest.raises(ValueError, match=r"ends: expected shape \(2,\)"):
        RNN.step(PARAMS, None, (X[0], ENDS[:, 0]))
    with pytest.raises(TypeError, match="hierarchical: expected layers"):
        rnnjax.hierarchical(LOWER, rnnjax.cells.gru(2))
