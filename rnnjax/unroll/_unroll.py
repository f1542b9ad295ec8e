"""The public door of the engine: runs a `Cell` over one step or a sequence."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._by_hand import hand_schedule, projects_by_hand
from rnnjax._checks import as_arrays, batch_shape_of, check_carry, check_flags
from rnnjax._compat import in_order, target_device
from rnnjax.base import (
    LINEAR_BACKENDS,
    Array,
    Carry,
    Cell,
    Explanation,
    Params,
    PyTree,
    Schedule,
    StepKey,
    StepKeys,
    step_keys,
)
from rnnjax.kernels._recurrence import kernel_scan
from rnnjax.unroll._blocks import fixed_type, scan_blocks
from rnnjax.unroll._cudnn import check_resets_of_cudnn, cudnn_scan
from rnnjax.unroll._fused import fused_scan
from rnnjax.unroll._linear import linear_recurrence
from rnnjax.unroll._masking import canonical_flags, select, zero_where_masked
from rnnjax.unroll._newton import newton_scan
from rnnjax.unroll._scan import scan_closure, why_not_deferrable
from rnnjax.unroll._schedules import choose, layout


def step_cell(
    cell: Cell,
    params: Params,
    carry: Carry | None,
    x: PyTree,
    *,
    reset: Any = None,
    key: StepKey | None = None,
) -> tuple[Carry, PyTree]:
    """One step of a cell, as `RNN.step`."""
    x = as_arrays("x", x)
    batch_shape = batch_shape_of("x", x, cell.event_ndim, time=False)
    check_step_key(key)
    reset = check_flags("reset", reset, batch_shape)
    first = cell.initial_carry(params, batch_shape)
    carry = _given_carry(carry, first)
    if reset is not None:
        carry = select(reset, first, carry)
    u = cell.project(params, x, key)
    carry, y = cell.recur(params["recurrent"], carry, u)
    if cell.readout is not None:
        y = cell.readout(params, y, x, u)
    return carry, y


def unroll_cell(
    cell: Cell,
    schedule: Schedule,
    params: Params,
    carry: Carry | None,
    xs: PyTree,
    *,
    resets: Any = None,
    lengths: Any = None,
    mask: Any = None,
    reverse: bool = False,
    key: Array | StepKeys | None = None,
) -> tuple[Carry, PyTree]:
    """A sequence through a cell, as `RNN.unroll`."""
    xs = as_arrays("xs", xs)
    length, *batch = batch_shape_of("xs", xs, cell.event_ndim, time=True)
    batch_shape = tuple(batch)
    resets, mask = canonical_flags(resets, lengths, mask, length, batch_shape)
    xs = zero_where_masked(mask, xs)
    keys = None if key is None else step_keys(key, length)
    if keys is not None and reverse:  # keys are in the order of processing
        keys = StepKeys(keys.sequence, keys.step[::-1])
    first = cell.initial_carry(params, batch_shape)
    carry = _given_carry(carry, first)
    weights = params["recurrent"]
    asked = schedule.backend
    u = partial(_one_projected, cell, params, xs)
    schedule, block, reasons = choose(schedule, cell, weights, first, length, u)
    if asked == "pallas" != schedule.backend:
        warnings.warn(f"Schedule(backend='pallas'): {reasons[0]}.", stacklevel=3)
    if schedule.backend == "cudnn":
        check_resets_of_cudnn(resets)
        in_front = lengths is not None
        return cudnn_scan(params, carry, xs, mask, reverse=reverse, in_front=in_front)
    fused = schedule.backend == "fused"
    hand = hand_schedule(cell) if fused or schedule.backend == "pallas" else None
    by_hand = fused and projects_by_hand(cell) and cell.readout is None

    def run_block(carry, inputs):
        xs, resets, mask, step = inputs
        block_keys = None if keys is None else StepKeys(keys.sequence, step)
        u = xs if by_hand else _project(cell, params, xs, block_keys)
        if hand is not None and fused:
            w = {"recurrent": weights}
            if by_hand:
                w["input"] = params["input"]
            carry, ys = fused_scan(
                hand,
                layout(cell, first),
                w,
                carry,
                first,
                u,
                resets,
                mask,
                reverse=reverse,
            )
        elif hand is not None:
            carry, ys = kernel_scan(
                hand, weights, carry, first, u, resets, mask, reverse=reverse
            )
        elif length and schedule.backend in (*LINEAR_BACKENDS, "pallas"):
            carry, ys = linear_recurrence(
                cell,
                weights,
                carry,
                first,
                u,
                resets,
                mask,
                reverse=reverse,
                backend=schedule.backend,
            )
        else:
            steps = jax.tree.leaves(xs)[0].shape[0]
            carry, ys = loop(carry, (u, resets, mask), steps)
        if cell.readout is not None:
            ys = jax.vmap(cell.readout, (None, 0, 0, 0))(params, ys, xs, u)
        return carry, zero_where_masked(mask, ys)

    def loop(carry, inputs, steps):
        def recur(carry, inputs):
            u, reset, mask = inputs
            start = carry if reset is None else select(reset, first, carry)
            new_carry, y = cell.recur(weights, start, u)
            return select(mask, new_carry, carry), y

        if schedule.backend == "newton" and steps:
            carry = fixed_type(recur, carry, inputs)
            axes = len(batch_shape)
            last, ys, _ = newton_scan(
                recur, carry, inputs, batch_ndim=axes, reverse=reverse
            )
            return last, ys
        return _recurrence(recur, carry, inputs, steps, schedule, reverse)

    keeps_blocks = schedule.remat not in ("none", "step")
    return scan_blocks(
        jax.checkpoint(run_block) if keeps_blocks else run_block,
        carry,
        (xs, resets, mask, None if keys is None else keys.step),
        block=block or max(length, 1),
        length=length,
        reverse=reverse,
    )


def explain_cell(
    cell: Cell, schedule: Schedule, params: Params, xs: PyTree
) -> Explanation:
    """What `unroll_cell` does for these shapes, as `RNN.explain`."""
    length, *batch_shape = batch_shape_of("xs", xs, cell.event_ndim, time=True)
    first = jax.eval_shape(lambda p: cell.initial_carry(p, tuple(batch_shape)), params)
    weights, u = params["recurrent"], partial(_one_projected, cell, params, xs)
    schedule, _, reasons = choose(schedule, cell, weights, first, length, u)
    name = getattr(cell.init, "__qualname__", "cell").split(".")[0]
    gradient = schedule.gradient
    by_steps = schedule.backend not in LINEAR_BACKENDS and gradient == "deferred"
    obstacle = _why_not_deferrable(cell, params, xs, batch_shape) if by_steps else ""
    if obstacle:
        gradient = "autodiff"
        reasons = (*reasons, f"gradient autodiff in its place: {obstacle}")
    return Explanation(name, schedule.backend, gradient, reasons)


def _why_not_deferrable(cell: Cell, params: Params, xs: PyTree, batch_shape) -> str:
    """`why_not_deferrable` of the cell's step, found by a trace."""
    if not jax.tree.leaves(xs)[0].shape[0]:
        return ""

    def step(params, xs):
        x = jax.tree.map(lambda a: a[0], xs)
        carry = cell.initial_carry(params, tuple(batch_shape))
        return carry, cell.project(params, x)

    carry, u = jax.eval_shape(step, params, xs)
    weights = params["recurrent"]
    traced = jax.make_jaxpr(cell.recur)(weights, carry, u)
    return why_not_deferrable(traced, len(jax.tree.leaves(weights)))


def check_step_key(key: StepKey | None) -> None:
    """Raises unless ``key`` is None or a `StepKey`."""
    if key is not None and not isinstance(key, StepKey):
        raise TypeError(
            f"key: expected a StepKey (or None for evaluation), got "
            f"{type(key).__name__}. Take it from rnnjax.step_keys(key, T)[t]."
        )


def _given_carry(carry: Carry | None, first: Carry) -> Carry:
    """``carry`` checked against the initial one, which None stands for."""
    if carry is None:
        return first
    check_carry(carry, first)
    return jax.tree.map(jnp.asarray, carry)


def _project(cell: Cell, params: Params, xs: PyTree, keys: StepKeys | None) -> PyTree:
    """``cell.project`` of all steps at once: its products have ``T * B`` rows."""
    if keys is None:
        u = jax.vmap(lambda x: cell.project(params, x))(xs)
    else:

        def project(x, step):
            return cell.project(params, x, StepKey(keys.sequence, step))

        u = jax.vmap(project)(xs, keys.step)
    # The TPU compiler puts time between the axes of the batch and of the features, as
    # the product likes it, and each step then gathers its rows: by its own estimate
    # that is half of the loop.
    return in_order(u) if target_device()[0] == "tpu" else u


def _one_projected(cell: Cell, params: Params, xs: PyTree) -> PyTree:
    """The types of the projected input of one step."""
    x = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), xs)
    return jax.eval_shape(lambda params, x: cell.project(params, x), params, x)


def _recurrence(recur, carry, inputs, length: int, schedule: Schedule, reverse: bool):
    """The time loop of one block, under the schedule's gradient and remat."""
    if length:
        carry = fixed_type(recur, carry, inputs)
    remat = schedule.remat == "step"
    if schedule.gradient == "deferred":
        return scan_closure(recur, carry, inputs, length, reverse=reverse, remat=remat)
    step = jax.checkpoint(recur) if remat else recur
    return lax.scan(step, carry, inputs, length, reverse)
