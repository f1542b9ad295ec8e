"""BLEU, ROUGE, WER and CER: any batches give what the libraries give of the corpus."""

import functools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnjax import metrics

TEXTS = [
    "",
    "a",
    "the cat",
    "the cat sat .",
    "the cat sat on the mat",
    "Ünïcode, 東京!",
]
text = st.one_of(
    st.sampled_from(TEXTS),
    st.lists(st.sampled_from("abcde"), max_size=7).map(" ".join),
)
# Hypotheses, each with one to three references, cut into two batches.
corpora = st.lists(
    st.tuples(text, st.lists(text, min_size=1, max_size=3)), min_size=1, max_size=6
)
properties = settings(max_examples=40)


@functools.cache
def metric(name, *args):
    return getattr(metrics, name)(*args)


def value(metric, hypotheses, references, cut=0):
    """One half by update, the other by merge."""
    state = metric.update(metric.init(), hypotheses[:cut], references[:cut])
    other = metric.update(metric.init(), hypotheses[cut:], references[cut:])
    merged = metric.compute(metric.merge(state, other))
    updated = metric.update(state, hypotheses[cut:], references[cut:])
    np.testing.assert_equal(metric.compute(updated), merged)
    return merged


@properties
@given(corpora, st.integers(0, 6), st.sampled_from([("13a", False), ("char", True)]))
def test_bleu_equals_sacrebleu(corpus, cut, options):
    from sacrebleu.metrics.bleu import BLEU

    hypotheses, references = map(list, zip(*corpus, strict=True))
    padded = [r + [None] * (3 - len(r)) for r in references]
    streams = [list(stream) for stream in zip(*padded, strict=True)]
    expected = BLEU(tokenize=options[0], lowercase=options[1])
    expected = expected.corpus_score(hypotheses, streams).score
    got = value(metric("bleu", *options), hypotheses, references, cut)
    assert got == pytest.approx(expected, 1e-12)


@properties
@given(corpora, st.integers(0, 6), st.booleans())
def test_rouge_equals_rouge_score(corpus, cut, stem):
    hypotheses, references = map(list, zip(*corpus, strict=True))
    got = value(metric("rouge", stem), hypotheses, references, cut)
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(got), use_stemmer=stem)
    pairs = [scorer.score_multi(r, h) for h, r in corpus]
    for kind, scores in got.items():
        expected = np.mean([pair[kind] for pair in pairs], axis=0)
        np.testing.assert_allclose(list(scores.values()), expected, rtol=1e-12)


@properties
@given(st.lists(st.tuples(text, text), min_size=1, max_size=6), st.integers(0, 6))
def test_error_rates_equal_jiwer(corpus, cut):
    import jiwer

    hypotheses, references = map(list, zip(*corpus, strict=True))
    for name, expected in [
        ("word_error_rate", jiwer.wer),
        ("character_error_rate", jiwer.cer),
    ]:
        got = value(metric(name), hypotheses, references, cut)
        assert got == pytest.approx(expected(references, hypotheses), 1e-12)


def test_rouge_merges_exactly_in_any_order():
    rouge = metric("rouge", False)
    words = [f"{'a ' * k}b c" for k in range(9)]
    states = [rouge.update(rouge.init(), [w], ["a b d"]) for w in words]
    forward = functools.reduce(rouge.merge, states, rouge.init())
    backward = functools.reduce(rouge.merge, states[::-1], rouge.init())
    assert rouge.compute(forward) == rouge.compute(backward)
    assert (forward == backward).all()


def test_nothing_scored():
    for name in ("bleu", "word_error_rate", "character_error_rate"):
        assert np.isnan(value(metric(name), [], []))
    assert np.isnan(value(metric("rouge", False), [], [])["rougeL"]["recall"])


@pytest.mark.parametrize(
    "error, message, batch",
    [
        (TypeError, "hypotheses: expected a list", ("a b", ["a b"])),
        (TypeError, "references: expected a list", (["a b"], "a b")),
        (ValueError, "references: .*as hypotheses, 1, got 2", (["a"], ["a", "b"])),
        (TypeError, r"got 'a' and \[\] at 0", (["a"], [[]])),
        (TypeError, r"got None and \['a'\] at 0", ([None], ["a"])),
        (ValueError, "references: expected one", (["a"], [["a", "b"]])),
    ],
)
def test_errors(error, message, batch):
    with pytest.raises(error, match=message):
        value(metric("word_error_rate"), *batch)


def test_the_rest_needs_jax_alone():
    code = """
import sys
for name in ("optax", "sacrebleu", "rouge_score", "jiwer"):
    sys.modules[name] = None
from rnnjax import metrics
metrics.accuracy()
for make in ("bleu", "rouge", "word_error_rate", "character_error_rate"):
    try:
        getattr(metrics, make)()
    except ModuleNotFoundError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.count("pip install 'rnnjax[text]'") == 4, run.stderr
