"""What the model is compared with: interpolated n-grams and ``xz``.

All baselines of a run see the same training text and are scored on the same held-out
text, in bits per Unicode character.

The n-gram model is interpolated absolute discounting (Ney, Essen and Kneser 1994). For
a context ``c`` of ``k`` characters, with counts ``n`` from the training text,

    p_k(x | c) = (max(n(c, x) - D_k, 0) + D_k * N(c) * p_{k-1}(x | c')) / n(c)

where ``N(c)`` is the number of different characters seen after ``c`` and ``c'`` is
``c`` without its first character; ``p_k = p_{k-1}`` after an unseen context, and
``p_{-1}`` is uniform over the symbols. One discount ``D_k`` for each order is chosen on
the development text, from the lowest order up. With ``D_k = 0`` nothing is left for
the shorter contexts, so the discounts are the weights of the interpolation.
"""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DISCOUNTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class NGramResult:
    """An n-gram model's score on the held-out text.

    Attributes:
        context: number of characters the model looks back.
        discount: the discount chosen on the development text.
        dev_bits: bits per character of the development text.
        test_bits: bits per character of the held-out text.
    """

    context: int
    discount: float
    dev_bits: float
    test_bits: float


def ngram_bits(
    train: np.ndarray,
    dev: np.ndarray,
    test: np.ndarray,
    vocabulary_size: int,
    max_context: int,
    extra_bits: tuple[float, float] = (0.0, 0.0),
    discounts: Sequence[float] = DISCOUNTS,
) -> list[NGramResult]:
    """Scores interpolated n-grams with contexts of 0 to ``max_context`` characters.

    Args:
        train: training symbols, ``[N]``.
        dev: development symbols; the discounts are chosen on them.
        test: held-out symbols.
        vocabulary_size: number of symbols.
        max_context: longest context.
        extra_bits: bits that the development and the held-out text cost on top, such as
            for saying which character an unknown one is.
        discounts: the discounts to choose from.

    Returns:
        One result for each length of context.
    """
    scored = [np.asarray(dev), np.asarray(test)]
    probabilities = [np.full(len(s), 1.0 / vocabulary_size) for s in scored]
    results = []
    for context, counts in enumerate(
        _counts_by_context(np.asarray(train), scored, vocabulary_size, max_context)
    ):
        trials = [
            _bits(_interpolate(*counts[0], probabilities[0], d)) for d in discounts
        ]
        discount = discounts[int(np.argmin(trials))]
        probabilities = [
            _interpolate(*c, p, discount)
            for c, p in zip(counts, probabilities, strict=True)
        ]
        dev_bits, test_bits = (
            _bits(p) + extra / len(p)
            for p, extra in zip(probabilities, extra_bits, strict=True)
        )
        results.append(NGramResult(context, discount, dev_bits, test_bits))
    return results


def xz_bits(test: str, train: str | None = None) -> float:
    """Bits per character of the held-out text under ``xz -9e``.

    Args:
        test: the held-out text.
        train: if given, what the held-out text adds to the compressed size of the
            training text before it, all within one dictionary.

    Returns:
        Bits per Unicode character.
    """
    held_out = test.encode("utf-8")
    if train is None:
        size = len(_compress(held_out))
    else:
        primer = train.encode("utf-8")
        size = len(_compress(primer + held_out)) - len(_compress(primer))
    return 8 * size / len(test)


def _compress(raw: bytes) -> bytes:
    dictionary = max(1 << 16, 1 << (len(raw) - 1).bit_length())
    filters = [
        {
            "id": lzma.FILTER_LZMA2,
            "preset": 9 | lzma.PRESET_EXTREME,
            "dict_size": min(dictionary, 1 << 30),
        }
    ]
    return lzma.compress(raw, format=lzma.FORMAT_XZ, filters=filters)


def _bits(probabilities: np.ndarray) -> float:
    return float(-np.log2(probabilities).mean())


def _interpolate(count, total, distinct, shorter, discount):
    """One step of the recursion, for the counts at each position of a text."""
    seen = np.maximum(total, 1)
    longer = (np.maximum(count - discount, 0.0) + discount * distinct * shorter) / seen
    return np.where(total > 0, longer, shorter)


def _counts_by_context(train, scored, vocabulary_size, max_context):
    """Yields, by length of context, ``(count, total, distinct)`` for each scored text.

    A gram is known by its rank among those of its length, so any vocabulary and any
    length fit 64 bits: the gram of length ``k + 1`` that ends at ``i`` is the pair of
    the gram of length ``k`` that ends at ``i - 1`` and the symbol at ``i``.

    Each of the three is an array with one entry for each position of the text: how
    often its gram, its context, and how many different symbols after its context,
    were seen in training.
    """
    contexts = np.zeros(len(train), np.int64)
    scored_contexts = [np.zeros(len(s), np.int64) for s in scored]
    for context in range(max_context + 1):
        grams, ranks, counts = np.unique(
            contexts * vocabulary_size + train[context:],
            return_inverse=True,
            return_counts=True,
        )
        parents = grams // vocabulary_size
        totals = np.bincount(parents, weights=counts)
        distinct = np.bincount(parents)
        found, scored_ranks = [], []
        for symbols, ids in zip(scored, scored_contexts, strict=True):
            keys = np.where(ids >= 0, ids * vocabulary_size + symbols, -1)
            places = np.minimum(np.searchsorted(grams, keys), len(grams) - 1)
            hit = grams[places] == keys
            known = (ids >= 0) & (ids < len(totals))
            safe = np.where(known, ids, 0)
            found.append(
                (
                    np.where(hit, counts[places], 0),
                    np.where(known, totals[safe], 0),
                    np.where(known, distinct[safe], 0),
                )
            )
            # The next context is the gram that ends one position before.
            scored_ranks.append(np.concatenate([[-1], np.where(hit, places, -1)[:-1]]))
        yield found
        contexts, scored_contexts = ranks[:-1], scored_ranks
