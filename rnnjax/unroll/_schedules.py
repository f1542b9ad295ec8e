"""What ``"auto"`` means: the choice of a schedule by size and device, in the open."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax._by_hand import hand_schedule
from rnnjax._compat import one_device, target_device
from rnnjax.base import LINEAR_BACKENDS, Carry, Cell, Params, PyTree, Schedule
from rnnjax.kernels._choice import how_kernels_run, why_not_by_itself
from rnnjax.unroll._cudnn import why_not_cudnn
from rnnjax.unroll._fused import KEYS
from rnnjax.unroll._layout import Layout
from rnnjax.unroll._linear_scan import choose_backend
from rnnjax.unroll._newton import FULL_UP_TO, MAX_ITERATIONS, why_not_newton

# Measured on 2 cores (AVX2): the deferred gradient was ahead at all sizes but small
# weights with many rows, whose accumulator stays in cache and whose products over all
# steps wait for memory.
_SMALL_WEIGHTS = 2**18
_SMALL_BATCH = 16
# Projected input of a block of steps in the hand-scheduled loop: what is larger is
# evicted before the loop reads it, which costs more than blocks do from four of them.
_BLOCK_BYTES = 4 * 2**20
_WHOLE_BYTES = 4 * _BLOCK_BYTES

# On a GPU every array that a step of the loop keeps is a kernel to launch, of about two
# microseconds. In the time of the five that are spared, an H100 makes the recurrent
# product of a step again, if rows times weights are no more than this.
_SMALL_PRODUCT = 2**29

# How the hand-written schedule lies on CPU, measured on 2 cores (AVX-512) with 2 MiB of
# cache each. Few rows, or a kernel that fills both caches, multiply faster in columns;
# otherwise the transposes around that loop cost more than they gain.
_COLUMNS_BELOW = 16
_COLUMNS_UP_TO, _LARGE_KERNEL = 64, 4 * 2**20
# Two halves of the batch run side by side from this many rows on, fewer if all of the
# kernel stays in the cache of each core. More rows keep all cores busy in one product.
_HALVES_FROM, _HALVES_BELOW = 32, 64
_SMALL_HALVES_FROM, _SMALL_KERNEL = 16, 2 * 2**20


class Choice(NamedTuple):
    """A resolved schedule, and why.

    Attributes:
      schedule: without "auto", its ``block`` aside.
      block: number of steps projected at a time; None for all.
      reasons: one sentence a field.
    """

    schedule: Schedule
    block: int | None
    reasons: tuple[str, ...]


def choose(
    schedule: Schedule,
    cell: Cell,
    weights: Params,
    first: Carry,
    length: int,
    u: Callable[[], PyTree],
) -> Choice:
    """Resolves every "auto" of a schedule.

    Args:
      schedule: as asked for.
      cell: what is run.
      weights: what is constant over the sequence, mostly ``params["recurrent"]``.
      first: the initial carry of the batch.
      length: number of steps.
      u: returns the types of the projected input of one step.

    Raises:
      ValueError: a backend was asked for that cannot run here.
    """
    backend, why = _backend(schedule, cell, weights, first, length, u)
    reasons = [f"backend {backend}: {why}"]
    if backend == "fused":
        gradient, why = "deferred", "part of the hand-written schedule"
    elif backend == "pallas" and cell.linear is None:
        gradient = "deferred"
        why = "part of the kernels: first derivatives, in reverse mode alone"
    elif backend in (*LINEAR_BACKENDS, "pallas"):
        gradient, why = "deferred", "a linear recurrence too, in the same backend"
    elif backend == "newton":
        gradient, why = "deferred", "taken at the solution, not of the iterations"
    elif backend == "cudnn":
        gradient, why = "deferred", "its own, of first order, in reverse mode alone"
    elif schedule.gradient == "auto":
        gradient, why = _gradient(weights, _rows(first))
    else:
        gradient, why = schedule.gradient, "asked for"
    reasons.append(f"gradient {gradient}: {why}")
    block = _block(schedule, backend, cell, first, length)
    hoisted = f"blocks of {block} steps" if block else "all steps at once"
    remat, why = schedule.remat, ""
    if schedule.gradient == "auto" and (backend, remat) == ("scan", "none"):
        remat, why = _remat(weights, _rows(first))
    reasons += [f"input products: hoisted, {hoisted}", f"remat {remat}{why}"]
    platform, _ = target_device()
    if platform != "cpu" and "auto" in (schedule.gradient, schedule.backend):
        reasons.append(
            f"auto rests on estimates of compilers alone: nothing was measured on a "
            f"{platform}"
        )
    return Choice(Schedule(gradient, backend, remat), block, tuple(reasons))


def _backend(schedule, cell, weights, first, length, u) -> tuple[str, str]:
    if schedule.backend == "pallas":
        return _kernels(schedule, cell, weights, first, length, u)
    if schedule.backend in LINEAR_BACKENDS or (
        schedule.backend == "auto" and cell.linear is not None
    ):
        return _linear_backend(schedule, cell, weights, u)
    if schedule.backend == "newton":
        return "newton", _newton(schedule, first)
    if schedule.backend == "cudnn":
        return "cudnn", _cudnn(schedule, cell, weights, first)
    obstacle = _why_not_fused(schedule, cell, weights, first)
    if schedule.backend == "fused" and obstacle:
        raise ValueError(
            f"Schedule(backend='fused'): expected a recurrence that a hand-written "
            f"schedule can run, but {obstacle}. Leave backend at 'auto', or take "
            f"'scan'."
        )
    if schedule.backend != "auto":
        return schedule.backend, "asked for"
    platform, kind = target_device()
    if platform == "tpu":
        no_kernel, how = _kernels_by_themselves(schedule, cell, weights, first, length)
        if not no_kernel:
            return "pallas", f"a passed run on a {kind} is on record; {how}"
        if obstacle:
            return "scan", "; ".join(dict.fromkeys((obstacle, no_kernel)))
        return _estimated(first), f"{_ESTIMATED}; {no_kernel}"
    if obstacle:
        return "scan", obstacle
    if platform != "cpu":
        return "scan", f"the hand-written schedule is laid out for CPU, not {platform}"
    columns, _, parts, _ = layout(cell, first)
    return "fused", (
        f"a hand-written schedule of this cell, laid out in "
        f"{'columns' if columns else 'rows'}, "
        f"{'the batch in one' if parts == 1 else 'halves of the batch side by side'}"
    )


_ESTIMATED = "by the cycles that the compiler estimates for a v5e"


def _estimated(first) -> str:
    """The loop for TPUs, which nobody has measured: by the compiler's estimates.

    In its cycles for v5e the hand-written schedule takes 0.45 to 0.95 of the general
    one for the simple network and the GRU, and 0.96 to 1.05 for the LSTM.
    """
    return "fused" if len(jax.tree.leaves(first)) == 1 else "scan"


def _kernels_by_themselves(schedule, cell, weights, first, length) -> tuple[str, str]:
    """What keeps "auto" from taking the kernels, "" for nothing, and how they run."""
    obstacle = why_not_by_itself() or _why_not_by_hand(schedule, cell, weights)
    if obstacle:
        return obstacle, ""
    runs = how_kernels_run(hand_schedule(cell), first, length)
    return runs.obstacle or runs.too_large, runs.how


def _linear_backend(schedule, cell, weights, u) -> tuple[str, str]:
    obstacle = _why_not_linear(schedule, cell)
    if schedule.backend == "auto":
        if obstacle:
            return "scan", obstacle
        backend, why = choose_backend(partial(_linear_operands, cell, weights, u))
        return backend, f"the cell is linear in its carry; {why}"
    if obstacle:
        raise ValueError(
            f"Schedule(backend={schedule.backend!r}): expected a recurrence that "
            f"linear_scan can run, but {obstacle}. Leave backend at 'auto', or take "
            f"'scan'."
        )
    return schedule.backend, "asked for"


def _linear_operands(cell, weights, u) -> Iterator[tuple[Any, Any]]:
    """The types of ``a`` and ``b`` of each leaf of the carry, in one step."""
    a, b = jax.eval_shape(cell.linear, weights, u())
    return zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)


def _why_not_linear(schedule, cell) -> str:
    """What keeps `linear_scan` from running the cell; "" for nothing."""
    if cell.linear is None:
        return "the cell does not say by Cell.linear that it is linear in its carry"
    if schedule.gradient == "autodiff":
        return "gradient 'autodiff' differentiates the cell's own step"
    if schedule.remat == "step":
        return "remat 'step' recomputes the cell's own step"
    return ""


def _newton(schedule, first) -> str:
    """What Newton's method does; raises where it cannot run."""
    obstacle = why_not_newton(first)
    if schedule.gradient == "autodiff":
        obstacle = "gradient 'autodiff' differentiates the loop"
    if schedule.remat == "step":
        obstacle = "remat 'step' recomputes the steps of a loop"
    if obstacle:
        raise ValueError(
            f"Schedule(backend='newton'): expected a recurrence that Newton's method "
            f"can run, but {obstacle}. Leave that field at its default, or take "
            f"backend 'scan'."
        )
    return (
        f"asked for; all steps at once, up to {MAX_ITERATIONS} iterations, with the "
        f"full Jacobians of carries of up to {FULL_UP_TO} numbers and the diagonals of "
        f"larger ones; without convergence the loop runs after all (newton_scan "
        f"returns the flag)"
    )


def _kernels(schedule, cell, weights, first, length, u) -> tuple[str, str]:
    """The kernels and how they run, or what does where they would not fit."""
    if cell.linear is None:
        obstacle = _why_not_by_hand(schedule, cell, weights)
    else:
        obstacle = _why_not_linear(schedule, cell)
    runs = how_kernels_run(hand_schedule(cell), first, length)
    obstacle = obstacle or runs.obstacle
    if obstacle:
        raise ValueError(
            f"Schedule(backend='pallas'): expected a recurrence that the kernels can "
            f"run, but {obstacle}. Leave backend at 'auto', or take 'scan'."
        )
    if not runs.too_large:
        return "pallas", f"asked for; {runs.how}"
    instead = Schedule(schedule.gradient, "scan", schedule.remat, schedule.block)
    backend, _ = _backend(instead, cell, weights, first, length, u)
    return backend, f"in place of the kernels, for {runs.too_large}"


def _cudnn(schedule, cell, weights, first) -> str:
    """That cuDNN runs; raises where it cannot."""
    obstacle = why_not_cudnn(schedule, cell, weights, first)
    if obstacle:
        raise ValueError(
            f"Schedule(backend='cudnn'): expected an LSTM that cuDNN can run, but "
            f"{obstacle}. Leave that field at its default, or take backend 'scan'."
        )
    return "asked for; all of time in one call, differentiable in reverse mode alone"


def _why_not_fused(schedule, cell, weights, first) -> str:
    """What keeps the hand-written schedule from running; "" for nothing."""
    obstacle = _why_not_by_hand(schedule, cell, weights)
    if obstacle:
        return obstacle
    leaves = jax.tree.leaves(first)
    dtypes = {jnp.dtype(leaf.dtype).name for leaf in leaves}
    if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
        return f"the hand-written schedule is for float32, not {sorted(dtypes)}"
    return ""


def _why_not_by_hand(schedule, cell, weights) -> str:
    """What keeps anything written for the cell's hand schedule from running."""
    if hand_schedule(cell) is None:
        return "the cell has no hand-written schedule"
    if schedule.gradient == "autodiff":
        return "gradient 'autodiff' differentiates the cell's own step"
    if schedule.remat == "step":
        return "remat 'step' recomputes the cell's own step"
    unknown = set(weights) - KEYS
    if unknown:
        return f"the hand-written schedule knows no parameters {sorted(unknown)}"
    mesh = jax.sharding.get_abstract_mesh()
    if jax.sharding.AxisType.Explicit in mesh.axis_types:
        return "the hand-written schedule knows no explicit sharding"
    return ""


def _block(schedule, backend, cell, first, length) -> int | None:
    if schedule.block is not None:
        return schedule.block
    if schedule.remat == "sqrt":
        return max(1, math.isqrt(max(length - 1, 0)) + 1)
    if isinstance(schedule.remat, int):
        return schedule.remat
    h = jax.tree.leaves(first)[:1]
    cached = backend == "fused" and target_device()[0] == "cpu"
    if not cached or not length or not h[0].size:
        return None
    (h,) = h
    gates = sum(hand_schedule(cell).gates)  # type: ignore[union-attr]
    size = gates * h.size * h.dtype.itemsize
    if length * size < _WHOLE_BYTES:
        return None
    return _even_block(length, max(1, round(_BLOCK_BYTES / size)))


def _even_block(length: int, ideal: int) -> int | None:
    """A block of about ``ideal`` steps; one that divides ``length`` if there is one.

    What is left over is a shorter block, and a second program to compile.
    """
    if length < 1.5 * ideal:
        return None
    near = range(max(1, ideal // 2), min(length, 2 * ideal) + 1)
    even = [block for block in near if length % block == 0]
    return min(even, key=lambda block: abs(block - ideal), default=ideal)


def layout(cell: Cell, first: Carry) -> Layout:
    """How the hand-written schedule of a cell lays a batch out."""
    single, cpu = one_device(), target_device()[0] == "cpu"
    if not single or not cpu:
        # A TPU would wait for every read and write of an array that changes.
        return Layout(columns=False, merged=single, parts=1, in_place=cpu)
    rows, h = _rows(first), jax.tree.leaves(first)[0]
    gates = sum(hand_schedule(cell).gates)  # type: ignore[union-attr]
    kernel = gates * h.shape[-1] ** 2 * h.dtype.itemsize
    large, small = kernel >= _LARGE_KERNEL, kernel <= _SMALL_KERNEL
    columns = rows < _COLUMNS_BELOW or (large and rows <= _COLUMNS_UP_TO)
    fewest = _SMALL_HALVES_FROM if small else _HALVES_FROM
    most = _COLUMNS_UP_TO if columns else _HALVES_BELOW - 1
    parts = 2 if fewest <= rows <= most else 1
    return Layout(columns, merged=True, parts=parts, in_place=True)


def _rows(carry: Carry) -> int:
    """Number of rows that one step computes, from the first leaf of its carry."""
    leaves = jax.tree.leaves(carry)
    return math.prod(leaves[0].shape[:-1]) if leaves else 1


def _remat(weights: Any, batch: int) -> tuple[str, str]:
    """Whether "none" keeps carries alone: on a GPU, where steps are short."""
    product = batch * sum(leaf.size for leaf in jax.tree.leaves(weights))
    if target_device()[0] != "gpu" or product > _SMALL_PRODUCT:
        return "none", ""
    return "step", (
        ": on a GPU what a step keeps is a kernel each; the inside of all steps is "
        "formed at once from their carries"
    )


def _gradient(weights: Any, batch: int) -> tuple[str, str]:
    size = sum(
        np.prod(leaf.shape) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(weights)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    )
    if target_device()[0] != "cpu":
        return "deferred", "the weight gradient is one product outside the loop"
    given = f"{size / 2**20:.2f} MiB of recurrent weights and a batch of {batch}"
    if size >= _SMALL_WEIGHTS or batch <= _SMALL_BATCH:
        return "deferred", (
            f"{given}: on CPU one product over all steps is faster than their "
            f"accumulator in the loop"
        )
    return "autodiff", (
        f"{given}: on CPU deferral pays from {_SMALL_WEIGHTS / 2**20:.2f} MiB, or up "
        f"to a batch of {_SMALL_BATCH}"
    )
