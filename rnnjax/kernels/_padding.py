"""Padding: any batch and any number of units, in whole vector registers."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp

from rnnjax.base import Array, Shape
from rnnjax.kernels._grid import LANES


class Padding(NamedTuple):
    """From ``[*batch, H]`` to ``[B, H]`` with both sizes rounded up, and back.

    Attributes:
      batch: the axes of the batch.
      units: ``H``.
      rows: the padded size of the batch.
    """

    batch: Shape
    units: int
    rows: int

    @property
    def lanes(self) -> int:
        """The padded number of units."""
        return -(-self.units // LANES) * LANES

    def enter(self, a: Array, lead: int = 0) -> Array:
        """``[*lead, *batch, G H]``: the batch in one axis, every gate padded."""
        count = math.prod(self.batch)
        a = a.reshape(*a.shape[:lead], count, a.shape[-1])
        return self.columns(_pad(a, lead, self.rows - count))

    def leave(self, a: Array, lead: int = 0) -> Array:
        """``[*batch, H]`` of what `enter` gave; one gate."""
        count = math.prod(self.batch)
        a = a[(slice(None),) * lead + (slice(count), slice(self.units))]
        return a.reshape(*a.shape[:lead], *self.batch, self.units)

    def columns(self, a: Array) -> Array:
        """Every gate on the last axis padded."""
        gates = a.shape[-1] // self.units
        split = a.reshape(*a.shape[:-1], gates, self.units)
        padded = _pad(split, split.ndim - 1, self.lanes - self.units)
        return padded.reshape(*a.shape[:-1], gates * self.lanes)

    def kernel(self, a: Array) -> Array:
        """A recurrent kernel ``[H, G H]``, both axes padded."""
        return _pad(self.columns(a), 0, self.lanes - self.units)

    def flags(self, a: Array) -> Array:
        """``[T, *batch]`` integers, the same in all lanes; 0 in padded rows."""
        a = a.reshape(len(a), -1)
        a = _pad(a, 1, self.rows - a.shape[1])
        return jnp.broadcast_to(a[..., None], (*a.shape, LANES))


def _pad(a: Array, axis: int, more: int) -> Array:
    """``more`` zeros at the end of an axis."""
    if not more:
        return a
    return jnp.pad(a, [(0, more if i == axis else 0) for i in range(a.ndim)])
