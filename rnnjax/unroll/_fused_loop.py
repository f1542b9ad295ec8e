"""The hand-scheduled loop: parts of a batch side by side, resets, masks, products."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._by_hand import HandSchedule
from rnnjax.base import Array, Carry, Params
from rnnjax.unroll._layout import Layout


class Part(NamedTuple):
    """A part of the batch, as it lies in the loop."""

    carry: Carry
    first: Carry | None
    """The carry that a reset restores."""
    mask: Array | None
    """What multiplies the operand of the recurrent product."""
    resets: Array | None
    valid: Array | None


class Run(NamedTuple):
    """All that is static."""

    hand: HandSchedule
    layout: Layout
    reverse: bool

    def loop(self, step, constants, carries, inputs, *, backwards=False):
        """``step(constants, carry, inputs)`` of every part, side by side, over time."""
        step = side_by_side(step, constants)
        return lax.scan(step, carries, inputs, reverse=self.reverse != backwards)

    def split(self, a: Array) -> list:
        """The parts of the last axis that belong to each product."""
        unit = a.shape[-1] // sum(self.hand.gates)
        ends = itertools.accumulate(number * unit for number in self.hand.gates)
        return jnp.split(a, list(ends)[:-1], -1)

    def scales(self, factors) -> tuple | list:
        """``s_k`` of `HandSchedule`, of one step or of all."""
        if self.hand.product_scale is None:
            return [1] * len(self.hand.gates)
        return self.hand.product_scale(factors)

    def restart(self, reset: Array | None, first: Any, carry: Any) -> Any:
        """``first`` where reset."""
        return carry if reset is None else self._where(reset, first, carry)

    def freeze(self, valid: Array | None, carry: Any, new: Any) -> Any:
        """``carry`` where masked, ``new`` elsewhere."""
        return new if valid is None else self._where(valid, new, carry)

    def _where(self, flags, on_true, on_false):
        def where(a, b):
            return jnp.where(self.layout.per_unit(flags, b), a, b)

        return jax.tree.map(where, on_true, on_false)

    def products(self, w: Params, *, transposed: bool = False):
        """``product(mask, k, q)``: ``q W_k``, or ``q W_k^T``; ``W`` scaled."""
        kernels = self.split(w["kernel"])
        if self.layout.columns != transposed:
            # Materialised once: a transposed operand inside the loop is slow.
            kernels = [lax.optimization_barrier(kernel.T) for kernel in kernels]

        def product(mask, k, q):
            if mask is not None and not transposed:
                q = q * mask
            if self.layout.columns:
                features = kernels[k].shape[1]
                out = (kernels[k] @ q.reshape(features, -1)).reshape(-1)
            else:
                out = q @ kernels[k]
            if mask is not None and transposed:
                out = out * mask
            return out

        return product


def side_by_side(step, constants):
    def steps(carries, inputs):
        done = [step(*part) for part in zip(constants, carries, inputs, strict=True)]
        return [carry for carry, _ in done], [y for _, y in done]

    return steps
