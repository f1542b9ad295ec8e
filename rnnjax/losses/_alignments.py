"""What CTC and the transducer share: targets, lengths, the mean over sequences."""

from __future__ import annotations

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax._checks import check_labels, describe
from rnnjax._compat import is_concrete
from rnnjax.base import Array, Shape


def check_blank(blank: int, classes: int) -> int:
    """``blank`` as an int in ``[0, classes)``."""
    blank = operator.index(blank)
    if not 0 <= blank < classes:
        raise ValueError(
            f"blank: expected a class of the logits, 0 to {classes - 1}, got {blank}."
        )
    return blank


def check_lengths(name: str, lengths: Any, longest: int, batch: Shape) -> Array:
    """``lengths``, `longest` where None, as int32 ``[*batch]`` from 0 to `longest`."""
    if lengths is None:
        return jnp.full(batch, longest, jnp.int32)
    lengths = lengths if isinstance(lengths, jax.Array) else np.asarray(lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"{name}: expected integers, got {describe(lengths)}.")
    if lengths.shape != batch:
        raise ValueError(
            f"{name}: expected shape {batch}, one for each sequence, got "
            f"{lengths.shape}."
        )
    if is_concrete(lengths) and lengths.size:
        values = np.asarray(lengths)
        if values.min() < 0 or values.max() > longest:
            raise ValueError(
                f"{name}: expected values from 0 to {longest}, got {values.min()} to "
                f"{values.max()}."
            )
    return jnp.clip(jnp.asarray(lengths).astype(jnp.int32), 0, longest)


def check_targets(
    targets: Any, lengths: Array, batch: Shape, classes: int, blank: int
) -> Array:
    """Targets ``[U, *batch]`` as int32, blank beyond their lengths.

    Under a trace nothing can be raised: what is no label becomes ``classes``.
    """
    shape = (np.shape(targets)[0], *batch)
    within = jnp.arange(shape[0]).reshape(-1, *(1 for _ in batch)) < lengths[None]
    targets = check_labels("targets", targets, shape, classes, within)
    wrong = within & (targets == blank)
    if is_concrete(wrong) and np.asarray(wrong).any():
        raise ValueError(
            f"targets: expected none to be the blank, {blank}. Give target_lengths "
            f"where it is padding, or another blank."
        )
    wrong |= within & ((targets < 0) | (targets >= classes))
    return jnp.where(wrong, classes, jnp.where(within, targets, blank))


def longest_target(targets: Any, batch: Shape) -> int:
    """U of targets ``[U, *batch]``."""
    shape = np.shape(targets)
    if shape[1:] != batch or not shape:
        raise ValueError(
            f"targets: expected [U, *batch] with the batch axes of the logits, "
            f"{batch}, got shape {shape}."
        )
    return shape[0]


def mean_over_sequences(
    nats: Array, lengths: Array, possible: Array, targets: Array, classes: int
) -> tuple[Array, dict[str, Array]]:
    """The mean over sequences that are neither empty rows nor impossible.

    NaN if one of them has a target that `check_targets` found to be no label.
    """
    scored = possible & (lengths > 0)
    count = scored.sum()
    nats = jnp.where((targets == classes).any(0), jnp.nan, nats)
    total = jnp.where(scored, nats, 0).sum()
    loss = total / jnp.maximum(count, 1).astype(total.dtype)
    return loss, {"count": count, "impossible": (~possible).sum()}
