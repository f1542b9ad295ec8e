"""The seconds before the first step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax

from .. import _problem, _timing, peers
from .._compare import Case
from .._problem import Shape
from .._suite import Plot, Suite, Summary, geometric_mean, row_of
from .._tasks import Absent, compiled, gradient_of
from .unroll import Cell


@dataclass(frozen=True)
class Compile(Suite):
    """Seconds to trace and compile value_and_grad, from empty caches each time.

    Ratios are times of a contender over those of rnnjax: above 1, rnnjax is faster.
    """

    rounds: int = 5
    """Turns of each contender; in each round they run in another order."""

    cells: tuple[Cell, ...] = tuple(_problem.CELLS)  # type: ignore[assignment]
    """Which cells."""

    shapes: tuple[str, ...] = _problem.SHAPES
    """Sizes T,B,D,H."""

    name: ClassVar[str] = "compile"
    plots: ClassVar = (Plot("dots", ("cell",), "shape", "ratio_of_minima"),)

    def tiny(self):
        return dataclasses.replace(self, rounds=2, shapes=(_problem.TINY,))

    def cases(self) -> Iterator[Case]:
        for cell in self.cells:
            for shape in map(Shape.parse, self.shapes):
                yield self._case(cell, shape)

    def _case(self, cell: str, shape: Shape) -> Case:
        params, xs = _problem.given(cell, shape)
        rows, runs = {}, {}
        for name in (peers.OURS, *peers.IN_JAX):
            title = name if name == peers.OURS else peers.ENTRIES[name].title
            rows[title] = {"name": title}
            try:
                program = peers.program(name, cell, shape.features, shape.hidden)
            except Absent as absent:
                rows[title]["note"] = str(absent)
                continue
            args = program.to_weights(params), program.to_layout(xs)
            runs[title] = partial(_compile, program, args)
        next(iter(runs.values()))()  # the first compilation of a process is slower
        times = _timing.race(runs, self.rounds, repeat=False)
        for title, found in times.items():
            rows[title] |= _timing.statistics(found, times[peers.OURS])
        labels = {"cell": cell, "shape": str(shape), "direction": "value_and_grad"}
        return Case(labels, list(rows.values()), peers.OURS)

    def summary(self, cases: list[Case]) -> Summary:
        title = peers.ENTRIES["lax"].title
        ratios = [row_of(case, title)["ratio_of_medians"] for case in cases]
        return Summary(
            remarks=[
                f"rnnjax compiles in {1 / geometric_mean(ratios):.2f} of the time of "
                f"lax.scan and autodiff (geometric mean of medians), at most in "
                f"{1 / min(ratios):.2f}."
            ]
        )


def _compile(program, args):
    jax.clear_caches()
    compiled(gradient_of(program), *args)
