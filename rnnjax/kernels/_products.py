"""Products with a recurrent kernel that stays in VMEM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._by_hand import HandSchedule
from rnnjax._compat import unpack_register
from rnnjax.base import Array, Params
from rnnjax.kernels._grid import Grid, Tiles


class Form(NamedTuple):
    """All that is static about the kernels of one recurrence.

    Attributes:
      hand: the schedule of the cell.
      tiles: how much is in VMEM at a time.
      side: steps whose factors the backward kernel computes at a time; divides the
        chunk.
      reverse: whether the first step processed is the last of the sequence.
      precision: of the products.
    """

    hand: HandSchedule
    tiles: Tiles
    side: int
    reverse: bool
    precision: lax.Precision

    def grid(self, u: Array, *, backwards: bool) -> Grid:
        """The grid over a projected input ``[T, B, G H]``."""
        name = f"rnnjax_{'backward' if backwards else 'forward'}"
        length, rows, _ = u.shape
        return Grid(self.tiles, length, rows, self.reverse != backwards, name)

    def columns(self, k: int, width: int) -> slice:
        """The columns that belong to product ``k``, of the width of all gates."""
        gates = self.hand.gates
        unit = width // sum(gates)
        start = sum(gates[:k]) * unit
        return slice(start, start + gates[k] * unit)


def resident(w: Params) -> Params:
    """Parameters as a kernel holds them.

    bfloat16 numbers of two rows share a word: as such an array lies in VMEM, a load
    fills a register, where one of bfloat16 fills the half of it.
    """
    kernel = w["kernel"]
    if kernel.dtype != jnp.bfloat16:
        return w
    pairs = kernel.reshape(-1, 2, kernel.shape[1]).swapaxes(1, 2)
    return w | {"kernel": lax.bitcast_convert_type(pairs, jnp.uint32)}


def blocks(grid: Grid, w: Params) -> dict[str, Any]:
    """The block of each parameter; all but a mask are the same for all rows."""
    return {
        name: (grid.of_rows if name == "mask" else grid.whole)(value)
        for name, value in w.items()
    }


def products(form: Form, w: Any) -> Callable[[int, Array], Array]:
    """``product(k, q)`` of `HandSchedule.step`, for the rows of any number of steps."""

    def product(k, q):
        if "mask" in w:
            mask = w["mask"][...].astype(jnp.float32)
            q = q * jnp.concatenate([mask] * (len(q) // len(mask)))
        out = _matmul(form, q, _kernel(form, w, k), 0)
        if "bias" in w:
            columns = form.columns(k, w["bias"].shape[-1])
            bias = w["bias"][:, columns].astype(jnp.float32)
            out = out + jnp.broadcast_to(bias, out.shape)
        return out

    return product


def transposed_product(form: Form, w: Any, k: int, dz: Array) -> Array:
    """``dz W_k^T``, the cotangent of the operand of product ``k``."""
    out = _matmul(form, dz, _kernel(form, w, k), 1)
    return out * w["mask"][...].astype(jnp.float32) if "mask" in w else out


def _kernel(form: Form, w: Any, k: int) -> Array:
    kernel = w["kernel"]
    kernel = kernel[:, form.columns(k, kernel.shape[-1])]
    return unpack_register(kernel) if kernel.dtype == jnp.uint32 else kernel


def _matmul(form: Form, a: Array, b: Array, axis: int) -> Array:
    """A product over the columns of ``a`` and an axis of ``b``, summed in float32."""
    return contract(form, a.astype(b.dtype), b, ((1,), (axis,)))


def contract(form: Form, a: Array, b: Array, axes: tuple) -> Array:
    """A product over axes of ``a`` and of ``b``, summed in float32."""
    return lax.dot_general(
        a,
        b,
        (axes, ((), ())),
        precision=form.precision,
        preferred_element_type=jnp.float32,
    )


def product_precision() -> lax.Precision:
    """`jax.default_matmul_precision` as far as kernels have it: one pass or all."""
    one_pass = (None, "default", "fastest", "bfloat16", "BF16_BF16_F32")
    config: Any = jax.config
    asked = config.jax_default_matmul_precision
    return lax.Precision.DEFAULT if asked in one_pass else lax.Precision.HIGHEST
