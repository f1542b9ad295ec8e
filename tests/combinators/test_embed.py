"""Tokens outside the range of `embed`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax


@pytest.mark.parametrize("token", [-1, 3])
def test_a_token_outside_the_range_raises_and_under_jit_gives_nan(token):
    rnn = rnnjax.embed(3, 2)
    params = rnn.init(jax.random.key(0), jnp.int32(0))
    tokens = jnp.array([0, token, 2])
    with pytest.raises(ValueError, match="xs: expected tokens from 0 to 2"):
        rnn.unroll(params, None, tokens)
    _, ys = jax.jit(lambda tokens: rnn.unroll(params, None, tokens))(tokens)
    assert np.isnan(ys).all(axis=1).tolist() == [False, True, False]


@pytest.mark.parametrize("flags", [{"lengths": [1, 3]}, {"mask": [[1, 1], [0, 1]]}])
def test_a_masked_token_may_be_anything(flags):
    """Padding by -1, say; a token that is not masked raises still."""
    rnn = rnnjax.embed(3, 2)
    params = rnn.init(jax.random.key(0), jnp.int32(0))
    tokens = np.array([[0, 1], [-1, 2]])
    if "lengths" in flags:
        tokens = np.array([[0, 1], [-1, 2], [9, 0]])
    else:
        flags = {"mask": np.array(flags["mask"], bool)}
    _, ys = rnn.unroll(params, None, tokens, **flags)
    assert not np.any(ys[1:, 0])
    assert np.array_equal(ys[1, 1], params["table"][2])
    tokens[0, 0] = 3
    with pytest.raises(ValueError, match="got . to 3"):
        rnn.unroll(params, None, tokens, **flags)
