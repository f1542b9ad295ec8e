"""Recurrences parallel in time: linear ones, and a trained GRU by Newton's method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax

from .. import _tasks
from .._compare import Case
from .._problem import Work
from .._suite import Plot, Suite, Summary, fastest, row_of
from .._tasks import Absent, Program, Task
from . import _flip_flop
from .unroll import NO_SLOWER, Direction

OURS = "rnnjax.linear_scan"
LOOP, ASSOCIATIVE = "lax.scan", "lax.associative_scan"
BACKENDS = ("sequential", "chunked", "associative")


@dataclass(frozen=True)
class Parallel(Suite):
    """h_t = a_t h_{t-1} + b_t, forward and the gradient of mean(hs**2) in a, b and h_0.

    Ratios are times of a contender over those of rnnjax.linear_scan with the backend
    that it chooses itself (of lax.scan, where there is no linear_scan): above 1, the
    reference is faster. The trained GRU holds bits (3 of them), and the reference of
    its rows is lax.scan: newton_scan takes several iterations, each with the arithmetic
    of as many loops as there are units, so that it is for devices that one loop leaves
    idle. On a CPU of few cores the loop is far faster.
    """

    steps: tuple[int, ...] = (1_024, 16_384, 131_072)
    """T."""

    batches: tuple[int, ...] = (1, 8)
    """B."""

    channels: tuple[int, ...] = (64, 512)
    """Channels of the diagonal recurrence."""

    directions: tuple[Direction, ...] = ("forward", "value_and_grad")
    """Which passes."""

    newton_steps: tuple[int, ...] = (1_000, 10_000)
    """T of the trained GRU."""

    newton_hidden: int = 16
    """H of the trained GRU."""

    newton_updates: int = 400
    """Steps of its training, before anything is timed."""

    name: ClassVar[str] = "parallel"
    plots: ClassVar = (
        Plot("dots", ("channels", "B", "direction"), "T", "ratio_of_minima"),
    )

    def tiny(self):
        return dataclasses.replace(
            self,
            rounds=2,
            steps=(16,),
            batches=(2,),
            channels=(4,),
            newton_steps=(16,),
            newton_hidden=4,
            newton_updates=2,
        )

    def cases(self) -> Iterator[Case]:
        for steps in self.steps:
            for batch in self.batches:
                for channels in self.channels:
                    given = _given(steps, batch, channels)
                    for direction in self.directions:
                        yield self._case(direction, *given)
        if self.newton_steps:
            yield from self._newton_cases()

    def _newton_cases(self) -> Iterator[Case]:
        trained = _flip_flop.trained_gru(self.newton_hidden, self.newton_updates)
        for steps in self.newton_steps:
            xs, _ = _flip_flop.sequence(steps, 1, seed=99)
            for direction in self.directions:
                labels = {
                    "recurrence": "trained GRU",
                    "T": steps,
                    "B": 1,
                    "channels": self.newton_hidden,
                    "direction": direction,
                }
                tasks = {
                    name: partial(_newton_task, direction, trained, xs, jacobian)
                    for name, jacobian in NEWTON.items()
                }
                yield self.compare(labels, tasks)

    def _case(self, direction: str, a, b, h0) -> Case:
        steps, batch, channels = a.shape
        size = {"T": steps, "B": batch, "channels": channels, "direction": direction}
        passes = 3 if direction == "value_and_grad" else 1
        work = Work(2.0 * a.size * passes, 4.0 * 3 * a.size * passes, steps * batch)
        tasks = {
            name: partial(_task, direction, scan, a, b, h0)
            for name, scan in SCANS.items()
        }
        return self.compare(size, tasks, work)

    def summary(self, cases: list[Case]) -> Summary:
        remarks = []
        for direction in self.directions:
            ratios = [
                best["ratio_of_minima"]
                for case in cases
                if case.labels["direction"] == direction
                and "min_seconds" in row_of(case, OURS)
                and (best := fastest(case, {LOOP, ASSOCIATIVE}))
            ]
            if ratios:
                held = sum(1 / ratio <= NO_SLOWER for ratio in ratios)
                remarks.append(
                    f"{direction}: {OURS} is no slower (at most {NO_SLOWER} of the "
                    f"time) than {LOOP} and {ASSOCIATIVE} in {held} of {len(ratios)}."
                )
        return Summary(remarks=remarks)


def _given(steps: int, batch: int, channels: int):
    """Decays between 0.9 and 1, normal inputs, a normal first state."""
    draw = np.random.default_rng(0)
    size = (steps, batch, channels)
    a = draw.uniform(0.9, 1.0, size).astype(np.float32)
    b = draw.standard_normal(size, np.float32)
    h0 = draw.standard_normal(size[1:], np.float32)
    return jnp.asarray(a), jnp.asarray(b), jnp.asarray(h0)


def _task(direction: str, scan: Callable[..., Any], a, b, h0) -> Task:
    program = Program(
        to_weights=lambda weights: weights,
        unroll=lambda weights, b: scan(weights[0], b, weights[1]),
        step=lambda weights, h, b: (weights[0] * h + b,) * 2,
        initial_carry=lambda batch: h0,
    )
    return _tasks.TASKS[direction](program, (a, h0), b)


def _newton_task(direction: str, trained, xs, jacobian: str | None) -> Task:
    """The trained GRU by the loop, or by `newton_scan` with those Jacobians."""
    cell, params, errors = trained
    first = cell.initial_carry(params, xs.shape[1:2])

    def step(params, h, x):
        return cell.recur(params["recurrent"], h, cell.project(params, x))

    def newton(params, xs):
        f = partial(step, params)
        return rnnjax.newton_scan(f, first, xs, jacobian=jacobian)

    def unroll(params, xs):
        if jacobian is None:
            return jax.lax.scan(partial(step, params), first, xs)[1]
        return newton(params, xs)[1]

    if jacobian is None:
        note = f"training took its error from {errors[0]:.2g} to {errors[1]:.2g}"
    else:
        info = jax.jit(lambda params, xs: newton(params, xs)[2])(params, xs)
        ending = "" if info.converged else ", no convergence: the loop ran"
        note = f"{info.iterations} iterations, residual {info.residual:.1e}{ending}"
    program = Program(lambda p: p, unroll, step, lambda batch: first, note=note)
    return _tasks.TASKS[direction](program, params, xs)


def _ours(a, b, h0, **options):
    linear_scan = getattr(rnnjax, "linear_scan", None)
    if linear_scan is None:
        raise Absent("this rnnjax has no linear_scan")
    try:
        return linear_scan(a, b, h0, **options)[1]
    except ValueError as error:
        raise Absent(str(error)) from error


def _loop(a, b, h0):
    def step(h, inputs):
        a, b = inputs
        h = a * h + b
        return h, h

    return jax.lax.scan(step, h0, (a, b))[1]


def _combine(earlier, later):
    (a_1, b_1), (a_2, b_2) = earlier, later
    return a_2 * a_1, a_2 * b_1 + b_2


def _associative(a, b, h0):
    decays, sums = jax.lax.associative_scan(_combine, (a, b))
    return decays * h0 + sums


def _memax(a, b, h0):
    """Its scan of a semigroup, without a batch as it wants."""
    try:
        from memax.equinox import scans  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise Absent(f"{error.name} is not installed") from error

    def sequence(a, b, h0):
        return scans.semigroup_scan(_combine, (jnp.ones_like(h0), h0), (a, b))[1]

    return jax.vmap(sequence, (1, 1, 0), 1)(a, b, h0)


NEWTON = {
    LOOP: None,
    "rnnjax.newton_scan, full": "full",
    "rnnjax.newton_scan, diagonal": "diagonal",
}
SCANS = {
    OURS: _ours,
    **{f"{OURS}, {name}": partial(_ours, backend=name) for name in BACKENDS},
    LOOP: _loop,
    ASSOCIATIVE: _associative,
    "memax semigroup_scan": _memax,
}
