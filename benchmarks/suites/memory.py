"""Temporary memory of a gradient, and what a long sequence costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from rnnjax import Schedule

from .. import _compare, _problem, _tasks, peers
from .._compare import Case
from .._problem import Shape
from .._suite import Plot, Suite, Summary, row_of
from .._tasks import Absent, Task
from ..peers import _rnnjax
from .unroll import Cell

AUTODIFF = "autodiff"
EVERY = 64
SCHEDULES: dict[str, dict[str, Any]] = {
    "default": {},
    AUTODIFF: {"gradient": "autodiff", "backend": "scan"},
    "deferred": {"gradient": "deferred", "backend": "scan"},
    "remat step": {"remat": "step"},
    f"remat every {EVERY}": {"remat": EVERY},
    "remat sqrt": {"remat": "sqrt"},
}


@dataclass(frozen=True)
class Memory(Suite):
    """Temporary bytes of value_and_grad, as the compiler reports them.

    Arguments and results are not counted. First rnnjax beside autodiff of the same
    layer and beside the JAX peers, then the gradients and rematerialisations of a
    Schedule at growing T, with their times, whose ratios are to the default Schedule.
    """

    rounds: int = 5
    """Turns of each contender; in each round they run in another order."""

    cells: tuple[Cell, ...] = tuple(_problem.CELLS)  # type: ignore[assignment]
    """Which cells."""

    shapes: tuple[str, ...] = ("256,32,256,256",)
    """Sizes T,B,D,H of the comparison with peers."""

    steps: tuple[int, ...] = (4_096, 8_192, 16_384, 32_768, 65_536)
    """T of the long sequences."""

    size: str = "4,32,64"
    """B,D,H of the long sequences."""

    long_cell: Cell = "lstm"
    """The cell of the long sequences."""

    name: ClassVar[str] = "memory"
    plots: ClassVar = (
        Plot("dots", ("shape",), "cell", "ratio_of_bytes"),
        Plot("lines", ("long sequences",), "T", "temporary_bytes"),
        Plot("lines", ("long sequences",), "T", "min_seconds"),
    )

    def tiny(self):
        return dataclasses.replace(
            self, rounds=2, shapes=(_problem.TINY,), steps=(8, 16), size="1,3,4"
        )

    def cases(self) -> Iterator[Case]:
        for cell in self.cells:
            for shape in map(Shape.parse, self.shapes):
                yield _beside_peers(cell, shape)
        for steps in self.steps:
            shape = Shape.parse(f"{steps},{self.size}")
            params, xs = _problem.given(self.long_cell, shape)
            tasks = {
                name: partial(_scheduled, self.long_cell, options, params, xs)
                for name, options in SCHEDULES.items()
            }
            heading = f"{self.long_cell}, B,D,H {self.size}"
            yield _with_ratios(
                self.compare({"long sequences": heading, "T": steps}, tasks)
            )

    def summary(self, cases: list[Case]) -> Summary:
        remarks = []
        for case in cases:
            row = row_of(case, peers.OURS)
            if "ratio_of_bytes" in row:
                remarks.append(
                    f"{_compare.where(case.labels)}: rnnjax takes "
                    f"{row['ratio_of_bytes']:.2f} of the bytes of autodiff."
                )
        long = [case for case in cases if "T" in case.labels]
        rows = []
        for name in SCHEDULES:
            first, last = (row_of(case, name) for case in (long[0], long[-1]))
            if first.get("temporary_bytes") and last.get("temporary_bytes"):
                rows.append(
                    {
                        "Schedule": name,
                        "T": f"{long[0].labels['T']} to {long[-1].labels['T']}",
                        "times the bytes": last["temporary_bytes"]
                        / first["temporary_bytes"],
                        "times the time": last["min_seconds"] / first["min_seconds"],
                    }
                )
        return Summary(rows, remarks)


def _beside_peers(cell: str, shape: Shape) -> Case:
    params, xs = _problem.given(cell, shape)
    labels = {"cell": cell, "shape": str(shape), "direction": "value_and_grad"}
    tasks = dict(peers.tasks(peers.IN_JAX, "value_and_grad", cell, params, xs))
    tasks[AUTODIFF] = partial(_scheduled, cell, SCHEDULES[AUTODIFF], params, xs)
    _, rows = _compare.build(labels, tasks)
    return _with_ratios(Case(labels, list(rows.values()), AUTODIFF))


def _scheduled(cell: str, options: dict[str, Any], params: Any, xs: Any) -> Task:
    try:
        schedule = Schedule(**options)
    except ValueError as error:
        raise Absent(str(error)) from error
    hidden = params["recurrent"]["kernel"].shape[0]
    return _tasks.value_and_grad(_rnnjax.scheduled(cell, hidden, schedule), params, xs)


def _with_ratios(case: Case) -> Case:
    """Adds the ratio of each one's bytes to those of autodiff."""
    reference = row_of(case, AUTODIFF).get("temporary_bytes")
    for row in case.rows:
        if reference and row.get("temporary_bytes") is not None:
            row["ratio_of_bytes"] = row["temporary_bytes"] / reference
    return case
