"""CTC decoding against the sum over every alignment."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import decoding

T, V = 5, 3


def labels_of(path, blank):
    return tuple(k for k, _ in itertools.groupby(path) if k != blank)


def every_alignment(frames, blank):
    """Log probability of each labelling, summed over all ``V ** T`` alignments."""
    totals = {}
    for path in itertools.product(range(frames.shape[1]), repeat=len(frames)):
        log_p = sum(frame[k] for frame, k in zip(frames, path, strict=True))
        tokens = labels_of(path, blank)
        totals[tokens] = np.logaddexp(totals.get(tokens, -np.inf), log_p)
    return totals


def frames(seed, length=T):
    logits = 2 * np.random.default_rng(seed).normal(size=(length, V))
    return np.asarray(jax.nn.log_softmax(jnp.asarray(logits)), np.float64)


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("seed", range(3))
def test_beam_search_is_the_sum_over_all_alignments(seed, blank):
    expected = every_alignment(frames(seed), blank)
    found = decoding.ctc_beam_search(frames(seed), beam=1000, blank=blank, n_best=1000)
    assert {t.tokens for t in found} == set(expected)
    for transcript in found:
        total = expected[transcript.tokens]
        assert transcript.log_probability == pytest.approx(total, rel=1e-6)
        assert transcript.score == transcript.log_probability
    scores = [t.score for t in found]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("seed, end", [(0, None), (1, None), (1, 0), (2, 0)])
def test_a_language_model_and_insertions_weigh_in(seed, end):
    ended = [] if end is None else [end]  # the blank, which no labelling has
    sentences = [[1, 2, 1, 2, 2, *ended], [1, 1, *ended]]
    model = decoding.ngram(sentences, order=3, size=V)
    expected = every_alignment(frames(seed), 0)
    for tokens in expected:
        state = model.start
        for token in tokens:
            expected[tokens] += 0.7 * model.log_probabilities(state)[token] + 0.4
            state = model.advance(state, token)
        if end is not None:
            expected[tokens] += 0.7 * model.log_probabilities(state)[end]
    found = decoding.ctc_beam_search(
        frames(seed),
        beam=1000,
        n_best=1000,
        language_model=model,
        weight=0.7,
        insertion=0.4,
        end=end,
    )
    assert len(found) == len(expected)
    for transcript in found:
        assert transcript.score == pytest.approx(expected[transcript.tokens], rel=1e-6)


def test_a_small_beam_is_a_lower_bound_and_finds_what_greedy_does_not():
    expected = every_alignment(frames(4), 0)
    for beam in (1, 2, 4):
        best, *_ = decoding.ctc_beam_search(frames(4), beam=beam)
        assert best.log_probability <= expected[best.tokens] + 1e-6
    two = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert decoding.ctc_beam_search(two, beam=4)[0].tokens == (1,)
    assert decoding.ctc_greedy(two)[1] == 0


def test_no_frames_are_no_labels():
    (nothing,) = decoding.ctc_beam_search(np.zeros((0, V)), beam=3)
    assert nothing == decoding.Transcript((), 0.0, 0.0)
    tokens, number = decoding.ctc_greedy(np.zeros((0, 2, V)))
    assert tokens.shape == (0, 2) and number.tolist() == [0, 0]


@pytest.mark.parametrize("blank", [0, 2])
def test_greedy_joins_repeats_and_drops_blanks(blank):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(20, 3, 2, V))
    lengths = np.array([[20, 7], [0, 1], [13, 20]])
    run = jax.jit(lambda x, n: decoding.ctc_greedy(x, lengths=n, blank=blank))
    tokens, number = run(logits, lengths)
    for i in np.ndindex(3, 2):
        path = np.argmax(logits[: lengths[i], *i], -1)
        expected = labels_of(path, blank)
        assert tuple(tokens[: number[i], *i].tolist()) == expected
        assert np.all(tokens[number[i] :, *i] == blank)


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: decoding.ctc_greedy(np.zeros(3)), "logits: expected"),
        (lambda: decoding.ctc_greedy(np.zeros((2, 3)), blank=3), "blank: expected"),
        (
            lambda: decoding.ctc_beam_search(np.zeros((2, 1, 3)), beam=1),
            "one utterance",
        ),
        (lambda: decoding.ctc_beam_search(np.zeros((2, 3)), beam=0), "beam: expected"),
        (
            lambda: decoding.ctc_beam_search(np.ones((2, 3)), beam=1),
            "jax.nn.log_softmax",
        ),
        (
            lambda: decoding.ctc_beam_search(np.zeros((2, 3)), beam=1, blank=-1),
            "blank: expected",
        ),
        (
            lambda: decoding.ctc_beam_search(np.zeros((2, 3)), beam=1, end=0),
            "end: expected a language_model",
        ),
        (
            lambda: decoding.ctc_beam_search(
                np.zeros((2, 3)),
                beam=1,
                language_model=decoding.ngram([[1]], order=1, size=3),
                end=3,
            ),
            "end: expected a token",
        ),
    ],
)
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()
