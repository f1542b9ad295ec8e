"""Many-to-one readouts: functions from outputs ``[T, *batch, ...]`` to one of them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax._checks import as_arrays
from rnnjax.base import Array, PyTree
from rnnjax.combinators._segments import time_of
from rnnjax.unroll import canonical_flags, select, zero_where_masked


def last_step(
    ys: PyTree, *, resets: Any = None, lengths: Any = None, mask: Any = None
) -> PyTree:
    """The output at the last valid step.

    Time is read forwards. After ``unroll(reverse=True)`` the step processed last is the
    first: there take ``last_step(ys[::-1], mask=mask[::-1])``.

    Args:
      ys: ``[T, *batch, ...]``, or a tree of such.
      resets: bool ``[T, *batch]``; makes no difference here.
      lengths: int ``[*batch]``.
      mask: bool ``[T, *batch]``, the valid steps.

    Returns:
      ``[*batch, ...]``; zeros for a sequence without a valid step.

    Raises:
      ValueError: flags of the wrong shape; both ``lengths`` and ``mask``.
      TypeError: flags of the wrong dtype.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> ys = jnp.arange(6.0).reshape(3, 2)
      >>> rnnjax.last_step(ys, lengths=jnp.array([2, 0])).tolist()
      [2.0, 0.0]
    """
    ys, valid = _valid_steps(ys, resets, lengths, mask)

    def last(y):
        if not y.shape[0]:
            return jnp.zeros(y.shape[1:], y.dtype)
        if valid is None:
            return y[-1]
        at = jnp.max(jnp.where(valid, time_of(valid), 0), axis=0)
        index = at.reshape(1, *at.shape, *(1,) * (y.ndim - valid.ndim))
        index = jnp.broadcast_to(index, (1, *y.shape[1:]))
        taken = jnp.take_along_axis(y, index, axis=0)[0]
        return zero_where_masked(valid.any(0), taken)

    return jax.tree.map(last, ys)


def mean_pool(
    ys: PyTree, *, resets: Any = None, lengths: Any = None, mask: Any = None
) -> PyTree:
    """The mean over the valid steps, with resets over those of the last segment.

    ``(sum_t m_t y_t) / (sum_t m_t)``

    Args:
      ys: ``[T, *batch, ...]``, or a tree of such.
      resets: bool ``[T, *batch]``, the starts of segments: only the steps from the last
        valid one on count.
      lengths: int ``[*batch]``.
      mask: bool ``[T, *batch]``, the valid steps.

    Returns:
      ``[*batch, ...]``; zeros for a sequence without a valid step.

    Raises:
      ValueError: flags of the wrong shape; both ``lengths`` and ``mask``.
      TypeError: flags of the wrong dtype.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> ys = jnp.arange(6.0).reshape(3, 2)
      >>> rnnjax.mean_pool(ys, lengths=jnp.array([2, 0])).tolist()
      [1.0, 0.0]
    """
    ys, valid = _valid_steps(ys, resets, lengths, mask)

    def mean(y):
        total = jnp.sum(zero_where_masked(valid, y), axis=0)
        if valid is None:
            return total / max(y.shape[0], 1)
        count = jnp.maximum(jnp.sum(valid, axis=0), 1)
        count = count.reshape(count.shape + (1,) * (total.ndim - count.ndim))
        inexact = jnp.issubdtype(total.dtype, jnp.inexact)
        return total / count.astype(total.dtype if inexact else jnp.float32)

    return jax.tree.map(mean, ys)


def max_pool(
    ys: PyTree, *, resets: Any = None, lengths: Any = None, mask: Any = None
) -> PyTree:
    """The largest value over the valid steps, with resets over the last segment.

    ``max_{t: m_t} y_t``, feature by feature

    Args:
      ys: ``[T, *batch, ...]``, or a tree of such.
      resets: bool ``[T, *batch]``, the starts of segments: only the steps from the last
        valid one on count.
      lengths: int ``[*batch]``.
      mask: bool ``[T, *batch]``, the valid steps.

    Returns:
      ``[*batch, ...]``; zeros for a sequence without a valid step.

    Raises:
      ValueError: flags of the wrong shape; both ``lengths`` and ``mask``.
      TypeError: flags of the wrong dtype.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> ys = jnp.arange(6.0).reshape(3, 2)
      >>> rnnjax.max_pool(ys, lengths=jnp.array([2, 0])).tolist()
      [2.0, 0.0]
    """
    ys, valid = _valid_steps(ys, resets, lengths, mask)

    def largest(y):
        if not y.shape[0]:
            return jnp.zeros(y.shape[1:], y.dtype)
        if valid is None:
            return jnp.max(y, axis=0)
        inexact = jnp.issubdtype(y.dtype, jnp.inexact)
        least = -jnp.inf if inexact else jnp.iinfo(y.dtype).min
        filler = jnp.full((1,) * y.ndim, least, y.dtype)
        most = jnp.max(select(valid, y, filler), axis=0)
        return zero_where_masked(valid.any(0), most)

    return jax.tree.map(largest, ys)


def _valid_steps(ys, resets, lengths, mask) -> tuple[PyTree, Array | None]:
    """``ys`` as arrays and the steps that count, bool ``[T, *batch]``; None is all."""
    ys = as_arrays("ys", ys)
    first, *others = jax.tree.leaves(ys)
    flags = next((f for f in (mask, resets) if f is not None), None)
    if flags is None and lengths is None:
        return ys, None
    rank = jnp.ndim(lengths) + 1 if flags is None else jnp.ndim(flags)
    if any(y.ndim < rank or y.shape[:rank] != first.shape[:rank] for y in others):
        raise ValueError(
            f"ys: expected leaves that share their leading axes {first.shape[:rank]}."
        )
    length, *batch = first.shape[:rank]
    resets, mask = canonical_flags(resets, lengths, mask, length, tuple(batch))
    if resets is None:
        return ys, mask
    time = time_of(resets)
    start = jnp.max(jnp.where(resets, time, 0), axis=0, initial=0)
    in_last = time >= jnp.broadcast_to(start, resets.shape)
    return ys, in_last if mask is None else in_last & mask
