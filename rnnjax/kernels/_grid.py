"""The grid of a kernel: blocks of rows by chunks of time, and how arrays are cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._compat import call_kernel, kernel_block, when
from rnnjax.base import Array, PyTree

LANES = 128
"""Numbers on the last axis of a vector register."""


class Tiles(NamedTuple):
    """How much of a sequence is in VMEM at a time.

    Attributes:
      chunk: steps.
      rows: rows of the batch.
      unroll: steps that the compiler sees at once, to overlap the end of one with the
        loads of the next.
      vmem: bytes that the kernel may use.
      interpret: run by an interpreter, on any device.
    """

    chunk: int
    rows: int
    unroll: int
    vmem: int
    interpret: bool


class Grid(NamedTuple):
    """Blocks of rows, side by side, by chunks of time, one after another.

    Arrays are of three kinds. "steps" ``[T, R, N]`` are streamed, a block of rows and a
    chunk of time at once; "rows" ``[R, N]`` are there for a block of rows, and "whole"
    ones, the weights, for all of the run, in one buffer.

    Attributes:
      tiles: sizes of blocks and chunks.
      length: number of steps.
      rows: number of rows, whole blocks of them.
      descending: whether time runs from the last step to the first.
      name: of the kernel.
    """

    tiles: Tiles
    length: int
    rows: int
    descending: bool
    name: str

    @property
    def chunks(self) -> int:
        """Number of chunks of time; the last in order of time may be shorter."""
        return -(-self.length // self.tiles.chunk)

    def of_steps(self, array: Any) -> Any:
        """The block of a streamed array; of one with a single step, that step."""
        last, shape = self.chunks - 1, array.shape
        if shape[0] == 1 < self.length:
            return kernel_block((1, self.tiles.rows, shape[2]), lambda r, i: (0, r, 0))

        def index(r, i):
            return (last - i if self.descending else i), r, 0

        return kernel_block((self.tiles.chunk, self.tiles.rows, shape[2]), index)

    def of_rows(self, array: Any) -> Any:
        """The block of an array without time."""
        return kernel_block((self.tiles.rows, array.shape[1]), lambda r, i: (r, 0))

    def whole(self, array: Any) -> Any:
        """The only block of an array without time and batch."""
        return kernel_block(array.shape, lambda r, i: (0, 0), buffers=1)

    def run(
        self,
        kernel: Callable,
        inputs: tuple[PyTree, PyTree],
        outputs: tuple[PyTree, PyTree],
        scratch: PyTree,
    ) -> PyTree:
        """What ``kernel(chunk, inputs, outputs, scratch)`` leaves in the outputs.

        Args:
          kernel: gets the number of the chunk in order of processing, and references
            in the structure of inputs, outputs and scratch.
          inputs: arrays, and the block of each.
          outputs: types, and the block of each.
          scratch: shapes of float32 arrays that stay from chunk to chunk.
        """
        return call_kernel(
            kernel,
            inputs,
            outputs,
            scratch,
            grid=(self.rows // self.tiles.rows, self.chunks),
            vmem=self.tiles.vmem,
            interpret=self.tiles.interpret,
            name=self.name,
        )

    def each_step(self, chunk: Array, step: Callable[[Any], None]) -> None:
        """``step(t)`` of each step in a chunk, in order; ``t`` is its place there."""
        size, rest = self.tiles.chunk, self.length % self.tiles.chunk

        def walk(count):
            def body(j, _):
                step(count - 1 - j if self.descending else j)
                return 0

            unroll = 1 if count % self.tiles.unroll else self.tiles.unroll
            lax.fori_loop(0, count, body, 0, unroll=unroll)

        if not rest:
            return walk(size)
        shorter = chunk == (0 if self.descending else self.chunks - 1)
        when(shorter, lambda: walk(rest))
        when(jnp.logical_not(shorter), lambda: walk(size))

    def on_first(self, chunk: Array, do: Callable[[], None]) -> None:
        """Does it in the chunk that is processed first."""
        when(chunk == 0, do)

    def on_last(self, chunk: Array, do: Callable[[], None]) -> None:
        """Does it in the chunk that is processed last."""
        when(chunk == self.chunks - 1, do)


def load(refs: Any) -> tuple[Array, ...]:
    """The values behind references, in float32."""
    return tuple(ref[...].astype(jnp.float32) for ref in refs)


def store(refs: Any, values: Any) -> None:
    """Values to where references point, in their dtypes."""
    for ref, value in zip(refs, values, strict=True):
        ref[...] = value.astype(ref.dtype)


RESET, VALID = 1, 2
"""Bits of the flags of a step and row."""


def where(flags: Any, bit: int, on_true: PyTree, on_false: PyTree) -> PyTree:
    """``on_true`` in the rows whose flags ``[R, LANES]`` have the bit."""
    chosen = (flags & bit) != 0

    def choose(a, b):
        wide = jnp.concatenate([chosen] * (a.shape[-1] // LANES), -1)
        return jnp.where(wide, a, b)

    return jax.tree.map(choose, on_true, on_false)
