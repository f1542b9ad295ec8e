"""How a recurrence is cut so that its kernels fit into VMEM, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax

from rnnjax._by_hand import HandSchedule
from rnnjax._compat import tpu_memory
from rnnjax.base import Carry
from rnnjax.kernels._anatomy import anatomy
from rnnjax.kernels._device import interpreted
from rnnjax.kernels._grid import LANES, Tiles

# A chunk that is long enough hides what it costs to begin one, some 130 bundles.
_CHUNK = 32
# Rows of the products that compute factors again: enough to pay for loading the
# kernel, and few enough that the program, which is unrolled over them, stays small.
_SIDE_ROWS = 128
# Of VMEM, what the kernels may fill; the compiler keeps some for itself.
_SHARE = 0.75
# The default limit of the compiler, which costs nothing.
_DEFAULT_LIMIT = 16 * 2**20
# Numbers in a recurrent kernel from which the loads of a step take so long that there
# is nothing left to overlap, and the program is large without.
_UNROLLED = 2**20
# Numbers in a recurrent kernel beyond which the program, which is unrolled over it,
# takes minutes to compile.
_LARGEST = 2**23


class Plan(NamedTuple):
    """A cut that fits.

    Attributes:
      tiles: how much is in VMEM at a time.
      side: steps whose factors are computed at a time in the backward kernel.
      bytes: that the larger of the two kernels needs, by our count.
    """

    tiles: Tiles
    side: int
    bytes: int


class Sizes(NamedTuple):
    """What the need of VMEM depends on."""

    lanes: int
    gates: int
    item: int
    carries: tuple[int, ...]
    """Bytes of a number of each leaf of the carry."""
    factors: int
    derived: int
    scaled: bool

    def weights(self) -> int:
        """Bytes of the recurrent kernel."""
        return self.lanes * self.lanes * self.gates * self.item

    def forward(self, chunk: int, rows: int) -> int:
        """Bytes of VMEM of the forward kernel, streams in two buffers."""
        step = (self.gates + 1) * self.item + sum(self.carries)
        row = 6 * sum(self.carries) + 4 * len(self.carries) + 4 * (2 * self.gates + 4)
        stream = 2 * chunk * (self.lanes * step + 4 * LANES)
        return self.weights() + rows * (stream + self.lanes * row)

    def backward(self, chunk: int, rows: int, side: int) -> int:
        """Bytes of VMEM of the backward kernel."""
        gates = self.gates * (3 if self.scaled else 2)
        step = (gates + 1 + self.derived) * self.item + sum(self.carries)
        row = 6 * sum(self.carries) + 8 * len(self.carries)
        row += 4 * side * (2 * self.gates + self.factors)
        stream = 2 * chunk * (self.lanes * step + 4 * LANES)
        kept = 4 * chunk * self.factors * self.lanes
        return self.weights() + rows * (stream + kept + self.lanes * row)


def sizes_of(hand: HandSchedule, first: Carry) -> Sizes:
    """The sizes of a recurrence with that carry."""
    leaves = jax.tree.leaves(first)
    known = anatomy(hand, len(leaves))
    return Sizes(
        lanes=_up(leaves[0].shape[-1], LANES),
        gates=sum(hand.gates),
        item=leaves[0].dtype.itemsize,
        carries=tuple(leaf.dtype.itemsize for leaf in leaves),
        factors=len(known.factors),
        derived=len(known.derived),
        scaled=hand.product_scale is not None,
    )


def plan(hand: HandSchedule, first: Carry, length: int) -> Plan | str:
    """A cut that fits into the VMEM of the device traced for, or why there is none.

    Args:
      hand: the schedule of the cell.
      first: the initial carry, leaves ``[*batch, H]``.
      length: number of steps.
    """
    sizes = sizes_of(hand, first)
    numbers = sizes.weights() // sizes.item
    if numbers > _LARGEST:
        return (
            f"a recurrent kernel of {numbers / 2**20:.0f} Mi numbers makes a program "
            f"that takes minutes to compile (the limit is {_LARGEST / 2**20:.0f} Mi)"
        )
    capacity, cores = tpu_memory()
    limit = int(_SHARE * capacity)
    batch = max(1, math.prod(jax.tree.leaves(first)[0].shape[:-1]))
    packed = 8 * 4 // sizes.item
    rows = _up(-(-batch // cores), packed)
    need = 0
    while rows >= packed:
        for chunk, side in _chunks(length, rows):
            need = sizes.backward(chunk, rows, side)
            need = max(need, sizes.forward(chunk, rows))
            if need <= limit:
                unroll = 2 if numbers < _UNROLLED and not interpreted() else 1
                vmem = min(capacity, max(_DEFAULT_LIMIT, need * 5 // 4))
                tiles = Tiles(chunk, rows, unroll, vmem, interpreted())
                return Plan(tiles, side, need)
        if rows == packed:
            break
        rows = _up(rows // 2, packed)
    return (
        f"its kernels need {need / 2**20:.0f} MiB of VMEM, of which the recurrent "
        f"kernel is {sizes.weights() / 2**20:.0f}, and have {limit / 2**20:.0f}"
    )


def _chunks(length: int, rows: int) -> Iterator[tuple[int, int]]:
    """Lengths of chunks, the preferred first, and steps to linearise at a time."""
    chunk = _CHUNK
    while chunk:
        size = _even(length, chunk)
        sides = range(max(1, min(size, _SIDE_ROWS // rows)), 0, -1)
        yield size, next(side for side in sides if size % side == 0)
        chunk //= 2


def _even(length: int, chunk: int) -> int:
    """A chunk of about that many steps, if one divides the length.

    What is left over is a shorter chunk, and a second loop to compile.
    """
    if length <= chunk:
        return max(1, length)
    near = (n for n in range(chunk, chunk // 2, -2) if length % n == 0)
    return next(near, chunk)


def _up(n: int, to: int) -> int:
    """``n`` rounded up to a multiple."""
    return -(-n // to) * to


def describe(found: Plan) -> str:
    """How it is cut, for `explain`."""
    tiles = found.tiles
    return (
        f"chunks of {tiles.chunk} steps of {tiles.rows} rows, unrolled by "
        f"{tiles.unroll}, factors of {found.side} steps at a time, "
        f"{found.bytes / 2**20:.1f} MiB of VMEM by our count"
    )
