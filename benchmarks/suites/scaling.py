"""How the time grows with the length, the batch and the hidden size."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .. import _limits, _problem, peers
from .._compare import Case
from .._problem import GATES, Shape
from .._suite import Plot, Suite, Summary, row_of
from .unroll import Cell, Direction, Peer


@dataclass(frozen=True)
class Scaling(Suite):
    """Sweeps of T, B and H around one size, with the exponents fitted to the minima.

    The exponent is the slope of log(time) over log(size), by least squares over the
    whole sweep; D stays. Ratios are as in the suite unroll.
    """

    cells: tuple[Cell, ...] = ("lstm", "gru")
    """Which cells."""

    base: str = "64,16,128,256"
    """The size T,B,D,H from which one axis at a time is changed."""

    steps: tuple[int, ...] = (16, 64, 256, 1024)
    """The sweep of T."""

    batches: tuple[int, ...] = (1, 4, 16, 64, 256)
    """The sweep of B."""

    hidden: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """The sweep of H."""

    directions: tuple[Direction, ...] = ("forward", "value_and_grad")
    """Which passes."""

    peers: tuple[Peer, ...] = ("lax", "torch")
    """Which peers; one that is not installed is a row without numbers."""

    name: ClassVar[str] = "scaling"
    plots: ClassVar = (
        Plot("lines", ("cell", "sweep", "direction"), "size", "min_seconds"),
    )

    def tiny(self):
        return dataclasses.replace(
            self,
            rounds=2,
            base=_problem.TINY,
            steps=(2, 4),
            batches=(1, 2),
            hidden=(4, 8),
        )

    def cases(self) -> Iterator[Case]:
        base = Shape.parse(self.base)
        for cell in self.cells:
            for sweep, field, sizes in (
                ("T", "steps", self.steps),
                ("B", "batch", self.batches),
                ("H", "hidden", self.hidden),
            ):
                for size in sizes:
                    shape = base._replace(**{field: size})
                    params, xs = _problem.given(cell, shape)
                    for direction in self.directions:
                        gradient = direction == "value_and_grad"
                        yield self.compare(
                            {
                                "cell": cell,
                                "shape": str(shape),
                                "sweep": sweep,
                                "size": size,
                                "direction": direction,
                            },
                            peers.tasks(self.peers, direction, cell, params, xs),
                            _problem.work(GATES[cell], shape, gradient=gradient),
                            partial(
                                _limits.products_only,
                                GATES[cell],
                                shape,
                                gradient=gradient,
                            ),
                        )

    def summary(self, cases: list[Case]) -> Summary:
        sweeps: dict[tuple[str, ...], list[Case]] = {}
        for case in cases:
            key = tuple(case.labels[k] for k in ("cell", "sweep", "direction"))
            sweeps.setdefault(key, []).append(case)
        rows = []
        for (cell, sweep, direction), members in sweeps.items():
            row: dict[str, Any] = {"cell": cell, "exponent in": sweep}
            row["direction"] = direction
            for name in [found["name"] for found in members[0].rows]:
                points = [
                    (case.labels["size"], found["min_seconds"])
                    for case in members
                    if "min_seconds" in (found := row_of(case, name))
                ]
                row[name] = exponent(points)
            rows.append(row)
        return Summary(rows)


def exponent(points: list[tuple[float, float]]) -> float | None:
    """``p`` of ``y = c x^p``, by least squares in logarithms."""
    if len(points) < 2:
        return None
    x, y = np.log(np.asarray(points, float)).T
    return float(np.polyfit(x, y, 1)[0])
