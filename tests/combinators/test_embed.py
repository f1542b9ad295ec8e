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
