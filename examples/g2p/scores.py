"""Word and phoneme error of pronunciations, where each word may have several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rnnjax import metrics

Phones = Sequence[str]


class Scores(NamedTuple):
    """Errors over all words.

    Attributes:
        word_error: share of words that are spoken like none of their pronunciations.
        phoneme_error: edits per phone of the nearest pronunciation.
    """

    word_error: float
    phoneme_error: float


def score(spoken: Sequence[Phones], listed: Sequence[Sequence[Phones]]) -> Scores:
    """Compares what was spoken with what is listed; any listed variant will do."""
    wrong = 0
    nearest = []
    for phones, variants in zip(spoken, listed, strict=True):
        best = min(variants, key=lambda v, phones=phones: _edits(phones, v))
        wrong += list(best) != list(phones)
        nearest.append(" ".join(best))
    rate = metrics.word_error_rate()
    state = rate.update(rate.init(), [" ".join(p) for p in spoken], nearest)
    return Scores(wrong / max(len(spoken), 1), rate.compute(state))


def _edits(one: Phones, other: Phones) -> int:
    """Levenshtein's distance."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            diagonal, row[j] = (
                row[j],
                min(diagonal + (a != b), row[j] + 1, row[j - 1] + 1),
            )
    return row[-1]
