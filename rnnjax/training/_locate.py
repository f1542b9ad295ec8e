"""The operation, and the step of the time loop, where NaN or Inf began."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax._compat import (
    bind,
    inner_jaxprs,
    is_variable,
    jaxpr_as_fun,
    scan_sizes,
    where_written,
)
from rnnjax.base import Array, Carry, Params, PyTree
from rnnjax.training._step import Loss


def locate_nonfinite(
    loss: Loss, params: Params, carry: Carry, batch: PyTree, key: Array
) -> str:
    """Says where the first NaN or Inf of a training step comes from.

    The loss, then its gradient, are run operation by operation on the host, loops step
    by step, until one makes NaN or Inf of finite numbers. Slow: for a step that is
    known to go wrong.

    Args:
      loss: what `train_step` takes.
      params: the parameters before the step.
      carry: the carry before the step.
      batch: of the step.
      key: of the step.

    Returns:
      A few lines: input or operation, place in the source, steps of the loops around
      it, first entry. An Inf that is made on purpose and masked later is found, too.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax.training as training
      >>> def loss(params, carry, batch, key):
      ...     def step(h, x):
      ...         return h + jnp.log(x), None
      ...     h, _ = jax.lax.scan(step, params, batch)
      ...     return h, (carry, {})
      >>> batch = jnp.asarray([1.0, 2.0, 0.0, 3.0])
      >>> print(training.locate_nonfinite(loss, 1.0, None, batch, jax.random.key(0)))
      Began in the loss, in `log` (... step), in step 2 of 4 of a loop.
      Its result float32[] is -inf.
    """
    trees = {"params": params, "carry": carry, "batch": batch}
    for path, leaf in jax.tree_util.tree_leaves_with_path(trees):
        if _is_bad(leaf):
            name = "".join(str(entry) for entry in path[1:])
            return f"Given: {path[0].key}{name}, {_first_entry(leaf)}."

    def value(params):
        return loss(params, carry, batch, key)[0]

    for name, function in (("loss", value), ("gradient", jax.grad(value))):
        closed = jax.make_jaxpr(function)(params)
        try:
            _run(closed, jax.tree.leaves(params), ())
        except _Found as found:
            return f"Began in the {name}, {found}"
    return "Not found again: the loss and its gradient are finite, one by one."


class _Found(Exception):
    """Ends the search; its text says where."""


def _run(closed: Any, inputs: Sequence[Any], loops: tuple[str, ...]) -> list[Any]:
    """The outputs of a jaxpr, or `_Found`."""
    jaxpr = closed.jaxpr
    values = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    values.update(zip(jaxpr.invars, inputs, strict=True))

    def value(atom):
        return values[atom] if is_variable(atom) else atom.val

    for eqn in jaxpr.eqns:
        given = [value(atom) for atom in eqn.invars]
        outputs = bind(eqn, given)
        if any(map(_is_bad, outputs)) and not any(map(_is_bad, given)):
            _descend(eqn, given, loops)
            bad = next(leaf for leaf in outputs if _is_bad(leaf))
            inside = "".join(f", in {loop}" for loop in loops)
            raise _Found(
                f"in `{eqn.primitive.name}` ({where_written(eqn)}){inside}.\n"
                f"Its result {_first_entry(bad)}."
            )
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _descend(eqn: Any, given: list[Any], loops: tuple[str, ...]) -> None:
    """Looks inside an operation that has an inside."""
    if eqn.primitive.name == "scan":
        return _descend_scan(eqn.params, given, loops)
    if eqn.primitive.name == "while":
        return _descend_while(eqn.params, given, loops)
    if eqn.primitive.name == "cond":
        index, *given = given
        _run(eqn.params["branches"][int(index)], given, loops)
        return None
    inner = inner_jaxprs(eqn)
    if len(inner) == 1 and len(inner[0].jaxpr.invars) == len(given):
        _run(inner[0], given, loops)
    return None


def _descend_scan(params: Any, given: list[Any], loops: tuple[str, ...]) -> None:
    first, carried = scan_sizes(params)
    last = first + carried
    consts, carry, xs = given[:first], given[first:last], given[last:]
    length = params["length"]
    times = range(length)
    for t in reversed(times) if params["reverse"] else times:
        inputs = [*consts, *carry, *(x[t] for x in xs)]
        outputs = jaxpr_as_fun(params["jaxpr"])(*inputs)
        if any(map(_is_bad, outputs)) and not any(map(_is_bad, inputs)):
            _run(params["jaxpr"], inputs, (f"step {t} of {length} of a loop", *loops))
        carry = outputs[: len(carry)]


def _descend_while(params: Any, given: list[Any], loops: tuple[str, ...]) -> None:
    first = params["cond_nconsts"]
    last = first + params["body_nconsts"]
    of_cond, consts, carry = given[:first], given[first:last], given[last:]
    count = 0
    while bool(jaxpr_as_fun(params["cond_jaxpr"])(*of_cond, *carry)[0]):
        inputs = [*consts, *carry]
        carry = jaxpr_as_fun(params["body_jaxpr"])(*inputs)
        if any(map(_is_bad, carry)) and not any(map(_is_bad, inputs)):
            _run(params["body_jaxpr"], inputs, (f"turn {count} of a loop", *loops))
        count += 1


def _is_bad(leaf: Any) -> bool:
    inexact = jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    return bool(inexact) and not bool(jnp.isfinite(leaf).all())


def _first_entry(leaf: Any) -> str:
    """Type and shape, and the first entry that is not finite."""
    entries = np.asarray(leaf)
    kind = f"{entries.dtype}[{','.join(map(str, entries.shape))}]"
    index = np.argwhere(~np.isfinite(entries.astype(np.complex128)))[0]
    at = f" at {index.tolist()}" if entries.ndim else ""
    return f"{kind} is {entries[tuple(index)]}{at}"
