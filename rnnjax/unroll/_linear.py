"""Cells that are linear in their carry, over all steps by `linear_scan`."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax._checks import describe
from rnnjax._compat import like_type
from rnnjax.base import Array, Carry, Cell, Params, PyTree
from rnnjax.unroll._cut import depends
from rnnjax.unroll._linear_backends import before, times
from rnnjax.unroll._linear_scan import linear_scan
from rnnjax.unroll._masking import select, zero_where_masked


def linear_recurrence(
    cell: Cell,
    w: Params,
    carry: Carry,
    first: Carry,
    u: PyTree,
    resets: Array | None,
    mask: Array | None,
    *,
    reverse: bool,
    backend: str,
) -> tuple[Carry, PyTree]:
    """What a scan of ``cell.recur`` computes, by `linear_scan` over its coefficients.

    Args:
      cell: has ``linear``.
      w: what is constant over the sequence, mostly ``params["recurrent"]``.
      carry: before the first step.
      first: the initial carry, which a reset goes back to.
      u: projected inputs of ``T >= 1`` steps, ``[T, *batch, ...]``.
      resets: bool ``[T, *batch]``, false where masked, or None.
      mask: bool ``[T, *batch]`` or None.
      reverse: from the last step to the first.
      backend: of `linear_scan`.

    Returns:
      The last carry and the outputs of all steps; those of masked steps mean nothing.

    Raises:
      ValueError: ``linear`` returns what does not fit the carry.
    """
    a, b = _coefficients(cell, w, u, carry)
    # A reset is zero to linear_scan: what the initial carry adds is added to b.
    b = jax.tree.map(partial(_from_first, resets), a, b, first)
    b = zero_where_masked(mask, b)
    a = jax.tree.map(partial(_identity_where_masked, mask), a, b)

    def scan(a, b, carry):
        options = {"resets": resets, "reverse": reverse, "backend": backend}
        return linear_scan(a, b, carry, **options)[1]

    def start(hs, h0):
        h0 = like_type(h0, jax.eval_shape(lambda hs: hs[0], hs))
        return before(hs, h0, reverse)

    carries = jax.tree.map(scan, a, b, carry)
    starts = jax.tree.map(start, carries, carry)
    if resets is not None:
        starts = select(resets, jax.tree.map(lambda c: c[None], first), starts)
    last = jax.tree.map(lambda c: c[0 if reverse else -1], carries)
    return last, jax.vmap(partial(_output, cell, w))(starts, u, carries)


def _coefficients(
    cell: Cell, w: Params, u: PyTree, carry: Carry
) -> tuple[PyTree, PyTree]:
    """``a`` and ``b`` of all steps; of one step where ``a`` is constant over time."""
    one = jax.tree.map(lambda leaf: leaf[0], u)
    linear: Any = cell.linear  # the choice of the backend saw that there is one
    jaxpr, shapes = jax.make_jaxpr(linear, return_shape=True)(w, one)
    _check(shapes, carry)
    fixed = len(jax.tree.leaves(w))
    given = [i >= fixed for i in range(len(jaxpr.jaxpr.invars))]
    varies = depends(jaxpr.jaxpr, given)
    varies, _ = jax.tree.unflatten(jax.tree.structure(shapes), varies)
    a, b = jax.vmap(linear, (None, 0))(w, u)
    return jax.tree.map(lambda a, v: a if v else a[:1], a, varies), b


def _check(coefficients: PyTree, carry: Carry) -> None:
    """Raises unless ``(a, b)`` of one step fit the carry, leaf by leaf."""
    tree = jax.tree.structure(carry)
    if jax.tree.structure(coefficients) != jax.tree.structure((carry, carry)):
        raise ValueError(
            f"Cell.linear: expected (a, b), each with the tree of the carry, {tree}, "
            f"got {jax.tree.structure(coefficients)}."
        )
    a, b = map(jax.tree.leaves, coefficients)
    for a_leaf, b_leaf, leaf in zip(a, b, jax.tree.leaves(carry), strict=True):
        same_type = jnp.result_type(a_leaf, b_leaf, leaf) == leaf.dtype
        of_rank = a_leaf.ndim in (leaf.ndim, leaf.ndim + 1)
        if b_leaf.shape != leaf.shape or not of_rank or not same_type:
            raise ValueError(
                f"Cell.linear: expected a and b of the shape and dtype of the carry "
                f"{describe(leaf)}, a also as matrices over its last axis, got a "
                f"{describe(a_leaf)} and b {describe(b_leaf)}."
            )


def _from_first(resets: Array | None, a: Array, b: Array, first: Array) -> Array:
    """``b`` with ``a`` times the initial carry where a reset goes back to it."""
    if resets is None:
        return b
    return b + select(resets, times(a, first[None]), jnp.zeros((1,) * b.ndim, b.dtype))


def _identity_where_masked(mask: Array | None, a: Array, b: Array) -> Array:
    """``a``, or what leaves the carry as it is where the mask is false."""
    if a.ndim == b.ndim:
        identity = jnp.ones((1,) * a.ndim, a.dtype)
    else:
        identity = jnp.eye(a.shape[-1], dtype=a.dtype)
        identity = identity.reshape((1,) * (a.ndim - 2) + identity.shape)
    return select(mask, a, identity)


def _output(cell: Cell, w: Params, start: Carry, u: PyTree, end: Carry) -> PyTree:
    """``y`` of one step, of which the carries before and after are known.

    An output that *is* a leaf of the new carry is taken from there, so that nothing of
    the step is computed again.
    """
    new, y = cell.recur(w, start, u)
    pairs = list(zip(jax.tree.leaves(new), jax.tree.leaves(end), strict=True))

    def known(out):
        return next((after for leaf, after in pairs if leaf is out), out)

    return jax.tree.map(known, y)
