"""Four regular languages: what a finite automaton can compute and a network may learn.

Each function maps a batch of strings of one length, int ``[B, L]``, to the class that
the paper defines; the automaton that the network has to find is in brackets.

- `even_pairs`: is the number of places where neighbours differ even (0) or odd (1)?
  [2 symbols x the first one]
- `modular_arithmetic`: the value mod 5 of ``4+2*3-1...``; products bind tighter. Digits
  stand at even places, operators at odd ones. [sum, term and its sign]
- `parity_check`: is the number of ones even (0) or odd (1)? [2 states]
- `cycle_navigation`: where on a circle of 5 does a walk of left, stay, right end?
  [5 states]

Reference: Deletang et al., "Neural Networks and the Chomsky Hierarchy", ICLR 2023.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MODULUS = 5
CYCLE = 5
PLUS, TIMES, MINUS = MODULUS, MODULUS + 1, MODULUS + 2


class Language(NamedTuple):
    """A regular task.

    Attributes:
        symbols: number of input symbols.
        classes: number of answers.
        sample: ``(generator, count, length) -> strings``, int ``[count, length]``.
        answer: ``strings -> classes``, int ``[count]``.
        odd_only: the strings exist at odd lengths alone.
    """

    symbols: int
    classes: int
    sample: Callable[[np.random.Generator, int, int], np.ndarray]
    answer: Callable[[np.ndarray], np.ndarray]
    odd_only: bool = False


def even_pairs(strings: np.ndarray) -> np.ndarray:
    """The parity of the number of neighbours that differ."""
    return (strings[:, 1:] != strings[:, :-1]).sum(1) % 2


def parity_check(strings: np.ndarray) -> np.ndarray:
    """The parity of the number of ones."""
    return strings.sum(1) % 2


def cycle_navigation(strings: np.ndarray) -> np.ndarray:
    """Where the walk ends; symbols 0, 1, 2 are a step of -1, 0, 1."""
    return (strings - 1).sum(1) % CYCLE


def modular_arithmetic(strings: np.ndarray) -> np.ndarray:
    """The value of the expressions mod 5, products before sums."""
    total = np.zeros(len(strings), strings.dtype)
    term = strings[:, 0]
    for place in range(1, strings.shape[1], 2):
        operator, digit = strings[:, place], strings[:, place + 1]
        times = operator == TIMES
        total = np.where(times, total, (total + term) % MODULUS)
        signed = np.where(operator == MINUS, -digit, digit)
        term = np.where(times, term * digit, signed) % MODULUS
    return (total + term) % MODULUS


def _uniform(symbols: int):
    def sample(generator, count, length):
        return generator.integers(0, symbols, (count, length), np.int32)

    return sample


def _expressions(generator, count, length):
    strings = np.empty((count, length), np.int32)
    strings[:, ::2] = generator.integers(0, MODULUS, strings[:, ::2].shape)
    strings[:, 1::2] = generator.integers(PLUS, MINUS + 1, strings[:, 1::2].shape)
    return strings


LANGUAGES = {
    "even_pairs": Language(2, 2, _uniform(2), even_pairs),
    "modular_arithmetic": Language(
        MODULUS + 3, MODULUS, _expressions, modular_arithmetic, odd_only=True
    ),
    "parity_check": Language(2, 2, _uniform(2), parity_check),
    "cycle_navigation": Language(3, CYCLE, _uniform(3), cycle_navigation),
}


def packed_batch(
    language: Language, generator: np.random.Generator, rows: int, width: int
) -> dict[str, np.ndarray]:
    """Strings of all lengths in rows without a gap, two of them in each row.

    A row holds a string of length ``l`` and one of length ``width - l``, with ``l``
    uniform from 0 to ``width``: so every length from 1 to ``width`` is as likely as any
    other, and no step is spent on padding. (Where lengths are odd, an even one gives up
    a step, which then counts for nothing.)

    Args:
        language: the task.
        generator: where the strings come from.
        rows: number of rows.
        width: steps of a row, the greatest length.

    Returns:
        ``inputs``, int ``[width, rows]``; ``resets``, true where a string begins;
        ``targets`` and ``scored``, the class where a string ends.
    """
    first = generator.integers(0, width + 1, rows)
    starts = np.stack([np.zeros_like(first), first])
    lengths = np.stack([first, width - first])
    if language.odd_only:
        lengths = np.maximum(lengths - 1 + lengths % 2, 0)
    inputs = np.zeros((width, rows), np.int32)
    resets, scored = (np.zeros((width, rows), bool) for _ in range(2))
    targets = np.zeros((width, rows), np.int32)
    for length in np.unique(lengths[lengths > 0]):
        which, row = np.nonzero(lengths == length)
        begin = starts[which, row]
        strings = language.sample(generator, len(row), int(length))
        places = begin[:, None] + np.arange(length)
        inputs[places, row[:, None]] = strings
        resets[begin, row] = True
        targets[begin + length - 1, row] = language.answer(strings)
        scored[begin + length - 1, row] = True
    return {
        "inputs": inputs,
        "resets": resets,
        "targets": targets,
        "scored": scored,
    }


def strings_of_length(
    language: Language,
    generator: np.random.Generator,
    count: int,
    length: int,
    width: int,
) -> dict[str, np.ndarray]:
    """As `packed_batch`, with one string of a given length in each row."""
    strings = language.sample(generator, count, length)
    at_end = np.zeros((width, count), bool)
    at_end[length - 1] = True
    inputs = np.zeros((width, count), np.int32)
    inputs[:length] = strings.T
    return {
        "inputs": inputs,
        "resets": np.zeros((width, count), bool),
        "targets": np.where(at_end, language.answer(strings), 0).astype(np.int32),
        "scored": at_end,
    }
