"""n-grams by counting, recurrent models by `unroll`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import decoding

V = 4
SEQUENCES = [[0, 1, 2, 0, 1, 3], [1, 2, 0, 1, 2], []]


def said(model, tokens):
    """Log probabilities of the next token after each beginning, ``[n + 1, V]``."""
    state, rows = model.start, []
    for token in tokens:
        rows.append(model.log_probabilities(state))
        state = model.advance(state, token)
    return np.stack([*rows, model.log_probabilities(state)])


def by_counting(history, token, strength):
    """The definition, counted in the texts at every call."""
    if history is None:
        return 1 / V
    n = len(history)
    places = [
        (s, t) for s in SEQUENCES for t in range(n, len(s)) if s[t - n : t] == history
    ]
    shorter = history[1:] if history else None
    matches = sum(s[t] == token for s, t in places)
    below = by_counting(shorter, token, strength)
    return (matches + strength * below) / (len(places) + strength)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_an_ngram_model_counts(order):
    model = decoding.ngram(SEQUENCES, order=order, size=V, strength=0.5)
    tokens = [0, 1, 2, 3, 3, 0]
    p = np.exp(said(model, tokens))
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-12)
    for t in range(len(tokens) + 1):
        history = tokens[max(0, t - order + 1) : t]
        expected = [by_counting(history, token, 0.5) for token in range(V)]
        np.testing.assert_allclose(p[t], expected, rtol=1e-12)


def test_a_recurrent_model_is_unroll():
    rnn = rnnjax.stack(rnnjax.embed(V, 3), rnnjax.lstm(5), rnnjax.dense(V))
    params = rnn.init(jax.random.key(0), jnp.array(0))
    model = decoding.rnn_language_model(rnn, params, 0)
    tokens = [1, 3, 2]
    _, logits = rnn.unroll(params, None, jnp.array([0, *tokens]))
    np.testing.assert_allclose(
        said(model, tokens), jax.nn.log_softmax(logits), rtol=1e-5, atol=1e-6
    )
    best, *_ = decoding.ctc_beam_search(
        np.log(np.full((3, V), 1 / V)), beam=9, language_model=model
    )
    assert np.isfinite(best.score)


def test_errors():
    with pytest.raises(ValueError, match="from 0 to 1, got 0 to 3"):
        decoding.ngram(SEQUENCES, order=2, size=2)
    with pytest.raises(ValueError, match="strength: expected"):
        decoding.ngram(SEQUENCES, order=2, size=V, strength=0.0)
