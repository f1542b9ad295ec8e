"""`newton_scan`: a nonlinear recurrence, parallel in time, by Newton's method.

The carries of all steps are the unknowns of ``T`` equations ``s_t = f(s_{t-1}, x_t)``.
At a guess of them, residuals and slopes are computed for all steps at once,

``r_t = f(s_{t-1}, x_t) - s_t``, ``J_t = df/ds (s_{t-1}, x_t)``

and what Newton's method adds to the guess is the solution of a linear recurrence,

``d_t = J_t d_{t-1} + r_t``, ``s_t <- s_t + d_t``

which `linear_scan` runs in parallel. The equations are solved where ``r = 0``, whatever
stands for ``J``: its diagonal makes the recurrence cheap, a factor below 1 tames it.
And step ``i`` is exact after ``i`` iterations, so that ``T`` are always enough; what
makes the method worth its price is that recurrences which forget need a few. A GRU of
16 units trained to hold bits, over 10,000 steps, took 108, and about 40 since changes
are bounded by the size of what ``f`` gives.

The derivative is that of the solution, not of the iterations. By the implicit function
theorem the tangents obey the recurrence linearised at the solution,

``ds_t = J_t ds_{t-1} + (df/dw dw + df/dx dx_t)``

with the exact ``J``. That is the tangent program of `deferred_scan`, which has the
carries from a loop, and one `jax.custom_jvp` states it. With full Jacobians it is a
linear recurrence with matrices, parallel in time as well; otherwise it is the loop over
products ``J_t ds_{t-1}``, because a diagonal would give another gradient.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import zero_from_primal

from rnnjax._checks import describe, positive
from rnnjax._compat import deferrable
from rnnjax.base import Array, Carry, PyTree
from rnnjax.unroll._deferred import Step, fill_float0, floats, tangent_program
from rnnjax.unroll._linear_backends import before
from rnnjax.unroll._linear_scan import (
    BACKENDS,
    choose_backend,
    linear_scan,
    tangent_recurrence,
)
from rnnjax.unroll._scan import NOT_DEFERRABLE, trace
from rnnjax.unroll._vectors import Vectors, jacobians

JACOBIANS = ("auto", "diagonal", "full")
FULL_UP_TO = 32
MAX_ITERATIONS = 100
# Rounding leaves a residual of a few units in the last place.
_TOLERANCE_IN_EPS = 16


class NewtonInfo(NamedTuple):
    """How Newton's method ended; scalars, over all examples together.

    Attributes:
      converged: bool, whether the residual came under the tolerance.
      iterations: int32, how many linear recurrences were solved.
      residual: float, the largest ``|s_t - f_t| / max(1, |f_t|)`` that was left, with
        ``f_t = f(s_{t-1}, x_t)``. It bears no gradient.
    """

    converged: Array
    iterations: Array
    residual: Array


def newton_scan(
    f: Callable[[Carry, PyTree], tuple[Carry, PyTree]],
    init: Carry,
    xs: PyTree,
    *,
    jacobian: str = "auto",
    batch_ndim: int | None = None,
    damping: float = 0.0,
    tolerance: float | None = None,
    max_iterations: int = MAX_ITERATIONS,
    fallback: bool = True,
    reverse: bool = False,
) -> tuple[Carry, PyTree, NewtonInfo]:
    """`jax.lax.scan` by Newton's method on all steps at once.

    A few iterations, each parallel in time, take the place of ``T`` steps. Where a step
    forgets (its Jacobians shrink what they multiply, as those of trained gated cells
    mostly do) few are needed; chaotic recurrences need up to ``T``, and then the loop
    is better. One iteration costs as much arithmetic as ``n`` loops, with ``n`` floats
    of carry an example, so that this is for devices with more arithmetic than one loop
    can use, and for small ``n``. On a CPU with few cores the loop is faster.

    Derivatives are exact in every mode, of what ``f`` closes over too, and cost no
    iteration: they are taken at the solution. With full Jacobians they are parallel in
    time, with diagonal ones they are those of `scan`, a loop.

    Args:
      f: one step, ``(carry, x) -> (carry, y)``. Leaves of the carry are real floats
        ``[*batch, ...]``. What happens to one example must not depend on others: the
        gradient with full Jacobians relies on that. (Where it does, ``batch_ndim=0``
        makes all of the batch one example.)
      init: the first carry.
      xs: leaves ``[T, ...]``.
      jacobian: "full" takes matrices ``n x n``: fewest iterations; ``T B n^2`` numbers
        are kept, and several times that while they are formed. "diagonal"
        (quasi-Newton) keeps ``T B n``; needs more iterations, and many where units
        depend on each other more than on themselves. "auto" is "full" up to ``n = 32``.
      batch_ndim: the number of batch axes, which all leaves of the carry lead with;
        None is all axes but the last, of the leaf of the lowest rank.
      damping: from 0 to 1; Jacobians are multiplied by ``1 - damping``. A fifth may
        help where the residual grows; it makes what converges without it slower, and
        at 1 an iteration is one step of ``f``.
      tolerance: of `NewtonInfo.residual`; None is 16 units of the carry's precision.
        The error of the carries is larger than the residual by as much as the
        recurrence amplifies what is added to its carry.
      max_iterations: after these it has not converged.
      fallback: run the loop where it has not converged. Otherwise the results are
        those of the last iteration, and so the gradients are not exact. Under
        `jax.vmap` loop and iterations both run.
      reverse: from the last step to the first.

    Returns:
      The last carry, the outputs stacked along a new first axis, and `NewtonInfo`.

    Raises:
      TypeError: a leaf of the carry is no real float.
      ValueError: an argument has none of its values; ``f`` calls back into Python.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> w = jnp.eye(2) / 2
      >>> step = lambda h, x: (jnp.tanh(h @ w + x),) * 2
      >>> h, hs, info = rnnjax.newton_scan(step, jnp.zeros(2), jnp.ones((1000, 2)))
      >>> hs.shape, bool(info.converged), int(info.iterations) < 10
      ((1000, 2), True, True)

    Reference: Lim et al., "Parallelizing Non-Linear Sequential Models over the Sequence
    Length", ICLR 2024 (full); Gonzalez et al., "Towards Scalable and Stable
    Parallelization of Nonlinear RNNs", NeurIPS 2024 (diagonal, damping; theirs solves
    a damped least-squares problem by a Kalman smoother where this scales Jacobians).
    """
    if jacobian not in JACOBIANS:
        raise ValueError(f"jacobian: expected one of {JACOBIANS}, got {jacobian!r}.")
    xs = jax.tree.map(jnp.asarray, xs)
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(xs)}
    if len(lengths) != 1 or () in lengths:
        raise ValueError(
            f"xs: expected leaves that share a leading time axis, got "
            f"{[describe(leaf) for leaf in jax.tree.leaves(xs)]}."
        )
    ((length,),) = lengths
    init = jax.tree.map(jnp.asarray, init)
    plain = partial(lax.scan, f, init, xs, length, reverse)
    if not length:
        info = NewtonInfo(jnp.array(True), jnp.int32(0), jnp.float32(0))
        return *plain(), info
    traced, init = trace(plain, f, init, xs)
    if traced is None or not deferrable(traced.jaxpr):
        raise ValueError(
            f"f: expected a step that can run for all steps at once, but "
            f"{NOT_DEFERRABLE}. Use rnnjax.scan, or backend 'scan'."
        )
    ndim = _checked_batch_ndim(init, batch_ndim)
    full = has_full_jacobian(init, ndim) if jacobian == "auto" else jacobian == "full"
    options = _Options(
        step=traced.step(),
        reverse=bool(reverse),
        batch_ndim=ndim,
        full=full,
        damping=_checked("damping", damping, 0, 1),
        tolerance=_checked("tolerance", _default(tolerance, init), 0, math.inf),
        max_iterations=positive("max_iterations", max_iterations),
        fallback=bool(fallback),
    )
    last, ys, info = _newton(options, traced.jaxpr.consts, init, xs)
    leaves = jax.tree.leaves((last, ys))
    return *traced.out_structure.unflatten(leaves), info


class _Options(NamedTuple):
    """All that is static."""

    step: Step
    reverse: bool
    batch_ndim: int
    full: bool
    damping: float
    tolerance: float
    max_iterations: int
    fallback: bool


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _newton(options: _Options, w, init, xs):
    length = len(jax.tree.leaves(xs)[0])
    vectors = Vectors.of(init, options.batch_ndim)
    states, info = _solve(options, vectors, w, init, xs)

    def in_parallel():
        first = vectors.pack(init)
        entering = vectors.unpack(before(states, first, options.reverse))
        carries, ys = jax.vmap(options.step, (None, 0, 0))(w, entering, xs)
        last = jax.tree.map(lambda a: a[0 if options.reverse else -1], carries)
        return last, ys

    def in_turn():
        step = partial(options.step, w)
        return lax.scan(step, init, xs, length, options.reverse)

    if not options.fallback:
        return *in_parallel(), info
    return *lax.cond(info.converged, in_parallel, in_turn), info


@_newton.defjvp
def _newton_jvp(options, primals, tangents):
    def step_keeping_carry(w, carry, x):
        new_carry, y = options.step(w, carry, x)
        return new_carry, (carry, y)

    # By the same rule, so that this one may be differentiated again.
    keeping = options._replace(step=step_keeping_carry)
    last, (carries, ys), info = _newton(keeping, *primals)
    w, init, xs = primals
    dw, dinit, dxs = tangents
    known, added = (w, carries, xs), (dw, dxs)
    dinit = jax.tree.leaves(dinit)
    if options.full:
        dlast, dys = _tangents_in_parallel(options, known, added, dinit)
    else:
        length = len(jax.tree.leaves(xs)[0])
        dlast, dys = tangent_program(
            options.step, length, options.reverse, known, added, dinit
        )
    dinfo = jax.tree.map(zero_from_primal, info)
    return (last, ys, info), (fill_float0(last, dlast), fill_float0(ys, dys), dinfo)


def _solve(options, vectors, w, init, xs):
    """The carries that leave each step, as vectors ``[T, *batch, n]``, and the info."""
    first, reverse = vectors.pack(init), options.reverse

    def step(entering):
        carries, _ = jax.vmap(options.step, (None, 0, 0))(
            w, vectors.unpack(entering), xs
        )
        return vectors.pack(carries)

    def evaluate(states, iterations):
        entering = before(states, first, reverse)
        reached, slope = jax.linearize(step, entering)
        slopes = jacobians(slope, entering, options.full)
        error = jnp.abs(states - reached) / jnp.maximum(1, jnp.abs(reached))
        residual = jnp.max(error, initial=0)
        converged = residual <= options.tolerance  # NaN is not
        return states, reached, slopes, NewtonInfo(converged, iterations, residual)

    def go_on(state):
        info = state[-1]
        return ~info.converged & (info.iterations < options.max_iterations)

    def iterate(state):
        states, reached, slopes, info = state
        slopes = (1 - options.damping) * slopes
        moved = states + linear_scan(slopes, reached - states, reverse=reverse)[1]
        # Where the linear recurrence blows up, a step of f does not, so that no carry
        # is moved further from what f gives than that is large. NaN is not moved.
        room = jnp.maximum(1, jnp.abs(reached))
        moved = jnp.where(jnp.isnan(moved), reached, moved)
        states = jnp.clip(moved, reached - room, reached + room)
        return evaluate(states, info.iterations + 1)

    length = len(jax.tree.leaves(xs)[0])
    guess = jnp.broadcast_to(first, (length, *first.shape))
    states, *_, info = lax.while_loop(
        go_on, iterate, evaluate(guess, jnp.zeros((), jnp.int32))
    )
    return states, info


def _tangents_in_parallel(options, known, added, dinit):
    """Tangents of the last carry and of ys, as lists of their float leaves."""
    w, carries, xs = known
    dw, dxs = added
    one = jax.tree.map(lambda a: a[0], carries)
    vectors = Vectors.of(one, options.batch_ndim)
    entering = vectors.pack(carries)
    over_time = jax.vmap(options.step, (None, 0, 0))

    def leaving(w, entering, xs):
        return vectors.pack(over_time(w, vectors.unpack(entering), xs)[0])

    def outputs(w, entering, xs):
        return floats(over_time(w, vectors.unpack(entering), xs)[1])

    _, db = jax.jvp(lambda w, xs: leaving(w, entering, xs), (w, xs), (dw, dxs))
    _, slope = jax.linearize(lambda entering: leaving(w, entering, xs), entering)
    slopes = jacobians(slope, entering, full=True)
    dfirst = vectors.pack(jax.tree.unflatten(jax.tree.structure(one), dinit))
    solve = BACKENDS[choose_backend(lambda: [(slopes, db)])[0]]
    dstates = tangent_recurrence(solve, options.reverse, slopes, db, dfirst)
    dentering = before(dstates, dfirst, options.reverse)
    _, dys = jax.jvp(outputs, (w, entering, xs), (dw, dentering, dxs))
    dlast = vectors.unpack(dstates[0 if options.reverse else -1])
    return jax.tree.leaves(dlast), dys


def _default(tolerance: float | None, init: Carry) -> float:
    if tolerance is not None:
        return tolerance
    coarsest = max(jnp.finfo(leaf.dtype).eps for leaf in jax.tree.leaves(init))
    return _TOLERANCE_IN_EPS * float(coarsest)


def why_not_newton(carry: Carry) -> str:
    """What in a carry keeps Newton's method from running; "" for nothing."""
    for path, leaf in jax.tree.leaves_with_path(carry):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            where = jax.tree_util.keystr(path)
            return f"carry{where} is {describe(leaf)}, not real floating point"
    return "" if jax.tree.leaves(carry) else "there is no carry"


def _checked_batch_ndim(init: Carry, batch_ndim: int | None) -> int:
    if found := why_not_newton(init):
        raise TypeError(
            f"init: expected real floating point leaves, but {found}. Use rnnjax.scan."
        )
    leaves = jax.tree.leaves(init)
    lowest = min(leaf.ndim for leaf in leaves)
    axes = max(lowest - 1, 0) if batch_ndim is None else operator.index(batch_ndim)
    shared = {leaf.shape[:axes] for leaf in leaves}
    if not 0 <= axes <= lowest or len(shared) > 1:
        raise ValueError(
            f"batch_ndim: expected a number of leading axes that all leaves of init "
            f"share, got {axes} for {[describe(leaf) for leaf in leaves]}."
        )
    return axes


def has_full_jacobian(carry: Carry, batch_ndim: int) -> bool:
    """Whether "auto" is "full" for a carry of that size."""
    shapes = [leaf.shape[batch_ndim:] for leaf in jax.tree.leaves(carry)]
    return sum(map(math.prod, shapes)) <= FULL_UP_TO


def _checked(name: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ValueError(f"{name}: expected {low} to {high}, got {value}.")
    return float(value)
