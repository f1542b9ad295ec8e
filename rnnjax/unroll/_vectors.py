"""Carries as vectors, one an example, and the Jacobians of maps between them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Array, Carry


def jacobians(slope, at: Array, full: bool) -> Array:
    """Of maps between vectors ``[T, *batch, n]``, example by example.

    Args:
      slope: the linear map of all of them, ``n`` times applied: to one unit vector in
        all of them.
      at: an array of their type.
      full: ``[T, *batch, n, n]``; else the diagonals ``[T, *batch, n]``, for which no
        more than one column is held.
    """

    def column(k):
        unit = jax.nn.one_hot(k, at.shape[-1], dtype=at.dtype)
        return slope(jnp.broadcast_to(unit, at.shape) + jnp.zeros_like(at))

    def entry(k):
        return lax.dynamic_index_in_dim(column(k), k, -1, keepdims=False)

    units = jnp.arange(at.shape[-1])
    if full:
        return jax.vmap(column, out_axes=-1)(units)
    return jnp.moveaxis(lax.map(entry, units), 0, -1)


class Vectors(NamedTuple):
    """Carries as vectors: leaves ``[..., *batch, *shape]`` as one ``[..., *batch, n]``.

    In the widest dtype of the leaves.
    """

    structure: Any
    batch_ndim: int
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]

    @classmethod
    def of(cls, carry: Carry, batch_ndim: int) -> Vectors:
        leaves, structure = jax.tree.flatten(carry)
        shapes = tuple(leaf.shape[batch_ndim:] for leaf in leaves)
        return cls(structure, batch_ndim, shapes, tuple(leaf.dtype for leaf in leaves))

    def pack(self, carry: Carry) -> Array:
        dtype = jnp.result_type(*self.dtypes)
        parts = [
            leaf.reshape(*leaf.shape[: leaf.ndim - len(shape)], math.prod(shape))
            for leaf, shape in zip(jax.tree.leaves(carry), self.shapes, strict=True)
        ]
        return jnp.concatenate([part.astype(dtype) for part in parts], -1)

    def unpack(self, vectors: Array) -> Carry:
        sizes = [math.prod(shape) for shape in self.shapes]
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
        return self.structure.unflatten(
            part.reshape(*part.shape[:-1], *shape).astype(dtype)
            for part, shape, dtype in zip(
                jnp.split(vectors, ends, -1), self.shapes, self.dtypes, strict=True
            )
        )
