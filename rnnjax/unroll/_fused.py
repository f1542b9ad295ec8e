"""Recurrences scheduled by hand: the time loop of a `HandSchedule`.

Inside the loop arrays lie in one of two layouts. "rows" is ``[*batch, G H]``, as
everywhere else. "columns" is feature-major and flat, ``[G H B]``: the product
``[G H, H] @ [H, B]`` is the faster one on CPU, above all for small batches, and
elementwise work vectorises over one long axis; in return what enters and leaves the
loop is transposed. The forward loop leaves the factors of its linearisation behind.

The tangents of all steps solve one linear system. With ``dz_t`` those of the
pre-activations, ``ds_t`` of the carry and ``e_t`` what weights and inputs add,

    dz_t = e_t + (d operand(ds_{t-1})) W,    ds_t = update(ds_{t-1}, dz_t):

block bidiagonal, its diagonal the identity. Running forwards is forward substitution,
and backpropagation through time is back substitution. So the rule is one
`lax.custom_linear_solve`, which takes both loops as written here, and every other mode
of differentiation and transformation follows. ``e_t``, and with it the gradient of the
weights, is formed outside of the loops for all steps at once.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.dtypes import float0

from rnnjax._by_hand import HandSchedule
from rnnjax.base import Array, Carry, Params, Shape
from rnnjax.unroll._blocks import fixed_type

KEYS = {"kernel", "bias", "mask"}
"""The recurrent parameters that the loop knows."""


class _Layout(NamedTuple):
    """How arrays lie in the loop, and its direction: all that is static."""

    columns: bool
    hidden: int
    rows: int
    """The size of the batch."""
    reverse: bool

    def enter(self, a: Array) -> Array:
        """``[*batch, F]`` as it lies in the loop."""
        return a.reshape(self.rows, -1).T.reshape(-1) if self.columns else a

    def leave(self, a: Array, shape: Shape) -> Array:
        """The other way round."""
        return a.reshape(-1, self.rows).T.reshape(shape) if self.columns else a

    def flags(self, flags: Array) -> Array:
        """``[*batch]`` flags, one for each hidden unit."""
        if not self.columns:
            return jnp.broadcast_to(flags[..., None], (*flags.shape, self.hidden))
        return jnp.broadcast_to(flags.reshape(-1), (self.hidden, self.rows)).reshape(-1)

    def split(self, gates: tuple[int, ...], a: Array, unit: int | None = None) -> list:
        """The parts of the last axis that belong to each product."""
        unit = unit or self.hidden * (self.rows if self.columns else 1)
        ends = itertools.accumulate(number * unit for number in gates)
        return jnp.split(a, list(ends)[:-1], -1)

    def per_gate(self, a: Array, like: Array) -> Array:
        """``[G H]`` values, the same for every row."""
        if self.columns:
            return jnp.repeat(a, self.rows)
        return jnp.broadcast_to(a, like.shape)


def fused_scan(
    hand: HandSchedule,
    w: Params,
    carry: Carry,
    first: Carry,
    u: Array,
    resets: Array | None,
    mask: Array | None,
    *,
    columns: bool,
    reverse: bool = False,
) -> tuple[Carry, Array]:
    """The recurrence of ``hand`` over projected inputs.

    Args:
      hand: the schedule.
      w: recurrent parameters, none but `KEYS`.
      carry: leaves ``[*batch, H]``.
      first: the carry that a reset restores.
      u: ``[T, *batch, G H]``.
      resets: bool ``[T, *batch]`` or None.
      mask: bool ``[T, *batch]`` or None.
      columns: the layout.
      reverse: from the last step to the first.

    Returns:
      The last carry and ``hs [T, *batch, H]``.
    """
    leaves, structure = jax.tree.flatten(carry)
    h = leaves[0]
    if 0 in (len(u), h.size):
        return carry, jnp.zeros((len(u), *h.shape), h.dtype)
    layout = _Layout(columns, h.shape[-1], h.size // h.shape[-1], reverse)
    w = {name: value.astype(u.dtype) for name, value in w.items()}
    if "mask" in w:
        w["mask"] = layout.enter(jnp.broadcast_to(w["mask"], h.shape))
    first = None if resets is None else tuple(map(layout.enter, jax.tree.leaves(first)))
    u = u * jnp.broadcast_to(_scale(hand, layout, u.dtype), u.shape)
    inputs = jax.vmap(layout.enter)(u), resets, mask
    carry = tuple(map(layout.enter, leaves))
    carry = fixed_type(_step(hand, layout, w, first), carry, inputs)
    last, hs = _fused(hand, layout, w, carry, first, *inputs)
    leave = partial(layout.leave, shape=h.shape)
    return structure.unflatten(map(leave, last)), jax.vmap(leave)(hs)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _fused(hand, layout, w, carry, first, u, resets, mask):
    last, (hs, _) = _forward(hand, layout, w, carry, first, u, resets, mask)
    return last, hs


def _forward(hand, layout, w, carry, first, u, resets, mask):
    """The last carry, and stacked over time the hidden states and the factors."""
    step = _step(hand, layout, w, first)
    return lax.scan(step, carry, (u, resets, mask), reverse=layout.reverse)


def _step(hand, layout, w, first):
    linear = _products(hand, layout, w)
    biases = _biases(hand, layout, w)

    def product(k, q):
        out = linear(k, q)
        return out if biases is None else out + layout.per_gate(biases[k], out)

    def step(carry, inputs):
        u, reset, mask = inputs
        start = _restart(layout, reset, first, carry)
        new, factors = hand.step(product, start, u)
        carry = _freeze(layout, mask, carry, new)
        return carry, (carry[0], factors)

    return step


@_fused.defjvp
def _fused_jvp(hand, layout, primals, tangents):
    w, carry, first, u, resets, mask = primals
    dw, dcarry, dfirst, du, *_ = tangents
    last, (hs, factors) = _forward(hand, layout, *primals)
    before = _before(layout, hs, carry[0])
    if first is not None:
        restart = partial(_restart, layout)
        before = jax.vmap(restart, (0, None, 0))(resets, first[0], before)
    operands = jax.vmap(hand.operands)(factors, before)

    _, added = jax.jvp(partial(_contributions, hand, layout, operands), (w,), (dw,))
    added = map(jnp.multiply, _scales(hand, factors, len(added)), added)
    added = map(jnp.add, layout.split(hand.gates, du), added)
    system = _System(hand, layout, w, factors, resets, mask)
    zeros = jax.tree.map(jnp.zeros_like, (hs, last))
    given = _Tangents(dcarry, dfirst, list(added), *zeros)
    given = _all_linear(given, (dw, dcarry, dfirst, du))
    solved = lax.custom_linear_solve(
        system.residual, given, system.forwards, system.backwards
    )
    return (last, hs), (solved.last, solved.hs)


def _all_linear(tree, tangents):
    """``tree``, every leaf of which depends on the tangents, by nothing but zeros.

    JAX transposes `lax.custom_linear_solve` if no part of the right-hand side is a
    constant. Of the tangents some may be: those of what is not differentiated.
    """
    leaves = [leaf for leaf in jax.tree.leaves(tangents) if leaf.dtype != float0]
    empty = jnp.concatenate([leaf.reshape(-1)[:0] for leaf in leaves])

    def link(leaf):
        zeros = jnp.pad(empty, (0, leaf.size)).reshape(leaf.shape)
        return leaf + zeros.astype(leaf.dtype)

    return jax.tree.map(link, tree)


class _Tangents(NamedTuple):
    """The unknowns of the linear system; its right-hand side has the same parts."""

    carry: Carry
    first: Carry | None
    z: list[Array]
    hs: Array
    last: Carry


class _System(NamedTuple):
    """The linear system of the tangents of all steps."""

    hand: HandSchedule
    layout: _Layout
    w: Params
    factors: dict[str, Array]
    resets: Array | None
    mask: Array | None

    def residual(self, x: _Tangents) -> _Tangents:
        """The system applied to ``x``; products of all steps at once."""
        hand, layout = self.hand, self.layout
        product = _products(hand, layout, self.w)

        def step(carry, inputs):
            factors, reset, mask, z = inputs
            start = _restart(layout, reset, x.first, carry)
            operands = [
                hand.operand(factors, k, start, z[:k]) for k in range(len(hand.gates))
            ]
            new = hand.update(factors, start, z)
            carry = _freeze(layout, mask, carry, new)
            return carry, (carry[0], operands)

        inputs = (self.factors, self.resets, self.mask, x.z)
        last, (hs, operands) = lax.scan(step, x.carry, inputs, reverse=layout.reverse)
        recurrent = [jax.vmap(partial(product, k))(q) for k, q in enumerate(operands)]
        scales = _scales(hand, self.factors, len(recurrent))
        z = [z - s * r for z, s, r in zip(x.z, scales, recurrent, strict=True)]
        last = jax.tree.map(jnp.subtract, x.last, last)
        return _Tangents(x.carry, x.first, z, x.hs - hs, last)

    def forwards(self, _, b: _Tangents) -> _Tangents:
        """Forward substitution: the tangents from the first step to the last."""
        hand, layout = self.hand, self.layout
        product = _products(hand, layout, self.w)

        def step(carry, inputs):
            factors, reset, mask, b_z = inputs
            start = _restart(layout, reset, b.first, carry)
            scales, z = _scales(hand, factors, len(b_z)), []
            for k, b_k in enumerate(b_z):
                operand = hand.operand(factors, k, start, z)
                z.append(b_k + scales[k] * product(k, operand))
            new = hand.update(factors, start, z)
            carry = _freeze(layout, mask, carry, new)
            return carry, (z, carry[0])

        inputs = (self.factors, self.resets, self.mask, b.z)
        last, (z, hs) = lax.scan(step, b.carry, inputs, reverse=layout.reverse)
        last = jax.tree.map(jnp.add, b.last, last)
        return _Tangents(b.carry, b.first, z, b.hs + hs, last)

    def backwards(self, _, ct: _Tangents) -> _Tangents:
        """Back substitution in the transposed system: backpropagation through time."""
        hand, layout = self.hand, self.layout
        product = _products(hand, layout, self.w, transposed=True)
        zero = jax.tree.map(jnp.zeros_like, ct.carry)

        def step(state, inputs):
            after, of_first = state
            factors, reset, mask, ct_z, ct_h = inputs
            after = (after[0] + ct_h, *after[1:])
            new = _freeze(layout, mask, zero, after)
            pull = jax.linear_transpose(partial(hand.update, factors), zero, ct_z)
            start, z = pull(new)
            scales = _scales(hand, factors, len(z))
            for k in reversed(range(len(z))):
                z[k] = z[k] + ct_z[k]
                operand = partial(hand.operand, factors, k)
                pull = jax.linear_transpose(operand, zero, z[:k])
                more, more_z = pull(product(k, scales[k] * z[k]))
                start = jax.tree.map(jnp.add, start, more)
                z[:k] = map(jnp.add, z[:k], more_z)
            before = _restart(layout, reset, zero, start)
            if reset is not None:
                added = _restart(layout, ~reset, zero, start)
                of_first = jax.tree.map(jnp.add, of_first, added)
            if mask is not None:
                before = _freeze(layout, mask, after, before)
            return (before, of_first), z

        inputs = (self.factors, self.resets, self.mask, ct.z, ct.hs)
        state = ct.last, ct.first
        (before, of_first), z = lax.scan(
            step, state, inputs, reverse=not layout.reverse
        )
        before = jax.tree.map(jnp.add, ct.carry, before)
        return _Tangents(before, of_first, z, ct.hs, ct.last)


def _products(hand, layout, w, *, transposed=False):
    """``product(k, q)``: ``q W_k``, or ``q W_k^T``; ``W`` scaled."""
    kernels = _kernels(hand, layout, w)
    if layout.columns != transposed:
        # Materialised once: a transposed operand inside the loop is slow.
        kernels = [lax.optimization_barrier(kernel.T) for kernel in kernels]

    def product(k, q):
        mask = w.get("mask")
        if mask is not None and not transposed:
            q = q * mask
        if layout.columns:
            out = (kernels[k] @ q.reshape(-1, layout.rows)).reshape(-1)
        else:
            out = q @ kernels[k]
        if mask is not None and transposed:
            out = out * mask
        return out

    return product


def _contributions(hand, layout, operands, w):
    """What the weights give to the pre-activations of all steps, operands given.

    Written for its transpose: the gradient of a kernel comes out as the kernel lies.
    """
    biases, contributions = _biases(hand, layout, w), []
    for k, (kernel, q) in enumerate(
        zip(_kernels(hand, layout, w), operands, strict=True)
    ):
        if "mask" in w:
            q = q * jnp.broadcast_to(w["mask"], q.shape)
        if layout.columns:
            q = q.reshape(len(q), -1, layout.rows)
            out = jnp.einsum("hg,thb->tgb", kernel, q).reshape(len(q), -1)
        else:
            out = q @ kernel
        if biases is not None:
            out += jax.vmap(partial(layout.per_gate, biases[k]))(out)
        contributions.append(out)
    return contributions


def _kernels(hand, layout, w):
    scale = _scale(hand, layout, w["kernel"].dtype)
    return layout.split(hand.gates, w["kernel"] * scale[None], layout.hidden)


def _biases(hand, layout, w):
    if "bias" not in w:
        return None
    scale = _scale(hand, layout, w["bias"].dtype)
    return layout.split(hand.gates, w["bias"] * scale, layout.hidden)


def _scale(hand, layout, dtype):
    """``[G H]``: the scale of each gate."""
    return jnp.repeat(jnp.asarray(hand.scales, dtype), layout.hidden)


def _scales(hand, factors, count):
    """``s_k`` of `HandSchedule`, of one step or of all."""
    if hand.product_scale is None:
        return [1] * count
    return hand.product_scale(factors)


def _before(layout, hs, first):
    """What entered each step, of what left it."""
    if layout.reverse:
        return jnp.concatenate([hs[1:], first[None]])
    return jnp.concatenate([first[None], hs[:-1]])


def _restart(layout, reset: Array | None, first: Any, carry: Any) -> Any:
    """``first`` where reset."""
    return carry if reset is None else _where(layout, reset, first, carry)


def _freeze(layout, mask: Array | None, carry: Any, new: Any) -> Any:
    """``carry`` where masked, ``new`` elsewhere."""
    return new if mask is None else _where(layout, mask, new, carry)


def _where(layout, flags: Array, on_true: Any, on_false: Any) -> Any:
    return jax.tree.map(partial(jnp.where, layout.flags(flags)), on_true, on_false)
