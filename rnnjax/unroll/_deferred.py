"""Scan whose weight gradients are formed outside the backward loop, for any step.

Differentiating ``carry_t, y_t = f(w, carry_{t-1}, x_t)`` step by step gives

    d carry_t = (df/dcarry) d carry_{t-1} + [(df/dw) dw + (df/dx) dx_t].

Only the first term is sequential. The bracket is the same for every step, so it is
computed at all steps at once from the stored carries; the loop is left with the first
term alone. JAX transposes this tangent program into the backward pass: a loop with one
product a step, and the gradient of ``w`` as one product over all steps. One
`jax.custom_jvp` rule states it, and forward mode, reverse mode, every order, `vmap` and
`shard_map` follow.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import zero_from_primal

from rnnjax._compat import Literal, jaxpr_as_fun
from rnnjax.base import Carry, PyTree

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
    def f_keeping_carry(w, carry, x):
        new_carry, y = f(w, carry, x)
        return new_carry, (carry, y)

    # Itself deferred, so that this rule may be differentiated again.
    last, (carries, ys) = _deferred(f_keeping_carry, length, reverse, remat, *primals)

    program = partial(tangent_program, f, length, reverse)
    if remat:
        program = jax.checkpoint(program)
    w, first, xs = primals
    dw, dfirst, dxs = tangents
    dlast, dys = program((w, carries, xs), (dw, dxs), float_leaves(dfirst, like=first))
    return (last, ys), (fill_float0(last, dlast), fill_float0(ys, dys))


def tangent_program(f, length, reverse, primals, dw_dxs, dcarry):
    """Tangents of the last carry and of ys, as lists of their float leaves."""
    w, carries, xs = primals

    def f_float(w, carry, x):
        new_carry, y = f(w, carry, x)
        return floats(new_carry), floats(y)

    # What dw and dxs add at every step, at once. This is the jvp of the vmap: the vmap
    # of the jvp breaks on `cond` and `custom_vjp` inside a cell.
    over_time = jax.vmap(f_float, (None, 0, 0), axis_size=length)
    _, added = jax.jvp(lambda w, xs: over_time(w, carries, xs), (w, xs), dw_dxs)

    in_time, constant, rebuild = _linearise_in_carry(f_float, length, w, carries, xs)

    def tangent_step(dcarry, inputs):
        in_time, (dcarry_added, dy_added) = inputs
        dcarry, dy = rebuild(in_time, constant)(dcarry)
        add = partial(map, jnp.add)
        return list(add(dcarry, dcarry_added)), list(add(dy, dy_added))

    return lax.scan(tangent_step, dcarry, (in_time, added), length, reverse)


def _linearise_in_carry(f_float, length, w, carries, xs):
    """Linearises every step in the float leaves of its carry, all steps at once.

    Returns:
      The residuals stacked over time, those that are constant over time, and a
      function of one step's residuals that gives its linear map.
    """

    def linear_map(w, carry, x):
        fixed_carry = carry

        def of_floats(values):
            return f_float(w, _with_floats(fixed_carry, values), x)

        return jax.linearize(of_floats, floats(carry))[1]

    one_step = jax.tree.map(lambda a: a[0], (carries, xs))
    jaxpr, shapes = jax.make_jaxpr(linear_map, return_shape=True)(w, *one_step)
    structure = jax.tree.structure(shapes)
    # A residual that depends on w alone (w itself, mostly) must not be stacked T times.
    number_of_w = len(jax.tree.leaves(w))
    given = [i >= number_of_w for i in range(len(jaxpr.jaxpr.invars))]
    varies = depends(jaxpr.jaxpr, given)

    def residuals(which, w, *step):
        leaves = jaxpr_as_fun(jaxpr)(*jax.tree.leaves((w, *step)))
        return [r for r, v in zip(leaves, varies, strict=True) if v == which]

    in_time = jax.vmap(partial(residuals, True), (None, 0, 0), axis_size=length)
    constant = residuals(False, w, *one_step)

    def rebuild(in_time, constant):
        sources = {True: iter(in_time), False: iter(constant)}
        return structure.unflatten([next(sources[v]) for v in varies])

    return in_time(w, carries, xs), constant, rebuild


# Primitives that apply their one inner jaxpr to their operands, once.
_CALLS = ("jit", "pjit", "closed_call", "core_call", "remat", "checkpoint")


def depends(jaxpr, given: list[bool]) -> list[bool]:
    """Which outputs of a jaxpr depend on those inputs for which ``given`` is true."""
    marked = {v for v, g in zip(jaxpr.invars, given, strict=True) if g}
    for eqn in jaxpr.eqns:
        inputs = [not isinstance(v, Literal) and v in marked for v in eqn.invars]
        outputs = [any(inputs)] * len(eqn.outvars)
        inner = eqn.params.get("jaxpr")
        if eqn.primitive.name in _CALLS and any(inputs) and inner is not None:
            outputs = depends(getattr(inner, "jaxpr", inner), inputs)
        marked.update(v for v, o in zip(eqn.outvars, outputs, strict=True) if o)
    return [not isinstance(v, Literal) and v in marked for v in jaxpr.outvars]


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def floats(tree: PyTree) -> list:
    """The leaves that carry a tangent: real and complex floating point."""
    return [leaf for leaf in jax.tree.leaves(tree) if _is_float(leaf)]


def float_leaves(tangent: PyTree, like: PyTree) -> list:
    """The tangents of the float leaves of ``like``."""
    pairs = zip(jax.tree.leaves(tangent), jax.tree.leaves(like), strict=True)
    return [t for t, leaf in pairs if _is_float(leaf)]


def _with_floats(tree: PyTree, values: list) -> PyTree:
    """``tree`` with its float leaves replaced, in order."""
    leaves, structure = jax.tree.flatten(tree)
    rest = iter(values)
    return structure.unflatten([next(rest) if _is_float(a) else a for a in leaves])


def fill_float0(tree: PyTree, dfloats: list) -> PyTree:
    """The tangent of ``tree``: ``dfloats``, and float0 zeros for the other leaves."""
    leaves, structure = jax.tree.flatten(tree)
    rest = iter(dfloats)
    return structure.unflatten(
        [
            # Also of the varying axes of its leaf, inside `shard_map`.
            next(rest) if _is_float(a) else zero_from_primal(a)
            for a in leaves
        ]
    )
