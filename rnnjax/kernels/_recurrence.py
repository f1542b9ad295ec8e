"""A recurrence by kernels: padding around them, and the rule that ties them together.

The rule is a `jax.custom_vjp`: first derivatives in reverse mode, and no others.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax._by_hand import HandSchedule
from rnnjax._checks import in_our_words
from rnnjax._compat import varying_like
from rnnjax.base import Array, Carry, Params
from rnnjax.kernels._backward import Cotangents, backward
from rnnjax.kernels._forward import forward
from rnnjax.kernels._grid import RESET, VALID
from rnnjax.kernels._padding import Padding
from rnnjax.kernels._plan import plan
from rnnjax.kernels._products import Form, contract, product_precision

FIRST_REVERSE_ONLY = (
    "Schedule(backend='pallas'): expected a first derivative in reverse mode, of "
    "jax.grad or jax.vjp, the only one that the kernels have; got forward mode "
    "(jax.jvp, jax.jacfwd) or a second derivative. Take backend 'scan'."
)


def kernel_scan(
    hand: HandSchedule,
    w: Params,
    carry: Carry,
    first: Carry,
    u: Array,
    resets: Array | None,
    mask: Array | None,
    *,
    reverse: bool,
) -> tuple[Carry, Array]:
    """The recurrence of ``hand`` over a sequence, by kernels cut to fit.

    Args:
      hand: the schedule of the cell.
      w: recurrent parameters: ``kernel``, perhaps ``bias`` and ``mask``.
      carry: leaves ``[*batch, H]``.
      first: the carry that a reset restores.
      u: the projected input ``[T, *batch, G H]``.
      resets: bool ``[T, *batch]`` or None.
      mask: bool ``[T, *batch]`` or None.
      reverse: from the last step to the first.

    Returns:
      The last carry and ``hs [T, *batch, H]``.

    Raises:
      ValueError: they do not fit; `choose` found that out before.
    """
    cut = plan(hand, carry, len(u))
    if isinstance(cut, str):
        raise ValueError(f"hand: expected a recurrence that fits, but {cut}.")
    form = Form(hand, cut.tiles, cut.side, reverse, product_precision())
    with in_our_words(FIRST_REVERSE_ONLY, "custom_vjp"):
        return recurrence(form, w, carry, first, u, resets, mask)


def recurrence(
    form: Form,
    w: Params,
    carry: Carry,
    first: Carry,
    u: Array,
    resets: Array | None,
    mask: Array | None,
) -> tuple[Carry, Array]:
    """What `kernel_scan` computes, cut as ``form`` says."""
    leaves, structure = jax.tree.flatten(carry)
    length, shape, dtype = len(u), leaves[0].shape, leaves[0].dtype
    if 0 in (length, leaves[0].size):
        return carry, jnp.zeros((length, *shape), dtype)
    *batch, units = shape
    rows = form.tiles.rows
    count = -(-max(1, leaves[0].size // units) // rows) * rows
    pad = Padding(tuple(batch), units, count)
    u = pad.enter(_scale(form, u.astype(dtype)), lead=1)
    states = tuple(map(pad.enter, leaves))
    restored = None if resets is None else tuple(map(pad.enter, jax.tree.leaves(first)))
    w = _weights(form, pad, w, dtype, shape)
    vary = partial(jax.tree.map, partial(varying_like, like=u))
    w, states, restored = vary(w), vary(states), vary(restored)
    flags = _flags(pad, resets, mask)
    run: Any = _recurrence(form, w, u, states, restored, flags)
    last, hs = run
    leaves = [pad.leave(leaf) for leaf in last]
    return structure.unflatten(leaves), pad.leave(hs, lead=1)


def _weights(form, pad, w, dtype, shape) -> Params:
    """Recurrent parameters scaled and padded."""
    w = {name: value.astype(dtype) for name, value in w.items()}
    new = {"kernel": pad.kernel(_scale(form, w["kernel"]))}
    if "bias" in w:
        new["bias"] = pad.columns(_scale(form, w["bias"])[None])
    if "mask" in w:
        new["mask"] = pad.enter(jnp.broadcast_to(w["mask"], shape))
    return new


def _scale(form: Form, a: Array) -> Array:
    """``a`` with its columns scaled gate by gate."""
    unit = a.shape[-1] // len(form.hand.scales)
    scale = jnp.repeat(jnp.asarray(form.hand.scales, a.dtype), unit)
    return a * jnp.broadcast_to(scale, a.shape)


def _flags(pad: Padding, resets: Array | None, mask: Array | None) -> Array | None:
    """Both flags in one array of integers."""
    if resets is None and mask is None:
        return None
    flags = jnp.int32(0)
    if resets is not None:
        flags = flags + RESET * resets.astype(jnp.int32)
    valid = True if mask is None else mask
    return pad.flags(flags + VALID * jnp.asarray(valid, jnp.int32))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recurrence(form, w, u, carry, first, flags):
    run = forward(form, w, u, carry, first, flags, keep=False)
    return run.last, run.hs


def _run(form, w, u, carry, first, flags):
    run = _opaque(_forward_and_keep, form, (w, u, carry, first, flags))
    return (run.last, run.hs), (w, u, run.starts, first, flags)


def _walk_back(form, kept, cotangents):
    w, u, starts, first, flags = kept
    ct_last, ct_hs = cotangents
    given = w, u, starts, first, flags, ct_last, ct_hs
    cts = _opaque(_backward, form, given)
    return _of_weights(form, w, starts[0], cts), cts.z, cts.carry, cts.first, None


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _opaque(kernel, form, given):
    """A kernel whose own derivative is an error that says so."""
    return kernel(form, *given)


@_opaque.defjvp
def _opaque_jvp(kernel, form, primals, tangents):
    raise TypeError(FIRST_REVERSE_ONLY)


def _forward_and_keep(form, w, u, carry, first, flags):
    return forward(form, w, u, carry, first, flags, keep=True)


def _backward(form, w, u, starts, first, flags, ct_last, ct_hs):
    resets = first is not None
    return backward(form, w, u, starts, flags, ct_last, ct_hs, resets=resets)


_recurrence.defvjp(_run, _walk_back)


def _of_weights(form: Form, w: Params, h: Array, cts: Cotangents) -> Params:
    """Cotangents of the recurrent parameters: products over all steps at once."""
    dz = cts.z if cts.products is None else cts.products
    kernel, mask, parts, of_mask = w["kernel"], w.get("mask"), [], []
    for k in range(len(form.hand.gates)):
        columns = form.columns(k, dz.shape[-1])
        q, dz_k = cts.operands.get(k, h), dz[..., columns]
        if mask is not None:
            dq = contract(form, dz_k, kernel[:, columns], ((2,), (1,)))
            of_mask.append(jnp.sum(dq * q.astype(jnp.float32), 0))
            q = q * mask[None]
        parts.append(contract(form, q, dz_k, ((0, 1), (0, 1))))
    new = {"kernel": jnp.concatenate(parts, -1).astype(kernel.dtype)}
    if mask is not None:
        new["mask"] = jnp.asarray(sum(of_mask), mask.dtype)
    if "bias" in w:
        total = jnp.sum(dz, (0, 1), dtype=jnp.float32)
        new["bias"] = total[None].astype(w["bias"].dtype)
    return new
