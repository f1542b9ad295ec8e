"""How arrays lie in the hand-scheduled loop, and products over all of its steps."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from rnnjax.base import Array


class Layout(NamedTuple):
    """How arrays lie in the loop.

    Attributes:
      columns: features before the batch, in one flat axis.
      merged: products over all steps see time and batch as one axis: the fast form,
        where no axis of the batch is spread over devices. Columns are merged.
      parts: of the batch, run side by side; more than one only if merged.
      in_place: arrays of all steps are written over as they are read (`Run.rewrite`).
    """

    columns: bool
    merged: bool
    parts: int
    in_place: bool

    def enter(self, a: Array) -> Array:
        """``[B, F]`` as it lies in the loop."""
        return a.T.reshape(-1) if self.columns else a

    def leave(self, a: Array, features: int) -> Array:
        """The other way round."""
        return a.reshape(features, -1).T if self.columns else a

    def matrix(self, a: Array, features: int) -> Array:
        """An array of the loop as products take it."""
        return a.reshape(features, -1) if self.columns else a

    def per_unit(self, flags: Array, like: Array) -> Array:
        """``[B]`` flags, one for each element of ``like``."""
        if not self.columns:
            return jnp.broadcast_to(flags[..., None], like.shape)
        units = like.size // flags.size
        return jnp.broadcast_to(flags, (units, flags.size)).reshape(-1)

    def per_gate(self, a: Array, h: Array, hidden: int) -> Array:
        """``[G H]`` values, the same for every row of ``h``."""
        if self.columns:
            return jnp.repeat(a, h.size // hidden)
        return jnp.broadcast_to(a, (*h.shape[:-1], a.size))

    def times_gates(self, a: Array, gates: list[Array]) -> Array:
        """The product of ``a``, of all gates, with an array for each.

        On CPU gates are merged by selects: XLA copies what is concatenated piece by
        piece.
        """
        if not self.in_place:
            return a * jnp.concatenate(gates, -1)
        axis = 0 if self.columns else gates[0].ndim - 1
        shape = (*gates[0].shape[:axis], len(gates), *gates[0].shape[axis:])
        place = lax.broadcasted_iota(jnp.int32, shape, axis)
        chosen = jnp.expand_dims(gates[-1], axis)
        for k in reversed(range(len(gates) - 1)):
            if gates[k] is not gates[k + 1]:
                chosen = jnp.where(place <= k, jnp.expand_dims(gates[k], axis), chosen)
        return (a.reshape(shape) * chosen).reshape(a.shape)

    def cut(self, a: Array, axis: int) -> list[Array]:
        """The parts of an array of the whole batch."""
        return jnp.array_split(a, self.parts, axis) if self.parts > 1 else [a]

    def features_first(self, a: Array, features: int) -> Array:
        """``[F, T B]`` of what lies in the loop, stacked over time; unmerged, as is."""
        if self.columns:
            a = a.reshape(len(a), features, -1).transpose(1, 0, 2)
            return a.reshape(features, -1)
        return a.reshape(-1, features).T if self.merged else a

    def all_products(self, length: int, a: Array, kernel: Array) -> Array:
        """The products of all steps, stacked; ``a`` lies `features_first`.

        Written for its transpose: products without an operand that is transposed on
        the fly, which on CPU would run at half the speed.
        """
        if not self.merged:
            return a @ kernel
        a = lax.optimization_barrier(a)
        if self.columns:
            return time_first(length, contract(0, kernel, a))
        return contract(0, a, kernel).reshape(length, -1, kernel.shape[-1])


def contract(axis: int, a: Array, b: Array) -> Array:
    """The product of two matrices over that axis of both."""
    return lax.dot_general(a, b, (((axis,), (axis,)), ((), ())))


def time_first(length: int, a: Array) -> Array:
    """``[F, T B]`` as ``[T, F B]``."""
    return a.reshape(len(a), length, -1).transpose(1, 0, 2).reshape(length, -1)
