"""Scan whose weight gradients are formed outside the backward loop, for any step.

The tangent of a step ``carry_t, y_t = f(w, carry_{t-1}, x_t)`` is linear in that of the
carry and in the taps: what weights and inputs add where they meet the carry (`Cut`),

    d carry_t, dy_t = linear_t(d carry_{t-1}, taps_t).

Only this is sequential. The taps need nothing but values that were met on the way, and
are formed at all steps at once. The forward loop keeps those values and the
coefficients of ``linear_t``, so that nothing is computed twice. JAX transposes this
tangent program into the backward pass: a loop with one product a kernel and no
accumulator, and the gradient of ``w`` as one product over all steps. One
`jax.custom_jvp` rule states it, and forward mode, reverse mode, every order, `vmap` and
`shard_map` follow.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
from jax import lax
from jax.custom_derivatives import zero_from_primal

from rnnjax._compat import jaxpr_as_fun
from rnnjax.base import Carry, PyTree
from rnnjax.unroll._cut import Cut, depends, is_float
from rnnjax.unroll._gather import gathered

Step = Callable[[PyTree, Carry, PyTree], tuple[Carry, PyTree]]


def deferred_scan(
    f: Step,
    w: PyTree,
    carry: Carry,
    xs: PyTree,
    *,
    length: int,
    reverse: bool = False,
    remat: bool = False,
) -> tuple[Carry, PyTree]:
    """``lax.scan`` of ``f(w, ., .)`` with the gradient of ``w`` deferred.

    Args:
      f: one step ``(w, carry, x) -> (carry, y)``. It closes over no value that is
        differentiated: such values belong in ``w``.
      w: what is constant over the sequence.
      carry: the first carry.
      xs: leaves ``[T, ...]``.
      length: ``T``.
      reverse: from the last step to the first.
      remat: keep the carries alone for the backward pass.

    Returns:
      The last carry and the stacked outputs, as `jax.lax.scan`.
    """
    if length == 0:  # nothing to defer, and no step to linearise
        return _plain_scan(f, w, carry, xs, length, reverse)
    return _deferred(f, length, reverse, remat, w, carry, xs)


def _plain_scan(f, w, carry, xs, length, reverse):
    return lax.scan(lambda c, x: f(w, c, x), carry, xs, length, reverse)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2, 3))
def _deferred(f, length, reverse, remat, w, carry, xs):
    return _plain_scan(f, w, carry, xs, length, reverse)


@_deferred.defjvp
def _deferred_jvp(f, length, reverse, remat, primals, tangents):
    w, first, xs = primals
    dw, dfirst, dxs = tangents
    dfirst = _float_leaves(dfirst, like=first)
    # The loop is itself deferred, so that this rule may be differentiated again.
    if remat:

        def f_keeping_carry(w, carry, x):
            new, y = f(w, carry, x)
            return new, (y, carry)

        outputs = _deferred(f_keeping_carry, length, reverse, remat, *primals)
        last, (ys, carries) = outputs
        program = jax.checkpoint(partial(tangent_program, f, length, reverse))
        dlast, dys = program((w, carries, xs), (dw, dxs), dfirst)
    else:
        x = jax.tree.map(lambda a: a[0], xs)
        step = _LinearisedStep(f, w, first, x)
        last, (ys, kept) = _deferred(step.run, length, reverse, remat, *primals)
        constant = step.constant(w, first, x)
        run = _Linearised(step, length, reverse, kept, constant)
        dlast, dys = run.tangents((w, xs), (dw, dxs), dfirst)
    return (last, ys), (fill_float0(last, dlast), fill_float0(ys, dys))


def tangent_program(f, length, reverse, primals, dw_dxs, dcarry):
    """Tangents of the last carry and of ys, from the carries that entered the steps.

    Args:
      f: one step, as of `deferred_scan`.
      length: ``T``.
      reverse: from the last step to the first.
      primals: ``w``, the carries stacked over time, ``xs``.
      dw_dxs: tangents of ``w`` and ``xs``.
      dcarry: tangents of the float leaves of the first carry.

    Returns:
      Lists of the float leaves.
    """
    w, carries, xs = primals
    one = jax.tree.map(lambda a: a[0], (carries, xs))
    step = _LinearisedStep(f, w, *one)
    at_once = jax.vmap(step.run, (None, 0, 0), axis_size=length)
    _, (_, kept) = at_once(w, carries, xs)
    run = _Linearised(step, length, reverse, kept, step.constant(w, *one))
    return run.tangents((w, xs), dw_dxs, dcarry)


class _Linearised(NamedTuple):
    """A sequence of linearised steps."""

    step: _LinearisedStep
    length: int
    reverse: bool
    kept: list
    constant: list

    def tangents(self, w_xs, dw_dxs, dcarry):
        """Tangents of the last carry and of ys, as lists of their float leaves."""
        kept, constant = self.kept, self.constant
        tapped = partial(self.step.tapped_at_once, kept, constant, self.length)
        _, taps = jax.jvp(tapped, w_xs, dw_dxs)

        def tangent_step(dcarry, inputs):
            kept, taps = inputs
            return self.step.linear(kept, constant, dcarry, taps)

        return lax.scan(tangent_step, dcarry, (kept, taps), self.length, self.reverse)


class _LinearisedStep:
    """A step that keeps what its linear map in the carry and the taps needs.

    What is a function of ``w`` alone, a kernel mostly, is constant, not kept for every
    step. The rest is kept, every value once.
    """

    _apply: Callable

    def __init__(self, f, w, carry, x):
        jaxpr, out = jax.make_jaxpr(f, return_shape=True)(w, carry, x)
        self._structure = jax.tree.structure(out)
        number_of_w = len(jax.tree.leaves(w))
        self._cut = Cut(jaxpr, number_of_w, len(jax.tree.leaves(carry)))
        number_of_new = len(jax.tree.leaves(out[0]))
        taps = self._cut.zeros()

        def linearised(w, carry, x):
            def of_floats(values, taps):
                args = jax.tree.leaves((w, _with_floats(carry, values), x))
                outputs, moving = self._cut.run(args, taps)
                new, ys = outputs[:number_of_new], outputs[number_of_new:]
                return (floats(new), floats(ys)), (outputs, moving)

            values = floats(carry)
            _, linear, aux = jax.linearize(of_floats, values, taps, has_aux=True)
            coefficients, self._apply = gathered(linear, values, taps)
            return aux, coefficients

        traced = jax.make_jaxpr(linearised, return_shape=True)(w, carry, x)
        self._jaxpr, ((outputs, moving), _) = traced
        self._moving = jax.tree.structure(moving)
        self._end = len(outputs)

        given = [i >= number_of_w for i in range(len(self._jaxpr.in_avals))]
        variables = self._jaxpr.jaxpr.outvars[self._end :]
        varies = depends(self._jaxpr.jaxpr, given)[self._end :]
        place = {}
        for i, (v, kept) in enumerate(zip(variables, varies, strict=True)):
            if kept:
                place.setdefault(v, i)
        self._kept = list(place.values())
        order = {v: i for i, v in enumerate(place)}
        # Of everything needed: which of the kept values it is, None for a constant.
        self._source = [
            order[v] if kept else None
            for v, kept in zip(variables, varies, strict=True)
        ]

    def _evaluate(self, w, carry, x) -> tuple[list, list]:
        leaves = jaxpr_as_fun(self._jaxpr)(*jax.tree.leaves((w, carry, x)))
        return leaves[: self._end], leaves[self._end :]

    def run(self, w, carry, x):
        """The step ``f``, which keeps what `linear` and `tapped_at_once` take."""
        outputs, needed = self._evaluate(w, carry, x)
        new, y = self._structure.unflatten(outputs)
        return new, (y, [needed[i] for i in self._kept])

    def constant(self, w, carry, x) -> list:
        """What they take besides; the same for every ``carry`` and ``x``."""
        _, needed = self._evaluate(w, carry, x)
        pairs = zip(needed, self._source, strict=True)
        return [leaf for leaf, source in pairs if source is None]

    def _needed(self, kept, constant) -> tuple[list, list]:
        rest = iter(constant)
        leaves = [next(rest) if i is None else kept[i] for i in self._source]
        end = self._moving.num_leaves
        return self._moving.unflatten(leaves[:end]), leaves[end:]

    def linear(self, kept, constant, dcarry, taps):
        """The linear map: tangents of the new carry and of y, their float leaves."""
        _, coefficients = self._needed(kept, constant)
        return self._apply(coefficients, dcarry, taps)

    def tapped_at_once(self, kept, constant, length, w, xs):
        """`Cut.tapped_at_once` for the carries that were met."""
        moving, _ = self._needed(kept, constant)
        w, xs = map(jax.tree.leaves, (w, xs))
        return self._cut.tapped_at_once(w, xs, moving, length)


def floats(tree: PyTree) -> list:
    """The leaves that carry a tangent: real and complex floating point."""
    return [leaf for leaf in jax.tree.leaves(tree) if is_float(leaf)]


def _float_leaves(tangent: PyTree, like: PyTree) -> list:
    """The tangents of the float leaves of ``like``."""
    pairs = zip(jax.tree.leaves(tangent), jax.tree.leaves(like), strict=True)
    return [t for t, leaf in pairs if is_float(leaf)]


def _with_floats(tree: PyTree, values: list) -> PyTree:
    """``tree`` with its float leaves replaced, in order."""
    leaves, structure = jax.tree.flatten(tree)
    rest = iter(values)
    return structure.unflatten([next(rest) if is_float(a) else a for a in leaves])


def fill_float0(tree: PyTree, dfloats: list) -> PyTree:
    """The tangent of ``tree``: ``dfloats``, and float0 zeros for the other leaves."""
    leaves, structure = jax.tree.flatten(tree)
    rest = iter(dfloats)
    return structure.unflatten(
        [
            # Also of the varying axes of its leaf, inside `shard_map`.
            next(rest) if is_float(a) else zero_from_primal(a)
            for a in leaves
        ]
    )
