"""The diagonal linear recurrence in a kernel: streamed once, its state in VMEM.

Per number of the state a step reads ``a`` and ``b``, writes ``h``, and computes one
product and one sum: what bounds it is the memory outside of the chip. Complex numbers
are two arrays of real ones.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._checks import describe
from rnnjax._compat import kernel_output
from rnnjax.base import Array
from rnnjax.kernels._device import interpreted, why_not_here
from rnnjax.kernels._grid import LANES, Grid, Tiles, load, store

_DTYPES = ("float32", "bfloat16", "complex64")

# A state of 64 registers at most leaves them in place, 8 at least hide the latency of a
# step; a chunk of them is half a MiB and more, which a copy can hide behind.
_ROWS = 64
_CHUNK = 32
_VMEM = 32 * 2**20


def linear_kernel(
    a: Array, b: Array, h0: Array, reverse: bool = False, transpose: bool = False
) -> Array:
    """One step after another in one kernel; ``a`` diagonal, real or complex.

    The arguments are those of the other backends.

    Raises:
      ValueError: no TPU; matrices; another dtype.
    """
    obstacle = why_not_linear_kernel(a, b)
    if obstacle:
        raise ValueError(
            f"backend='pallas': expected a recurrence that the kernel can run, but "
            f"{obstacle}. Leave backend at 'auto', or take 'sequential'."
        )
    if 0 in b.shape:
        return b
    numbers = math.prod(b.shape[1:])
    rows = -(-numbers // LANES)
    packed = 8 * 4 // min(b.dtype.itemsize, 4)
    rows = -(-rows // packed) * packed
    block = min(rows, _ROWS)
    rows = -(-rows // block) * block
    parts = [_parts(_in_rows(x, rows)) for x in (a, b, h0[None])]
    tiles = Tiles(min(_CHUNK, len(b)), block, 1, _VMEM, interpreted())
    grid = Grid(tiles, len(b), rows, reverse, "rnnjax_linear")
    ys = _run(grid, transpose, *parts)
    y = ys[0] if len(ys) == 1 else lax.complex(*ys)
    return y.reshape(len(b), -1)[:, :numbers].reshape(b.shape)


def why_not_linear_kernel(a: Any, b: Any) -> str:
    """What keeps the kernel from running such operands here; "" for nothing."""
    if a.ndim > b.ndim:
        return f"a has matrices, {describe(a)}, and the kernel is for diagonal a"
    if b.dtype.name not in _DTYPES:
        return f"the kernel knows {', '.join(_DTYPES)} and not {b.dtype}"
    return why_not_here()


def _in_rows(x: Array, rows: int) -> Array:
    """``[T, ...]`` as ``[T, rows, LANES]``."""
    x = x.reshape(len(x), -1)
    x = jnp.pad(x, [(0, 0), (0, rows * LANES - x.shape[1])])
    return x.reshape(len(x), rows, LANES)


def _parts(x: Array) -> tuple[Array, ...]:
    """Real arrays of a real or complex one."""
    return (x.real, x.imag) if jnp.iscomplexobj(x) else (x,)


def _run(grid: Grid, transpose: bool, a, b, h0) -> list[Array]:
    h0 = tuple(h[0] for h in h0)
    steps, rows = grid.of_steps, grid.of_rows
    inputs = {"a": a, "b": b, "h0": h0}
    in_blocks = {
        "a": jax.tree.map(steps, a),
        "b": jax.tree.map(steps, b),
        "h0": jax.tree.map(rows, h0),
    }
    outputs = [kernel_output(x.shape, x.dtype, like=x) for x in b]
    scratch = [(grid.tiles.rows, LANES) for _ in b]

    def kernel(chunk, inputs, outputs, state):
        grid.on_first(chunk, lambda: store(state, load(inputs["h0"])))
        step = partial(_step, transpose, constant, inputs, outputs, state)
        grid.each_step(chunk, step)

    constant = len(a[0]) < grid.length
    out_blocks = list(map(steps, outputs))
    return grid.run(kernel, (inputs, in_blocks), (outputs, out_blocks), scratch)


def _step(transpose, constant, inputs: Any, outputs: Any, state: Any, t: Any) -> None:
    def at(refs, t):
        return tuple(ref[t].astype(jnp.float32) for ref in refs)

    a, b, h = at(inputs["a"], 0 if constant else t), at(inputs["b"], t), load(state)
    if transpose:
        ys = tuple(map(jnp.add, b, h))
        h = _times(a, ys)
    else:
        ys = h = tuple(map(jnp.add, _times(a, h), b))
    store(state, h)
    for ref, value in zip(outputs, ys, strict=True):
        ref[t] = value.astype(ref.dtype)


def _times(a: tuple[Array, ...], h: tuple[Array, ...]) -> tuple[Array, ...]:
    if len(a) == 1:
        return (a[0] * h[0],)
    (real, imag), (x, y) = a, h
    return real * x - imag * y, real * y + imag * x
