"""The backward kernel: backpropagation through time of a `HandSchedule`.

Of a chunk it first computes the factors of all steps again, from the carries that they
started from: nothing there waits for another step, so the products have many rows. Then
it walks from the last step processed to the first, and the one product of a step is
that with the transposed kernel. It leaves the cotangents of the pre-activations behind;
the gradients of weights are products over all of them, outside.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._compat import kernel_output, some_of
from rnnjax.base import Array, Carry, Params
from rnnjax.kernels._anatomy import anatomy
from rnnjax.kernels._grid import RESET, VALID, load, store, where
from rnnjax.kernels._products import (
    Form,
    blocks,
    products,
    resident,
    transposed_product,
)


class Cotangents(NamedTuple):
    """What the backward kernel leaves.

    Attributes:
      carry: cotangents of the carry before the first step.
      first: of the carry that resets restore, or None.
      z: of the pre-activations, and so of the projected input, ``[T, B, G H]``.
      products: of the recurrent products, where these are other, or None.
      operands: no cotangents but the operands of the products that do not take ``h``
        itself, by their number.
    """

    carry: Carry
    first: Carry | None
    z: Array
    products: Array | None
    operands: dict[int, Array]


def backward(
    form: Form,
    w: Params,
    u: Array,
    starts: Carry,
    flags: Array | None,
    ct_last: Carry,
    ct_hs: Array,
    *,
    resets: bool,
) -> Cotangents:
    """Walks a recurrence back.

    Args:
      form: what is static.
      w: as for the forward kernel.
      u: as for the forward kernel.
      starts: the carries that steps started from, leaves ``[T, B, H]``.
      flags: as for the forward kernel.
      ct_last: cotangents of the last carry.
      ct_hs: cotangents of ``hs``.
      resets: whether there are any.

    Returns:
      `Cotangents`.
    """
    grid, w = form.grid(u, backwards=True), resident(w)
    rows, steps = grid.of_rows, grid.of_steps
    known = anatomy(form.hand, len(starts))
    inputs = {"w": w, "u": u, "starts": starts, "flags": flags}
    in_blocks = {
        "w": blocks(grid, w),
        "u": steps(u),
        "starts": jax.tree.map(steps, starts),
        "flags": jax.tree.map(steps, flags),
        "last": jax.tree.map(rows, ct_last),
        "hs": steps(ct_hs),
    }
    inputs |= {"last": ct_last, "hs": ct_hs}

    def like(a):
        return kernel_output(a.shape, a.dtype, like=u)

    carry, of_z = jax.tree.map(like, ct_last), like(u)
    other = form.hand.product_scale is not None
    outputs = Cotangents(
        carry,
        carry if resets else None,
        of_z,
        of_z if other else None,
        {k: like(starts[0]) for k in known.derived},
    )
    out_blocks = Cotangents(
        jax.tree.map(rows, outputs.carry),
        jax.tree.map(rows, outputs.first),
        *jax.tree.map(steps, outputs[2:]),
    )
    states = [(form.tiles.rows, leaf.shape[-1]) for leaf in ct_last]
    factor = (form.tiles.chunk, *states[0])
    scratch = {
        "after": states,
        "first": states if resets else [],
        "factors": dict.fromkeys(known.factors, factor),
    }

    def kernel(chunk, inputs, outputs, scratch):
        def start():
            store(scratch["after"], load(inputs["last"]))
            store(scratch["first"], map(jnp.zeros_like, load(scratch["first"])))

        def finish():
            store(outputs.carry, load(scratch["after"]))
            store(outputs.first or (), load(scratch["first"]))

        grid.on_first(chunk, start)
        _linearise(form, inputs, outputs, scratch["factors"])
        grid.each_step(chunk, lambda t: _step(form, inputs, outputs, scratch, t))
        grid.on_last(chunk, finish)

    return grid.run(kernel, (inputs, in_blocks), (outputs, out_blocks), scratch)


def _linearise(form: Form, inputs: Any, outputs: Any, kept: Any) -> None:
    """The factors of all steps of a chunk, some steps at a time.

    What stands past the end of a sequence is computed too, and read by nobody.
    """
    side, hand, product = form.side, form.hand, products(form, inputs["w"])

    def some_steps(j, _):
        some = some_of(j * side, side)

        def rows(ref):
            return ref[some].astype(jnp.float32).reshape(-1, ref.shape[-1])

        def keep(ref, value):
            ref[some] = value.reshape(side, -1, ref.shape[-1]).astype(ref.dtype)

        carry = tuple(map(rows, inputs["starts"]))
        _, factors = hand.step(product, carry, rows(inputs["u"]))
        operands = hand.operands(factors, carry[0])
        for name, ref in kept.items():
            keep(ref, factors[name])
        for k, ref in outputs.operands.items():
            keep(ref, operands[k])
        return 0

    lax.fori_loop(0, form.tiles.chunk // side, some_steps, 0)


def _step(form: Form, inputs: Any, outputs: Any, scratch: Any, t: Any) -> None:
    """One step back; the cotangents of the carry are in ``scratch["after"]``."""
    factors = {name: ref[t] for name, ref in scratch["factors"].items()}
    after = load(scratch["after"])
    after = (after[0] + inputs["hs"][t].astype(jnp.float32), *after[1:])
    new, zero = after, jax.tree.map(jnp.zeros_like, after)
    flags = None if inputs["flags"] is None else inputs["flags"][t]
    if flags is not None:
        new = where(flags, VALID, after, zero)
    before, z, of_products = _pull(form, inputs["w"], factors, new)
    outputs.z[t] = jnp.concatenate(z, -1).astype(outputs.z.dtype)
    if outputs.products is not None:
        outputs.products[t] = jnp.concatenate(of_products, -1).astype(outputs.z.dtype)
    if scratch["first"]:
        added = where(flags, RESET, before, zero)
        total = map(jnp.add, load(scratch["first"]), added)
        store(scratch["first"], total)
        before = where(flags, RESET, zero, before)
    if flags is not None:
        before = where(flags, VALID, before, after)
    store(scratch["after"], before)


def _pull(form: Form, w: Any, factors: dict, new: Carry):
    """Cotangents of the carry that a step starts from, pre-activations and products."""
    hand, zero = form.hand, jax.tree.map(jnp.zeros_like, new)
    zeros = [[zero[0]] * gates for gates in hand.gates]
    slopes, factors = hand.set_apart(factors)
    pull = jax.linear_transpose(partial(hand.update, factors), zero, zeros)
    start, v = pull(new)
    scales = [1] * len(v)
    if hand.product_scale is not None:
        scales = hand.product_scale(factors)
    z, of_products = [], []
    for k in reversed(range(len(v))):
        z.insert(0, jnp.concatenate(list(map(jnp.multiply, slopes[k], v[k])), -1))
        of_products.insert(0, scales[k] * z[0])
        dq = transposed_product(form, w, k, of_products[0])
        operand = partial(hand.operand, factors, k)
        more, more_v = jax.linear_transpose(operand, zero, zeros[:k])(dq)
        start = jax.tree.map(jnp.add, start, more)
        v[:k] = jax.tree.map(jnp.add, v[:k], more_v)
    return tuple(start), z, of_products
