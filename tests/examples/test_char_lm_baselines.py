"""The baselines of examples/char_lm against brute force."""

import math
from collections import Counter

import numpy as np
import pytest

from examples.char_lm.baselines import ngram_bits, xz_bits

VOCABULARY_SIZE = 5


def text(seed, length):
    """Symbols with structure, so that longer contexts help."""
    generator = np.random.default_rng(seed)
    symbols = [0, 1]
    for _ in range(length - 2):
        guess = (symbols[-1] + 2 * symbols[-2]) % VOCABULARY_SIZE
        other = int(generator.integers(VOCABULARY_SIZE))
        symbols.append(guess if generator.random() < 0.7 else other)
    return symbols


def probability(train, context, symbol, discount):
    """The recursion of the module's docstring, by counting in plain Python."""
    if context is None:
        return 1 / VOCABULARY_SIZE
    k = len(context)
    followers = Counter(
        train[i] for i in range(k, len(train)) if train[i - k : i] == context
    )
    shorter = probability(train, context[1:] if k else None, symbol, discount)
    total = sum(followers.values())
    if total == 0:
        return shorter
    left = discount[k] * len(followers) / total
    return max(followers[symbol] - discount[k], 0) / total + left * shorter


def brute_force_bits(train, held_out, context, discount):
    bits = 0.0
    for i, symbol in enumerate(held_out):
        bits -= math.log2(
            probability(train, held_out[max(0, i - context) : i], symbol, discount)
        )
    return bits / len(held_out)


def test_equals_brute_force():
    train, dev, test = text(0, 300), text(1, 60), text(2, 80)
    results = ngram_bits(*map(np.array, (train, dev, test)), VOCABULARY_SIZE, 4)
    discount = [r.discount for r in results]
    for result in results:
        expected = [
            brute_force_bits(train, t, result.context, discount) for t in (dev, test)
        ]
        np.testing.assert_allclose([result.dev_bits, result.test_bits], expected)


def test_discounts_are_the_best_on_the_development_text():
    train, dev, test = text(0, 300), text(1, 200), text(2, 80)
    choices = (0.2, 0.5, 0.8)
    results = ngram_bits(
        *map(np.array, (train, dev, test)), VOCABULARY_SIZE, 2, discounts=choices
    )
    chosen = [r.discount for r in results]
    for k in range(3):
        scores = [brute_force_bits(train, dev, k, [*chosen[:k], d]) for d in choices]
        assert choices[int(np.argmin(scores))] == chosen[k]


def test_probabilities_sum_to_one():
    train = text(0, 300)
    discount = [0.5, 0.6, 0.7, 0.8]
    for context in ([], [1], [2, 3], [4, 0, 1], [4, 4, 4]):
        total = sum(
            probability(train, context, s, discount) for s in range(VOCABULARY_SIZE)
        )
        assert total == pytest.approx(1)
    # The same of the vectorised code: one continuation each of one context.
    held_out = [np.array([*train[-3:], s]) for s in range(VOCABULARY_SIZE)]
    last = []
    for symbols in held_out:
        results = [
            ngram_bits(np.array(train), t, t, VOCABULARY_SIZE, 3, discounts=[0.6])
            for t in (symbols, symbols[:-1])
        ]
        last.append(4 * results[0][3].test_bits - 3 * results[1][3].test_bits)
    assert sum(2.0**-b for b in last) == pytest.approx(1)


def test_structure_is_found_and_extra_bits_are_added():
    train, dev, test = (
        np.array(text(s, n)) for s, n in ((0, 5000), (1, 900), (2, 900))
    )
    plain = ngram_bits(train, dev, test, VOCABULARY_SIZE, 2)
    assert plain[2].test_bits < plain[0].test_bits - 0.5
    charged = ngram_bits(train, dev, test, VOCABULARY_SIZE, 2, extra_bits=(0.0, 90.0))
    assert charged[2].test_bits == pytest.approx(plain[2].test_bits + 0.1)
    assert charged[2].dev_bits == plain[2].dev_bits


def test_large_vocabulary_and_long_context_fit():
    symbols = np.random.default_rng(0).integers(60_000, size=3000)
    results = ngram_bits(symbols, symbols[:500], symbols[:500], 60_000, 8)
    assert len(results) == 9
    assert all(np.isfinite(r.test_bits) for r in results)


def test_xz_primed_pays_only_for_what_is_new():
    generator = np.random.default_rng(0)
    words = ["".join(map(chr, generator.integers(97, 123, 8))) for _ in range(2000)]
    train = " ".join(words)
    repeated = " ".join(words[500:1500])
    fresh = "".join(map(chr, generator.integers(97, 123, 9000)))
    assert xz_bits(repeated, train) < 0.2 < 4 < xz_bits(repeated)
    assert xz_bits(fresh, train) > 4.5
    # Bits are per character, not per byte.
    accented = fresh.translate({c: c + 128 for c in range(97, 123)})
    assert xz_bits(accented) == pytest.approx(xz_bits(fresh), rel=0.5)
