"""Column vectors in and out: what the equations work on, and the checks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def as_columns(name: str, vectors: Sequence[ArrayLike], size: int) -> list[np.ndarray]:
    """Returns the vectors of one sequence as float64 columns ``[size, 1]``.

    Args:
        name: the argument's name, for the error.
        vectors: one vector a step: ``[size]``, ``[size, 1]``, or a number if size is 1.
        size: the number of entries that each vector must have.

    Raises:
        ValueError: if a vector has another shape or does not hold real numbers.
    """
    try:
        length = len(vectors)
    except TypeError as error:
        raise ValueError(
            f"Expected {name} to be a sequence of vectors, one a step, got "
            f"{type(vectors).__name__}. Make a list of it, also for a single step."
        ) from error
    return [_as_column(f"{name}[{t}]", vectors[t], size) for t in range(length)]


def _as_column(name: str, vector: ArrayLike, size: int) -> np.ndarray:
    vector = np.asarray(vector)
    shapes = [(size,), (size, 1)] + ([()] if size == 1 else [])
    if vector.shape not in shapes:
        raise ValueError(
            f"Expected {name} of shape {' or '.join(map(str, shapes))}, got "
            f"{vector.shape}. Give one vector for each step, without a batch axis."
        )
    if vector.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected {name} to hold real numbers, got dtype {vector.dtype}. "
            "Convert it to float first."
        )
    return vector.astype(np.float64).reshape(size, 1)


def in_the_form_of(
    inputs: Sequence[ArrayLike], columns: list[np.ndarray]
) -> list[np.ndarray]:
    """Leaves columns as they are if the inputs are columns, else makes them 1-D."""
    if len(inputs) > 0 and np.ndim(inputs[0]) == 2:
        return columns
    return [column[:, 0] for column in columns]


def check_lengths(**sequences: list[np.ndarray]) -> None:
    """Raises ValueError unless all have as many steps as the first."""
    first = next(iter(sequences))
    expected = len(sequences[first])
    for name, sequence in sequences.items():
        if len(sequence) != expected:
            raise ValueError(
                f"Expected {name} to have {expected} steps like {first}, got "
                f"{len(sequence)}. Give one vector for each step."
            )
