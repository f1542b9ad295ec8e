import chex
import jax
import jax.numpy as jnp
import pytest

import rnnjax


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_equals_time_major(batch):
    inner = rnnjax.gru(2)
    rnn = rnnjax.batch_major(inner)
    xs = jax.random.normal(jax.random.key(0), (4, *batch, 3))
    params = inner.init(jax.random.key(1), xs[0])
    resets, mask = jax.random.bernoulli(jax.random.key(2), 0.5, (2, 4, *batch))
    carry, ys = inner.unroll(params, None, xs, resets=resets, mask=mask)

    def move(a):
        return jnp.moveaxis(a, 0, len(batch))

    got = rnn.unroll(params, None, move(xs), resets=move(resets), mask=move(mask))
    chex.assert_trees_all_close(got, (carry, move(ys)), rtol=1e-5, atol=1e-6)


def test_trees_tokens_and_lengths():
    rnn = rnnjax.batch_major(rnnjax.stack(rnnjax.embed(5, 3), rnnjax.gru(2)))
    tokens = jnp.zeros((2, 4), int)
    params = rnn.init(jax.random.key(0), tokens[:, 0])
    _, ys = rnn.unroll(params, None, tokens, lengths=jnp.array([4, 1]))
    assert ys.shape == (2, 4, 2)
    assert (ys != 0).any(-1).sum(-1).tolist() == [4, 1]
    assert rnn.explain(params, tokens).output.shape == (2, 4, 2)


def test_bad_arguments():
    rnn = rnnjax.batch_major(rnnjax.gru(2))
    params = rnn.init(jax.random.key(0), jnp.ones(3))
    with pytest.raises(ValueError, match=r"expected \[\*batch, T, F\].*float32\[3\]"):
        rnn.unroll(params, None, jnp.ones(3))
    with pytest.raises(ValueError, match=r"mask: expected shape \(2, 4\)"):
        rnn.unroll(params, None, jnp.ones((2, 4, 3)), mask=jnp.ones((4, 2), bool))
