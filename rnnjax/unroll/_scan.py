"""`scan`: the drop-in for `jax.lax.scan` that defers weight gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._compat import (
    deferrable,
    inlined,
    is_variable,
    jaxpr_as_fun,
    same_type,
    without_constants,
)
from rnnjax.base import Carry, PyTree
from rnnjax.unroll._cut import reached
from rnnjax.unroll._deferred import deferred_scan

NOT_DEFERRABLE = (
    "the step calls back into Python or writes to a reference, which a deferred "
    "gradient would repeat"
)
RULE_OF_WEIGHTS = (
    "the step applies a jax.custom_vjp to its weights alone, whose rule is to run at "
    "every step"
)


def scan(
    f: Callable[[Carry, PyTree], tuple[Carry, PyTree]],
    init: Carry,
    xs: PyTree = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Carry, PyTree]:
    """`jax.lax.scan`, with the gradients of what ``f`` closes over deferred.

    Signature, results and errors are those of `jax.lax.scan`. The arrays that ``f``
    closes over (the weights of a Flax, Haiku or Equinox cell, say) get their gradient
    in products over all steps, outside the backward loop, where `jax.lax.scan` adds
    one product a step to an accumulator.

    Under differentiation `jax.debug.print` inside ``f`` fires more often than under
    `jax.lax.scan`. Other effects must not be repeated: an ``f`` that calls back into
    Python (`jax.pure_callback`, `jax.experimental.io_callback`, ordered prints) or
    writes to a `jax.Ref` is left to `jax.lax.scan`, gradient included. So is one that
    applies a `jax.custom_vjp` to nothing but what it closes over.

    Args:
      f: one step, ``(carry, x) -> (carry, y)``.
      init: the first carry.
      xs: leaves ``[T, ...]``, or None with ``length``.
      length: ``T``, where ``xs`` has no leaf.
      reverse: from the last step to the first.
      unroll: as in `jax.lax.scan`; any value but 1 leaves the gradient to it as well.

    Returns:
      The last carry, and the outputs stacked along a new first axis.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> w = jnp.eye(2) / 2
      >>> step = lambda h, x: (jnp.tanh(h @ w + x),) * 2
      >>> h, hs = rnnjax.scan(step, jnp.zeros(2), jnp.ones((3, 2)))
      >>> hs.shape
      (3, 2)
    """
    plain = partial(lax.scan, f, init, xs, length, reverse, unroll)
    jax.tree.map(jax.typeof, (init, xs))  # raises for leaves of no JAX type
    if callable(f):
        hash(f)  # raises as well: lax.scan keeps its traces by f
    steps = _number_of_steps(xs, length)
    jitted = not jax.config.jax_disable_jit  # type: ignore[attr-defined]
    if not steps or not _is_rolled(unroll) or not jitted:
        return plain()
    traced, init = trace(plain, f, init, xs)
    if traced is None or why_not_deferrable(traced.jaxpr):
        return plain()
    return _scan_traced(traced, init, xs, steps, reverse=reverse)


def scan_closure(
    f: Callable[[Carry, PyTree], tuple[Carry, PyTree]],
    init: Carry,
    xs: PyTree,
    length: int,
    *,
    reverse: bool = False,
    remat: bool = False,
) -> tuple[Carry, PyTree]:
    """`deferred_scan` of a step that closes over its weights.

    The step is traced once, and everything it closes over is made an argument. Not
    `jax.closure_convert`: that takes only some of the constants.
    """
    traced = _trace(f, init, xs) if length else None
    obstacle = why_not_deferrable(traced.jaxpr) if traced is not None else ""
    if obstacle:
        warnings.warn(f"rnnjax: gradient autodiff: {obstacle}.", stacklevel=2)
        traced = None
    if traced is None:
        step = jax.checkpoint(f) if remat else f
        return lax.scan(step, init, xs, length, reverse)
    return _scan_traced(traced, init, xs, length, reverse=reverse, remat=remat)


class Traced(NamedTuple):
    """One step as a jaxpr; what it closes over are the jaxpr's constants."""

    jaxpr: Any
    out_structure: Any
    keeps_type: bool
    """Whether the carry comes out of the type it goes in, weak types aside."""

    def step(self) -> Callable[[list, Carry, PyTree], tuple[Carry, PyTree]]:
        """``(constants, carry, x) -> (carry, y)``.

        It holds on to no constant: those may be tracers, which it would leak.
        """
        kind, jaxpr = type(self.jaxpr), without_constants(self.jaxpr)
        structure = self.out_structure

        def step(consts, carry, x):
            outputs = jaxpr_as_fun(kind(jaxpr, consts))(*jax.tree.leaves((carry, x)))
            return tuple(structure.unflatten(outputs))

        return step


def trace(plain, f, init, xs) -> tuple[Traced | None, Carry]:
    """Traces one step, and gives a weakly typed first carry the type of the step's.

    ``plain`` is the same by `jax.lax.scan`, whose errors are raised.
    """
    traced = _trace(f, init, xs)
    if traced is None or not traced.keeps_type:
        out_carry, _ = jax.eval_shape(plain)  # raises what it raises
        init = jax.tree.map(_promote, init, out_carry)
        traced = _trace(f, init, xs)
    return traced, init


def _trace(f, init, xs) -> Traced | None:
    """Traces one step; None where that raises, or where ``f`` returns no pair."""
    x = jax.tree.map(lambda a: a[0], xs)
    try:
        jaxpr, out = jax.make_jaxpr(f, return_shape=True)(init, x)
    except Exception:  # left to lax.scan, which raises it in its own words
        return None
    if not isinstance(out, tuple | list) or len(out) != 2:
        return None
    structure = jax.tree.structure(init)
    types = zip(jaxpr.in_avals[: structure.num_leaves], jaxpr.out_avals, strict=False)
    keeps_type = structure == jax.tree.structure(out[0]) and all(
        same_type(before, after) for before, after in types
    )
    return Traced(jaxpr, jax.tree.structure(out), keeps_type)


def _scan_traced(traced, init, xs, length, *, reverse=False, remat=False):
    """`deferred_scan` of a traced step."""
    outputs = deferred_scan(
        traced.step(),
        traced.jaxpr.consts,
        init,
        xs,
        length=length,
        reverse=reverse,
        remat=remat,
    )
    # A list, where f gives one.
    return traced.out_structure.unflatten(jax.tree.leaves(outputs))


def why_not_deferrable(step: Any, weights: int = 0) -> str:
    """Why the gradient of a step, a closed jaxpr, is left to autodiff; "" for nothing.

    Of what the step closes over alone, its constants and its first ``weights`` inputs,
    a `jax.custom_vjp` has its backward rule run at every step by `jax.lax.scan`.
    Deferred it would run once, on the sum over all steps, which is another gradient
    where the rule is not linear (one that clips, say).
    """
    if not deferrable(step):
        return NOT_DEFERRABLE
    jaxpr = inlined(step).jaxpr
    in_time = reached(jaxpr, jaxpr.invars[weights:])
    has_rule = any(
        eqn.primitive.name.startswith("custom_vjp_call")
        and in_time.isdisjoint(filter(is_variable, eqn.invars))
        for eqn in jaxpr.eqns
    )
    return RULE_OF_WEIGHTS if has_rule else ""


def _number_of_steps(xs: PyTree, length: Any) -> int | None:
    """``T``; None where it is not known, or where `jax.lax.scan` raises."""
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(xs)}
    try:
        sizes |= set() if length is None else {(int(length),)}
    except Exception:
        return None
    size = sizes.pop() if len(sizes) == 1 else ()
    return size[0] if size and size[0] > 0 else None


def _is_rolled(unroll: Any) -> bool:
    """Whether one step of the loop is one step of ``f``."""
    if isinstance(unroll, bool):
        return not unroll
    return isinstance(unroll, Integral) and unroll == 1


def _promote(leaf: Any, out: jax.ShapeDtypeStruct) -> Any:
    """A weakly typed first carry, such as 0, in the type of the step's carry."""
    if not jax.typeof(leaf).weak_type or jnp.result_type(leaf) == out.dtype:
        return leaf
    return jnp.asarray(leaf, out.dtype)
