"""Sums that neither stall nor overflow: exact counts, compensated floats."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base import Array, PyTree, Shape


class Count(NamedTuple):
    """A count, ``high * 2**16 + low``, both int32.

    A float32 count stalls at 2**24 and an int32 one wraps at 2**31. ``low`` has 15 bits
    to spare, so that 32,767 counts may be added up limb by limb, as `lax.psum` does.
    """

    high: Array
    low: Array


class Sum(NamedTuple):
    """A sum of floats, ``total + rest``; the rest is what rounding took from it."""

    total: Array
    rest: Array


def count(shape: Shape = ()) -> Count:
    """Nothing counted."""
    return Count(jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.int32))


def sum_of_floats() -> Sum:
    """Nothing summed, in float32, or float64 under `jax.enable_x64`."""
    return Sum(jnp.zeros(()), jnp.zeros(()))


def add(state: Count | Sum, value: Array) -> Count | Sum:
    """Adds a batch: a count in int32, or a sum of floats."""
    if isinstance(state, Count):
        return merge(state, Count(value >> 16, value & 0xFFFF))
    value = value.astype(state.total.dtype)
    return merge(state, Sum(value, jnp.zeros_like(value)))


def merge(state: PyTree, other: PyTree) -> PyTree:
    """Adds two trees of counts and sums."""
    return jax.tree.map(_merge, state, other, is_leaf=_is_sum)


def to_float(number: Count | Sum) -> Array:
    """The number in the default float type."""
    if isinstance(number, Sum):
        return number.total + number.rest
    high, low = (limb.astype(jnp.result_type(float)) for limb in number)
    return high * 2**16 + low


def to_integer(number: Count) -> Array:
    """The count in the default integer type, or its largest number where greater."""
    high, low = (limb.astype(jnp.result_type(int)) for limb in number)
    high, low = high + (low >> 16), low & 0xFFFF
    largest = jnp.iinfo(high.dtype).max
    return jnp.where(high > largest >> 16, largest, (high << 16) + low)


def _is_sum(node: PyTree) -> bool:
    return isinstance(node, Count | Sum)


def _merge(a: Any, b: Any) -> Count | Sum:
    if isinstance(a, Count):
        low = a.low + b.low
        return Count(a.high + b.high + (low >> 16), low & 0xFFFF)
    total = a.total + b.total
    rounded = total - a.total
    error = (a.total - (total - rounded)) + (b.total - rounded)
    # Of an infinite total it would be NaN.
    error = jnp.where(jnp.isfinite(total), error, 0)
    return Sum(total, a.rest + b.rest + error)
