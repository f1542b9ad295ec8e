"""What every suite has: its options, its cases, what they add up to, its plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from . import _compare
from ._compare import Case
from ._problem import Shape, Work
from ._tasks import Task


class Plot(NamedTuple):
    """One family of panels of a suite's picture."""

    kind: str
    """"dots": one column a value of ``x``; "lines": ``x`` and ``y`` are logarithmic."""
    panel: tuple[str, ...]
    """The labels that cases in one panel share."""
    x: str
    """The label along the horizontal axis."""
    y: str
    """The column that is drawn."""


class Summary(NamedTuple):
    """What the cases of a suite add up to."""

    rows: list[dict[str, Any]] = []
    remarks: list[str] = []


@dataclass(frozen=True)
class Suite:
    """Options of every suite."""

    rounds: int = 20
    """Turns of each contender; in each round they run in another order."""

    output: Path = Path("benchmarks/results")
    """Folder for the JSON and the plot."""

    label: str = ""
    """Added to the names of the files."""

    dry_run: bool = False
    """Tiny sizes and 2 rounds: shows that all of it runs, and measures nothing."""

    name: ClassVar[str]
    plots: ClassVar[tuple[Plot, ...]] = ()

    def __post_init__(self) -> None:
        """Checks what would fail after the first comparisons."""
        if self.rounds < 1:
            raise ValueError(f"Expected --rounds at least 1, got {self.rounds}.")
        for shape in getattr(self, "shapes", ()):
            Shape.parse(shape)

    def prepare(self) -> None:
        """Sets up JAX, before its first use."""

    def tiny(self) -> Self:
        """The dry run of this suite."""
        raise NotImplementedError

    def cases(self) -> Iterator[Case]:
        """Runs the comparisons, one after the other."""
        raise NotImplementedError

    def summary(self, cases: list[Case]) -> Summary:
        """What they add up to."""
        del cases
        return Summary()

    def compare(
        self,
        labels: dict[str, Any],
        tasks: Mapping[str, Callable[[], Task]],
        work: Work | None = None,
        products: Callable[[], Task] | None = None,
    ) -> Case:
        """`_compare.compare` under the options of this suite."""
        return _compare.compare(
            labels,
            tasks,
            rounds=self.rounds,
            work=work,
            products=products,
            tiny=self.dry_run,
        )


def geometric_mean(values: Iterable[float]) -> float:
    """NaN of no values."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def fastest(case: Case, names: Iterable[str]) -> dict[str, Any] | None:
    """The row with the smallest minimum among those names, if any was timed."""
    timed = [row for row in case.rows if "min_seconds" in row and row["name"] in names]
    return min(timed, key=lambda row: row["min_seconds"], default=None)


def row_of(case: Case, name: str) -> dict[str, Any]:
    """The row of that name; empty where there is none."""
    return next((row for row in case.rows if row["name"] == name), {})
