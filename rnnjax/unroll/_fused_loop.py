"""The hand-scheduled loop: parts of a batch side by side, resets, masks, products."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._by_hand import HandSchedule
from rnnjax.base import Array, Carry, Params
from rnnjax.unroll._blocks import fixed_type
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

    def rewrite(self, step, constants, carries, buffers, inputs, *, backwards=False):
        """`loop` of ``step(constants, carry, rows, inputs) -> carry, rows, output``.

        The rows are those of the step in ``buffers``, lists of ``[T, ...]``; each is
        returned as equal pieces, in their order. In place they are written where they
        were read: arrays of their own would be memory, which XLA fills with zeros
        first. (The reverse pass of a reverse pass pays for it: it adds to all of a
        buffer at every step.)

        Returns:
          The last carries, the buffers rewritten, and the outputs stacked over time.
        """
        loop = self._in_place if self.layout.in_place else self._out_of_place
        return loop(step, constants, carries, buffers, inputs, backwards)

    def _out_of_place(self, step, constants, carries, buffers, inputs, backwards):
        def stacking(constants, carry, inputs):
            carry, rows, output = step(constants, carry, *inputs)
            return carry, (list(map(_merged, inputs[0], rows)), output)

        inputs = list(zip(buffers, inputs, strict=True))
        carries, outs = self.loop(
            stacking, constants, carries, inputs, backwards=backwards
        )
        return carries, [rows for rows, _ in outs], [output for _, output in outs]

    def _in_place(self, step, constants, carries, buffers, inputs, backwards):
        # A step writes what the one before has left, and then reads. In the other order
        # XLA fuses the read into everything that needs the row, some of it after the
        # write, and has to copy the whole buffer.
        def write_then_read(constants, state, inputs):
            carry, buffers, left, earlier = state
            t, inputs = inputs
            buffers = list(map(partial(_write, earlier), buffers, left))
            rows = [lax.dynamic_index_in_dim(a, t, keepdims=False) for a in buffers]
            carry, rows, output = step(constants, carry, rows, inputs)
            return (carry, buffers, rows, t), output

        times = jnp.arange(len(buffers[0][0]))
        first = times[-1 if self.reverse != backwards else 0]

        # The first row stands for what was left: the first write changes nothing.
        def begin(constants, carry, buffers, inputs):
            rows = [a[first] for a in buffers]
            now = jax.tree.map(lambda a: a[0], inputs)
            shapes = jax.eval_shape(step, constants, carry, rows, now)[1]
            return carry, buffers, list(map(_pieces, rows, shapes)), first

        states = list(map(begin, constants, carries, buffers, inputs))
        inputs = [(times, of_part) for of_part in inputs]
        states = fixed_type(side_by_side(write_then_read, constants), states, inputs)
        states, outputs = self.loop(
            write_then_read, constants, states, inputs, backwards=backwards
        )
        buffers = [
            list(map(partial(_write, earlier), buffers, left))
            for _, buffers, left, earlier in states
        ]
        return [state[0] for state in states], buffers, outputs

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
                q = self.layout.matrix(q, kernels[k].shape[1])
                out = (kernels[k] @ q).reshape(-1)
            else:
                out = q @ kernels[k]
            if mask is not None and transposed:
                out = out * mask
            return out

        return product


def _pieces(row, like):
    """A row as equal pieces of its last axis, in given shapes."""
    pieces = jnp.split(row, len(like), -1)
    return [piece.reshape(a.shape) for piece, a in zip(pieces, like, strict=True)]


def _merged(row, pieces):
    """The pieces as one, in the shape of the row that they replace."""
    lead = row.shape[:-1]
    return jnp.concatenate([piece.reshape(*lead, -1) for piece in pieces], -1)


def _write(t, buffer, pieces):
    """The buffer with those pieces of the last axis at ``t``."""
    offset = 0
    for piece in pieces:
        piece = piece.reshape(1, *buffer.shape[1:-1], -1)
        start = (t, *[0] * (piece.ndim - 2), offset)
        buffer = lax.dynamic_update_slice(buffer, piece, start)
        offset += piece.shape[-1]
    return buffer


def side_by_side(step, constants):
    def steps(carries, inputs):
        done = [step(*part) for part in zip(constants, carries, inputs, strict=True)]
        return [carry for carry, _ in done], [y for _, y in done]

    return steps
