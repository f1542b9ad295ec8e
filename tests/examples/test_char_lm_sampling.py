"""Filters and draws of examples/char_lm/sampling.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from examples.char_lm.config import Config
from examples.char_lm.model import build_model
from examples.char_lm.sampling import filter_logits, stream
from examples.char_lm.vocabulary import UNKNOWN, Vocabulary

PROBABILITIES = np.array([0.1, 0.4, 0.05, 0.25, 0.2])
LOGITS = jnp.log(PROBABILITIES)


def kept(**options):
    return set(np.flatnonzero(np.isfinite(filter_logits(LOGITS, **options))))


def test_defaults_change_nothing():
    np.testing.assert_allclose(jax.nn.softmax(filter_logits(LOGITS)), PROBABILITIES)


def test_temperature():
    powers = PROBABILITIES**2
    np.testing.assert_allclose(
        jax.nn.softmax(filter_logits(LOGITS, temperature=0.5)),
        powers / powers.sum(),
        rtol=1e-5,
    )
    assert kept(temperature=0) == {1}


def test_top_k():
    assert kept(top_k=2) == {1, 3}
    assert kept(top_k=1) == {1}
    assert kept(top_k=99) == {0, 1, 2, 3, 4}


def test_top_p_keeps_the_fewest_that_reach_p():
    assert kept(top_p=0.3) == {1}
    assert kept(top_p=0.41) == {1, 3}
    assert kept(top_p=0.64) == {1, 3}
    assert kept(top_p=0.7) == {1, 3, 4}
    assert kept(top_p=1.0) == {0, 1, 2, 3, 4}


def test_top_p_counts_after_top_k():
    # Of the two that top-k keeps, the first has 0.4 / 0.65 of the probability.
    assert kept(top_k=2, top_p=0.6) == {1}
    assert kept(top_k=2, top_p=0.62) == {1, 3}


def test_ties_keep_no_more_than_k_and_batches_work():
    logits = jnp.zeros((3, 7))
    finite = np.isfinite(filter_logits(logits, top_k=3))
    np.testing.assert_array_equal(finite.sum(-1), [3, 3, 3])


@pytest.fixture(scope="module")
def model():
    vocabulary = Vocabulary("\n abcde")
    config = Config(hidden_size=8, embedding_size=4)
    rnn = build_model(config, vocabulary.size)
    params = rnn.init(jax.random.key(0), jax.ShapeDtypeStruct((), np.int32))
    return rnn, params, vocabulary


def draw(model, prompt="ab", seed=0, **options):
    characters = stream(*model, prompt, jax.random.key(seed), length=30, **options)
    return "".join(characters)


def test_greedy_sample_is_what_unroll_predicts(model):
    rnn, params, vocabulary = model
    text = "ab" + draw(model, temperature=0)
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


def test_empty_prompt_is_refused(model):
    with pytest.raises(ValueError, match="prompt"):
        draw(model, prompt="")


def test_unknown_cell_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"--cell.*lstm.*got 'lstmm'"):
        build_model(Config(cell="lstmm"), 5)
    assert "lstm" in rnnjax.cells.__all__
