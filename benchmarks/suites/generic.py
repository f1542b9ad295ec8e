"""What is not built in: a user's cell, and `rnnjax.scan` in other libraries."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import jax

import rnnjax
from rnnjax import Schedule

from .. import _limits, _problem, _tasks, peers
from .._compare import Case
from .._problem import GATES, Shape
from .._suite import Plot, Suite, Summary, fastest, geometric_mean, row_of
from ..peers import _rnnjax
from ._mgu import mgu
from .unroll import Direction

MGU_GATES = 2
LIBRARIES = {"nnx": "lstm", "haiku": "lstm", "equinox": "lstm"}


@dataclass(frozen=True)
class Generic(Suite):
    """A user's cell in 12 lines, and rnnjax.scan of the LSTM cells of other libraries.

    The cell runs under the default Schedule and under lax.scan and autodiff; the same
    loop over a step of another library under rnnjax.scan and under lax.scan. Ratios are
    times of lax.scan over those of rnnjax: above 1, rnnjax is faster.
    """

    shapes: tuple[str, ...] = (*_problem.SHAPES, "256,32,128,256")
    """Sizes T,B,D,H."""

    directions: tuple[Direction, ...] = ("forward", "value_and_grad")
    """Which passes."""

    libraries: tuple[Literal["nnx", "haiku", "equinox"], ...] = tuple(LIBRARIES)  # type: ignore[assignment]
    """Libraries whose LSTM cell runs under rnnjax.scan."""

    name: ClassVar[str] = "generic"
    plots: ClassVar = (Plot("dots", ("cell", "direction"), "shape", "ratio_of_minima"),)

    def tiny(self):
        return dataclasses.replace(self, rounds=2, shapes=(_problem.TINY,))

    def cases(self) -> Iterator[Case]:
        for shape in map(Shape.parse, self.shapes):
            for direction in self.directions:
                yield self._user_cell(shape, direction)
        for name in self.libraries:
            for shape in map(Shape.parse, self.shapes):
                for direction in self.directions:
                    yield self._library(name, shape, direction)

    def _user_cell(self, shape: Shape, direction: str) -> Case:
        cell = mgu(shape.hidden)
        rnn = rnnjax.layer(cell)
        autodiff = Schedule(gradient="autodiff", backend="scan")
        params, xs = _problem.weights(rnn, shape.features), _problem.inputs(shape)
        in_loop = _rnnjax.program(rnn)._replace(unroll=partial(_textbook, cell))
        programs = {
            "rnnjax.layer": lambda: _rnnjax.program(rnn),
            "lax.scan + autodiff": lambda: in_loop,
            "lax.scan + autodiff, hoisted": lambda: _rnnjax.program(
                rnnjax.layer(cell, autodiff)
            ),
        }
        case = self._compare("mgu", MGU_GATES, shape, direction, programs, params, xs)
        how = rnnjax.explain(rnn, params, xs)
        note = f"backend {how.backend}, gradient {how.gradient}"
        row_of(case, "rnnjax.layer")["note"] = note
        return case

    def _library(self, name: str, shape: Shape, direction: str) -> Case:
        cell = LIBRARIES[name]
        params, xs = _problem.given(cell, shape)

        def under(scan):
            program = peers.program(name, cell, shape.features, shape.hidden)
            return program._replace(unroll=partial(_loop, program, scan))

        scans = {"rnnjax.scan": rnnjax.scan, "lax.scan": jax.lax.scan}
        return self._compare(
            f"{name} {cell}",
            GATES[cell],
            shape,
            direction,
            {title: partial(under, scan) for title, scan in scans.items()},
            params,
            xs,
        )

    def _compare(self, cell, gates, shape, direction, programs, params, xs) -> Case:
        def make(program):
            return _tasks.TASKS[direction](program(), params, xs)

        gradient = direction == "value_and_grad"
        return self.compare(
            {"cell": cell, "shape": str(shape), "direction": direction},
            {title: partial(make, program) for title, program in programs.items()},
            _problem.work(gates, shape, gradient=gradient),
            partial(_limits.products_only, gates, shape, gradient=gradient),
        )

    def summary(self, cases: list[Case]) -> Summary:
        ratios: dict[tuple[str, str], dict[str, float]] = {}
        for case in cases:
            by_lax = [r["name"] for r in case.rows if r["name"].startswith("lax.scan")]
            best = fastest(case, by_lax)
            if best:
                key = case.labels["cell"], case.labels["direction"]
                ratio = best["ratio_of_minima"]
                ratios.setdefault(key, {})[case.labels["shape"]] = ratio
        remarks = []
        for (cell, direction), found in ratios.items():
            worst = min(found, key=found.__getitem__)
            remarks.append(
                f"{cell}, {direction}: {geometric_mean(found.values()):.2f} times as "
                f"fast as the faster lax.scan (geometric mean); least at {worst}, "
                f"{found[worst]:.2f} times."
            )
        return Summary(remarks=remarks)


def _textbook(cell, params, xs):
    """The cell as one writes a loop by hand: the input product inside of it."""

    def step(carry, x):
        return cell.recur(params["recurrent"], carry, cell.project(params, x))

    first = cell.initial_carry(params, xs.shape[1:2])
    return jax.lax.scan(step, first, xs)[1]


def _loop(program, scan, weights, xs):
    """The loop that users of a library write; its weights are closed over."""

    def step(carry, x):
        return program.step(weights, carry, x)

    return scan(step, program.initial_carry(xs.shape[1]), xs)[1]
