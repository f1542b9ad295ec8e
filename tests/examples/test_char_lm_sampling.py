"""Samples of examples/char_lm/sampling.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from examples.char_lm.config import Config
from examples.char_lm.model import build_model
from examples.char_lm.sampling import stream
from examples.char_lm.vocabulary import UNKNOWN, Vocabulary
from rnnjax.decoding import GREEDY, Sampling


@pytest.fixture(scope="module")
def model():
    vocabulary = Vocabulary("\n abcde")
    config = Config(hidden_size=8, embedding_size=4)
    rnn = build_model(config, vocabulary.size)
    params = rnn.init(jax.random.key(0), jax.ShapeDtypeStruct((), np.int32))
    return rnn, params, vocabulary


def draw(model, prompt="ab", seed=0, sampling=Sampling()):  # noqa: B008
    key = jax.random.key(seed)
    return "".join(stream(*model, prompt, key, length=30, sampling=sampling))


def test_greedy_sample_is_what_unroll_predicts(model):
    rnn, params, vocabulary = model
    text = "ab" + draw(model, sampling=GREEDY)
    _, logits = rnn.unroll(params, None, jnp.asarray(vocabulary.encode(text)))
    best = np.argmax(np.asarray(logits).copy()[:, 1:], axis=-1) + 1
    assert vocabulary.decode(best[1:-1]) == text[2:]


def test_sample_is_of_known_characters_and_fixed_by_the_key(model):
    first = draw(model)
    assert len(first) == 30
    assert "\N{REPLACEMENT CHARACTER}" not in first
    assert model[2].encode(first).min() > UNKNOWN
    assert draw(model) == first
    assert draw(model, seed=1) != first


def test_filters_reach_the_draw(model):
    assert draw(model, sampling=Sampling(top_k=1)) == draw(model, sampling=GREEDY)


def test_empty_prompt_is_refused(model):
    with pytest.raises(ValueError, match="prompt"):
        draw(model, prompt="")


def test_unknown_cell_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"--cell.*lstm.*got 'lstmm'"):
        build_model(Config(cell="lstmm"), 5)
    assert "lstm" in rnnjax.cells.__all__
