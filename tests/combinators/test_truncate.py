import chex
import jax
import jax.numpy as jnp
import pytest
from jax.lax import stop_gradient

import rnnjax

XS = jax.random.normal(jax.random.key(0), (5, 2, 3))
NETWORK = rnnjax.stack(rnnjax.dropout(0.5), rnnjax.simple(4))


@pytest.mark.parametrize("reverse", [False, True])
def test_equals_stop_gradient_by_hand(reverse):
    rnn = rnnjax.truncate(NETWORK, every=2)
    params = rnn.init(jax.random.key(1), jnp.ones(3))
    carry = jax.tree.map(lambda a: a + 0.5, rnn.initial_carry(params, (2,)))
    resets, mask = jax.random.bernoulli(jax.random.key(2), 0.6, (2, 5, 2))
    keys = rnnjax.step_keys(jax.random.key(3), 5)

    def loss(params, carry, xs):
        carry, ys = rnn.unroll(
            params,
            carry,
            xs,
            resets=resets,
            mask=mask,
            reverse=reverse,
            key=jax.random.key(3),
        )
        return jnp.sum(ys**2) + jnp.sum(carry[1] ** 2)

    def by_hand(params, carry, xs):
        total = 0.0
        for i, start in enumerate((0, 2, 4)):
            if i:
                carry = jax.tree.map(stop_gradient, carry)
            stop = min(start + 2, 5)
            here = slice(5 - stop, 5 - start) if reverse else slice(start, stop)
            carry, ys = NETWORK.unroll(
                params,
                carry,
                xs[here],
                resets=resets[here],
                mask=mask[here],
                reverse=reverse,
                key=keys[start:stop],
            )
            total += jnp.sum(ys**2)
        return total + jnp.sum(carry[1] ** 2)

    got, expected = (
        jax.jit(jax.value_and_grad(f, (0, 1, 2)))(params, carry, XS)
        for f in (loss, by_hand)
    )
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-6)


def test_lengths_values_and_sizes():
    inner = rnnjax.gru(4)
    params = inner.init(jax.random.key(1), jnp.ones(3))
    expected = inner.unroll(params, None, XS, lengths=jnp.array([4, 0]))
    for every in (1, 5, 9):
        rnn = rnnjax.truncate(inner, every)
        got = rnn.unroll(params, None, XS, lengths=jnp.array([4, 0]))
        chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-6)
    carry, ys = rnn.unroll(params, None, XS[:0])
    assert carry.shape == (2, 4) and ys.shape == (0, 2, 4)


def test_bad_arguments():
    with pytest.raises(ValueError, match="every: expected a positive integer, got 0"):
        rnnjax.truncate(rnnjax.gru(2), 0)
    rnn = rnnjax.truncate(rnnjax.bidirectional(rnnjax.gru(2)), 2)
    params = rnn.init(jax.random.key(0), jnp.ones(3))
    with pytest.raises(ValueError, match="cannot carry on"):
        rnn.unroll(params, None, XS)
