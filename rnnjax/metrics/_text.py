"""Metrics of texts, by sacrebleu, rouge-score and jiwer, on the host."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from rnnjax._extras import require
from rnnjax.metrics._metric import Metric

Reference = str | Sequence[str]


def bleu(tokenize: str = "13a", lowercase: bool = False) -> Metric:
    """BLEU of a corpus by sacrebleu, from 0 to 100.

    ``BLEU = 100 min(1, exp(1 - r / h)) (p_1 p_2 p_3 p_4)**(1/4)``, where p_n is the
    share of n-grams of the hypotheses that are in the references, over the whole corpus
    (exponentially smoothed), and h and r the numbers of their words.

    Args:
      tokenize: a tokenizer of sacrebleu: "13a", "intl", "char", "none" and others.
      lowercase: whether case does not matter.

    Returns:
      A metric; ``update(state, hypotheses, references)`` takes a list of texts, and for
      each a reference or a list of them. The state is a vector of integers, so that
      merging is exact. The value is NaN before the first text.

    Raises:
      ModuleNotFoundError: without the extra ``text``.
      TypeError, ValueError: from update, where hypotheses and references are not lists
        of texts of one length.

    Example:
      >>> import rnnjax.metrics as metrics
      >>> bleu = metrics.bleu()
      >>> state = bleu.update(bleu.init(), ["a b c d e"], ["a b c d f"])
      >>> round(bleu.compute(state), 2)
      66.87

    References: Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine
    Translation", ACL 2002; Post, "A Call for Clarity in Reporting BLEU Scores", WMT
    2018.
    """
    require("sacrebleu", extra="text")
    from sacrebleu.metrics.bleu import BLEU

    # Smoothing would change the counts that are taken from it.
    counter = BLEU(lowercase, tokenize=tokenize, smooth_method="none", force=True)
    order = counter.max_ngram_order

    def of_batch(hypotheses, references):
        most = max(map(len, references))
        streams: list[Any] = [
            [texts[k] if k < len(texts) else None for texts in references]
            for k in range(most)
        ]
        score = counter.corpus_score(hypotheses, streams)
        counts = [len(hypotheses), score.sys_len, score.ref_len]
        return np.asarray([*counts, *score.counts, *score.totals], np.int64)

    def compute(state):
        texts, sys_len, ref_len, *counts = state.tolist()
        if texts == 0:
            return float("nan")
        right, total = counts[:order], counts[order:]
        score = BLEU.compute_bleu(right, total, sys_len, ref_len, smooth_method="exp")
        return float(score.score)

    return _host_metric(np.zeros(3 + 2 * order, np.int64), of_batch, compute)


def rouge(use_stemmer: bool = False) -> Metric:
    """ROUGE-1, ROUGE-2 and ROUGE-L by rouge-score, averaged over texts.

    With n-grams (for L, the longest common subsequence) that hypothesis and reference
    share, ``precision = shared / of_hypothesis``, ``recall = shared / of_reference``,
    ``f1 = 2 precision recall / (precision + recall)``. Of several references counts the
    one of the highest f1. rouge-score knows the letters a-z and digits alone, and case
    does not matter.

    Args:
      use_stemmer: whether words are compared by their Porter stems.

    Returns:
      A metric; ``update(state, hypotheses, references)`` as for `bleu`. Its value is a
      dict ``{"rouge1": {"precision", "recall", "f1"}, "rouge2": ..., "rougeL": ...}``,
      of NaN before the first text. The state is made of fractions, so that merging is
      exact.

    Raises:
      ModuleNotFoundError: without the extra ``text``.
      TypeError, ValueError: from update, where hypotheses and references are not lists
        of texts of one length.

    Example:
      >>> import rnnjax.metrics as metrics
      >>> rouge = metrics.rouge()
      >>> state = rouge.update(rouge.init(), ["the cat"], ["the cat sat down"])
      >>> scores = rouge.compute(state)["rouge1"]
      >>> scores["precision"], scores["recall"]
      (1.0, 0.5)

    References: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004.
    """
    require("rouge_score", extra="text")
    with warnings.catch_warnings():  # of what nltk imports
        warnings.simplefilter("ignore", DeprecationWarning)
        from rouge_score.rouge_scorer import RougeScorer

    kinds, numbers = ("rouge1", "rouge2", "rougeL"), ("precision", "recall", "f1")
    scorer = RougeScorer(kinds, use_stemmer=use_stemmer)

    def of_batch(hypotheses, references):
        scores = [
            [Fraction(number) for kind in kinds for number in pair[kind]]
            for pair in map(scorer.score_multi, references, hypotheses)
        ]
        return np.asarray([len(scores), *np.asarray(scores).sum(0)], object)

    def compute(state):
        texts, *sums = state
        means = iter(float(s / texts) if texts else float("nan") for s in sums)
        return {kind: {name: next(means) for name in numbers} for kind in kinds}

    zero = np.asarray([0] + [Fraction(0)] * (len(kinds) * len(numbers)), object)
    return _host_metric(zero, of_batch, compute)


def word_error_rate() -> Metric:
    """WER of a corpus by jiwer: edits per word of the references.

    ``WER = (substitutions + deletions + insertions) / words of references``

    As in jiwer, it is the number of insertions where no reference has a word.

    Returns:
      A metric; ``update(state, hypotheses, references)`` takes two lists of texts, each
      with one reference (jiwer takes them in the other order). The state is a vector of
      integers, so that merging is exact. The value is NaN before the first text.

    Raises:
      ModuleNotFoundError: without the extra ``text``.
      TypeError, ValueError: from update, where hypotheses and references are not lists
        of texts of one length.

    Example:
      >>> import rnnjax.metrics as metrics
      >>> wer = metrics.word_error_rate()
      >>> wer.compute(wer.update(wer.init(), ["a c c"], ["a b c d"]))
      0.5
    """
    require("jiwer", extra="text")
    from jiwer import process_words

    return _error_rate(process_words)


def character_error_rate() -> Metric:
    """CER of a corpus by jiwer: edits per character of the references.

    As `word_error_rate`, of characters; spaces between words are characters.

    Returns:
      A metric, updated as `word_error_rate`.

    Raises:
      ModuleNotFoundError: without the extra ``text``.
      TypeError, ValueError: from update, as for `word_error_rate`.
    """
    require("jiwer", extra="text")
    from jiwer import process_characters

    return _error_rate(process_characters)


def _error_rate(process: Callable[..., Any]) -> Metric:
    def of_batch(hypotheses, references):
        if any(len(texts) > 1 for texts in references):
            raise ValueError("references: expected one for each hypothesis, got more.")
        out = process([texts[0] for texts in references], hypotheses)
        edits = (out.hits, out.substitutions, out.deletions, out.insertions)
        return np.asarray([len(hypotheses), *edits], np.int64)

    def compute(state):
        texts, hits, substitutions, deletions, insertions = state.tolist()
        if texts == 0:
            return float("nan")
        words = hits + substitutions + deletions
        return (substitutions + deletions + insertions) / max(words, 1)

    return _host_metric(np.zeros(5, np.int64), of_batch, compute)


def _host_metric(zero: np.ndarray, of_batch, compute) -> Metric:
    """A metric whose state is a vector that adds up."""

    def update(state, hypotheses: Sequence[str], references: Sequence[Reference]):
        references = _checked(hypotheses, references)
        return state + of_batch(list(hypotheses), references) if references else state

    return Metric(zero.copy, update, compute, lambda state, other: state + other)


def _checked(hypotheses, references) -> list[list[str]]:
    """The references as a list of texts for each hypothesis."""
    for name, texts in (("hypotheses", hypotheses), ("references", references)):
        if isinstance(texts, str):
            raise TypeError(f"{name}: expected a list of texts, got one: {texts!r}.")
    lists = [[r] if isinstance(r, str) else list(r) for r in references]
    if len(lists) != len(hypotheses):
        raise ValueError(
            f"references: expected as many as hypotheses, {len(hypotheses)}, got "
            f"{len(lists)}."
        )
    for k, (hypothesis, texts) in enumerate(zip(hypotheses, lists, strict=True)):
        if not texts or not all(isinstance(t, str) for t in (hypothesis, *texts)):
            raise TypeError(
                f"hypotheses, references: expected texts, got {hypothesis!r} and "
                f"{texts!r} at {k}."
            )
    return lists
