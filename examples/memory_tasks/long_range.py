"""Two tasks of a long memory: copy memory and the adding problem.

**Copy memory**: ten symbols of 1 to 8, then blanks (0), then eleven markers (9). The
answer is blank throughout, and the ten symbols, in order, at the last ten steps. ``T``
is the time from a symbol to its copy, less ten. A model that has forgotten the symbols
does best by guessing them at the end alone: ``10 ln 8 / (T + 20)`` nats a step.

**Adding**: ``T`` pairs of a number in [0, 1) and a marker, which is one at a place of
the first half and at a place of the second half, else zero. The answer, after the last
step, is the sum of the two marked numbers. Always answering 1 has a mean squared error
of 1/6.

References: Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation
1997; Arjovsky, Shah and Bengio, "Unitary Evolution Recurrent Neural Networks", ICML
2016; Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and
Recurrent Networks for Sequence Modeling", 2018, whose form of both tasks this is.
"""

from __future__ import annotations

import math

import numpy as np

COPIED = 10
LETTERS = 8
BLANK, MARKER = 0, LETTERS + 1
SYMBOLS = LETTERS + 2
ADDING_CHANCE = 1 / 6


def copy_memory(
    generator: np.random.Generator, count: int, delay: int
) -> dict[str, np.ndarray]:
    """A batch of copy memory.

    Args:
        generator: where the symbols come from.
        count: number of sequences.
        delay: ``T``.

    Returns:
        ``inputs`` and ``targets``, int ``[T + 20, count]``.
    """
    letters = generator.integers(1, LETTERS + 1, (COPIED, count), np.int32)
    inputs = np.full((delay + 2 * COPIED, count), BLANK, np.int32)
    inputs[:COPIED] = letters
    inputs[-COPIED - 1 :] = MARKER
    targets = np.full_like(inputs, BLANK)
    targets[-COPIED:] = letters
    return {"inputs": inputs, "targets": targets}


def copy_memory_chance(delay: int) -> float:
    """Nats a step of a model that knows all but the ten symbols."""
    return COPIED * math.log(LETTERS) / (delay + 2 * COPIED)


def adding(
    generator: np.random.Generator, count: int, length: int
) -> dict[str, np.ndarray]:
    """A batch of the adding problem.

    Args:
        generator: where the numbers come from.
        count: number of sequences.
        length: ``T``.

    Returns:
        ``inputs``, float ``[T, count, 2]``, and ``targets``, float ``[count, 1]``.
    """
    numbers = generator.random((length, count), np.float32)
    middle = length // 2
    places = np.stack(
        [
            generator.integers(0, middle, count),
            generator.integers(middle, length, count),
        ]
    )
    markers = np.zeros_like(numbers)
    markers[places, np.arange(count)] = 1
    targets = (numbers * markers).sum(0)[:, None]
    return {"inputs": np.stack([numbers, markers], -1), "targets": targets}
