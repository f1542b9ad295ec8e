"""The linear system of the tangents of all steps of a hand-scheduled loop."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.dtypes import float0

from rnnjax.base import Array, Carry, Params
from rnnjax.unroll._fused_loop import Part, Run


class Tangents(NamedTuple):
    """The unknowns of a part of the linear system; its right-hand side likewise."""

    carry: Carry
    first: Carry | None
    z: list[Array]
    hs: Array
    last: Carry


class System(NamedTuple):
    """The linear system of the tangents of all steps."""

    run: Run
    w: Params
    parts: list[Part]
    slopes: list[list[Array]]
    """Of each part and product, one for each gate."""
    factors: list[dict[str, Array]]
    """The others."""

    def _inputs(self, *more) -> list[tuple]:
        flags = [(part.resets, part.valid) for part in self.parts]
        return list(zip(self.factors, flags, *more, strict=True))

    def residual(self, xs: list[Tangents]) -> list[Tangents]:
        """The system applied to ``xs``; products of all steps at once."""
        run, product = self.run, self.run.products(self.w)
        hand = run.hand

        def step(x_first, carry, inputs):
            factors, (reset, valid), slopes, z = inputs
            start = run.restart(reset, x_first, carry)
            v = [
                jnp.split(slope * z_k, gates, -1)
                for slope, z_k, gates in zip(slopes, z, hand.gates, strict=True)
            ]
            operands = [
                hand.operand(factors, k, start, v[:k]) for k in range(len(hand.gates))
            ]
            new = hand.update(factors, start, v)
            carry = run.freeze(valid, carry, new)
            return carry, (carry[0], operands)

        lasts, outs = run.loop(
            step,
            [x.first for x in xs],
            [x.carry for x in xs],
            self._inputs(self.slopes, [x.z for x in xs]),
        )

        def of_part(part, factors, x, last, out):
            hs, operands = out
            recurrent = [
                jax.vmap(partial(product, part.mask, k))(q)
                for k, q in enumerate(operands)
            ]
            scales = run.scales(factors)
            z = [z - s * r for z, s, r in zip(x.z, scales, recurrent, strict=True)]
            last = jax.tree.map(jnp.subtract, x.last, last)
            return Tangents(x.carry, x.first, z, x.hs - hs, last)

        return list(map(of_part, self.parts, self.factors, xs, lasts, outs))

    def forwards(self, _, bs: list[Tangents]) -> list[Tangents]:
        """Forward substitution: the tangents from the first step to the last."""
        run, product = self.run, self.run.products(self.w)
        hand = run.hand

        def step(constants, carry, inputs):
            part, b_first = constants
            factors, (reset, valid), slopes, b_z = inputs
            start = run.restart(reset, b_first, carry)
            scales, z, v = run.scales(factors), [], []
            for k, b_k in enumerate(b_z):
                operand = hand.operand(factors, k, start, v)
                z.append(b_k + scales[k] * product(part.mask, k, operand))
                v.append(jnp.split(slopes[k] * z[k], hand.gates[k], -1))
            new = hand.update(factors, start, v)
            carry = run.freeze(valid, carry, new)
            return carry, (z, carry[0])

        lasts, outs = run.loop(
            step,
            [(part, b.first) for part, b in zip(self.parts, bs, strict=True)],
            [b.carry for b in bs],
            self._inputs(self.slopes, [b.z for b in bs]),
        )

        def of_part(b, last, out):
            z, hs = out
            last = jax.tree.map(jnp.add, b.last, last)
            return Tangents(b.carry, b.first, z, b.hs + hs, last)

        return list(map(of_part, bs, lasts, outs))

    def backwards(self, _, cts: list[Tangents]) -> list[Tangents]:
        """Back substitution in the transposed system: backpropagation through time."""
        run, product = self.run, self.run.products(self.w, transposed=True)
        hand, hidden = run.hand, len(self.w["kernel"])

        def step(part, state, slopes, inputs):
            after, of_first = state
            factors, (reset, valid), ct_z, ct_h = inputs
            zero = jax.tree.map(jnp.zeros_like, after)
            zero_v = [[zero[0]] * gates for gates in hand.gates]
            after = (after[0] + ct_h, *after[1:])
            new = run.freeze(valid, zero, after)
            pull = jax.linear_transpose(partial(hand.update, factors), zero, zero_v)
            start, v = pull(new)
            scales, z = run.scales(factors), list(ct_z)
            for k in reversed(range(len(z))):
                z[k] += run.layout.times_gates(slopes[k], v[k])
                operand = partial(hand.operand, factors, k)
                pull = jax.linear_transpose(operand, zero, zero_v[:k])
                more, more_v = pull(product(part.mask, k, scales[k] * z[k]))
                start = jax.tree.map(jnp.add, start, more)
                v[:k] = jax.tree.map(jnp.add, v[:k], more_v)
            before = run.restart(reset, zero, start)
            if reset is not None:
                added = run.restart(~reset, zero, start)
                of_first = jax.tree.map(jnp.add, of_first, added)
            if valid is not None:
                before = run.freeze(valid, after, before)
            # As the product reads it, so that it is formed once.
            left = [
                [run.layout.matrix(z_k, gates * hidden)]
                for z_k, gates in zip(z, hand.gates, strict=True)
            ]
            return (before, of_first), left, None

        states, zs, _ = run.rewrite(
            step,
            self.parts,
            [(ct.last, ct.first) for ct in cts],
            self.slopes,
            self._inputs([ct.z for ct in cts], [ct.hs for ct in cts]),
            backwards=True,
        )

        def of_part(ct, state, z):
            before, of_first = state
            before = jax.tree.map(jnp.add, ct.carry, before)
            return Tangents(before, of_first, z, ct.hs, ct.last)

        return list(map(of_part, cts, states, zs))


def all_linear(tree, tangents):
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
