"""The forward kernel: a recurrence, step by step, its weights in VMEM."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax._compat import kernel_output
from rnnjax.base import Array, Carry, Params
from rnnjax.kernels._grid import RESET, VALID, load, store, where
from rnnjax.kernels._products import Form, blocks, products, resident


class Run(NamedTuple):
    """What the forward kernel leaves.

    Attributes:
      last: the carry after the last step.
      hs: hidden states ``[T, B, H]``.
      starts: the carries that steps start from, or None.
    """

    last: Carry
    hs: Array
    starts: Carry | None


def forward(
    form: Form,
    w: Params,
    u: Array,
    carry: Carry,
    first: Carry | None,
    flags: Array | None,
    *,
    keep: bool,
) -> Run:
    """Runs a recurrence.

    Args:
      form: what is static.
      w: ``kernel [H, G H]``, perhaps ``bias [1, G H]`` and ``mask [B, H]``; scaled.
      u: the projected input ``[T, B, G H]``, scaled.
      carry: leaves ``[B, H]``.
      first: the carry that a reset restores; None if there are no resets.
      flags: int32 ``[T, B, LANES]`` of the bits RESET and VALID; None for all valid.
      keep: also the carries that steps start from, for the backward kernel.

    Returns:
      `Run`.
    """
    grid, w = form.grid(u, backwards=False), resident(w)
    rows, steps = grid.of_rows, grid.of_steps
    inputs = {"w": w, "u": u, "carry": carry, "first": first, "flags": flags}
    in_blocks = {
        "w": blocks(grid, w),
        "u": steps(u),
        "carry": jax.tree.map(rows, carry),
        "first": jax.tree.map(rows, first),
        "flags": jax.tree.map(steps, flags),
    }

    def stacked(leaf):
        return kernel_output((len(u), *leaf.shape), leaf.dtype, like=u)

    outputs = Run(
        jax.tree.map(lambda a: kernel_output(a.shape, a.dtype, like=u), carry),
        stacked(carry[0]),
        jax.tree.map(stacked, carry) if keep else None,
    )
    out_blocks = Run(
        jax.tree.map(rows, outputs.last),
        steps(outputs.hs),
        jax.tree.map(steps, outputs.starts),
    )
    scratch = [(form.tiles.rows, leaf.shape[-1]) for leaf in carry]

    def kernel(chunk, inputs, outputs, carry):
        grid.on_first(chunk, lambda: store(carry, load(inputs["carry"])))
        grid.each_step(chunk, lambda t: _step(form, inputs, outputs, carry, t))
        grid.on_last(chunk, lambda: store(outputs.last, load(carry)))

    return grid.run(kernel, (inputs, in_blocks), (outputs, out_blocks), scratch)


def _step(form: Form, inputs: Any, outputs: Any, state: Any, t: Any) -> None:
    """One step; the carry is in ``state``, before and after."""
    start = carry = load(state)
    flags = None if inputs["flags"] is None else inputs["flags"][t]
    if inputs["first"] is not None:
        start = where(flags, RESET, load(inputs["first"]), carry)
    if outputs.starts is not None:
        for out, leaf in zip(outputs.starts, start, strict=True):
            out[t] = leaf.astype(out.dtype)
    u = inputs["u"][t].astype(jnp.float32)
    new, _ = form.hand.step(products(form, inputs["w"]), start, u)
    if flags is not None:
        new = where(flags, VALID, tuple(new), carry)
    store(state, new)
    outputs.hs[t] = new[0].astype(outputs.hs.dtype)
