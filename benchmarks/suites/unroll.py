"""Whole sequences through the built-in cells, beside every peer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import rnnjax

from .. import _limits, _problem, peers
from .._compare import LIMIT, PRODUCTS, Case
from .._problem import GATES, Shape
from .._suite import Plot, Suite, Summary, fastest, geometric_mean, row_of

Cell = Literal["lstm", "gru", "gru_reset_after", "simple"]
Peer = Literal[
    "lax", "lax_hoisted", "nnx", "linen", "haiku", "equinox", "keras", "cudnn", "torch"
]
Direction = Literal["forward", "value_and_grad"]
# "No slower" of the project's own bar: this much longer is noise.
NO_SLOWER = 1.05


@dataclass(frozen=True)
class Unroll(Suite):
    """Forward and value_and_grad of mean(ys**2), in weights and inputs.

    Ratios are times of a contender over those of rnnjax under its default Schedule:
    above 1, rnnjax is faster. The arithmetic limit is the products' FLOPs at the rate
    of one large product measured before and after each comparison; "products only" is
    the same products in the same loops.
    """

    cells: tuple[Cell, ...] = tuple(_problem.CELLS)  # type: ignore[assignment]
    """Which cells."""

    shapes: tuple[str, ...] = _problem.SHAPES
    """Sizes T,B,D,H."""

    directions: tuple[Direction, ...] = ("forward", "value_and_grad")
    """Which passes."""

    peers: tuple[Peer, ...] = peers.NAMES  # type: ignore[assignment]
    """Which peers; one that is not installed is a row without numbers."""

    name: ClassVar[str] = "unroll"
    plots: ClassVar = (Plot("dots", ("cell", "direction"), "shape", "ratio_of_minima"),)

    def tiny(self):
        return dataclasses.replace(self, rounds=2, shapes=(_problem.TINY,))

    def cases(self) -> Iterator[Case]:
        for cell in self.cells:
            for shape in map(Shape.parse, self.shapes):
                params, xs = _problem.given(cell, shape)
                rnn = _problem.layer(cell, shape.hidden)
                how = rnnjax.explain(rnn, params, xs)
                for direction in self.directions:
                    gradient = direction == "value_and_grad"
                    case = self.compare(
                        {"cell": cell, "shape": str(shape), "direction": direction},
                        peers.tasks(self.peers, direction, cell, params, xs),
                        _problem.work(GATES[cell], shape, gradient=gradient),
                        partial(
                            _limits.products_only,
                            GATES[cell],
                            shape,
                            gradient=gradient,
                        ),
                    )
                    ours = row_of(case, peers.OURS)
                    ours["note"] = f"backend {how.backend}, gradient {how.gradient}"
                    yield case

    def summary(self, cases: list[Case]) -> Summary:
        libraries = peers.titles(in_jax=True, library=True)
        in_jax = peers.titles(in_jax=True)
        rows = []
        for case in cases:
            best, any_best = fastest(case, libraries), fastest(case, in_jax)
            torch = row_of(case, peers.ENTRIES["torch"].title)
            rows.append(
                {
                    **case.labels,
                    "rnnjax, ms": 1e3 * row_of(case, peers.OURS)["min_seconds"],
                    "times the limit": 1 / row_of(case, LIMIT)["ratio_of_minima"],
                    PRODUCTS: row_of(case, PRODUCTS)["ratio_of_minima"],
                    "fastest JAX library": best and best["name"],
                    "its ratio": best and best["ratio_of_minima"],
                    "with lax.scan by hand": any_best and any_best["ratio_of_minima"],
                    "torch": torch.get("ratio_of_minima"),
                }
            )
        return Summary(rows, _remarks(rows))


def _remarks(rows) -> list[str]:
    remarks = []
    for direction in dict.fromkeys(row["direction"] for row in rows):
        for column, name in (
            ("its ratio", "the fastest JAX library"),
            ("with lax.scan by hand", "the fastest in JAX, lax.scan by hand included"),
            ("torch", "torch"),
        ):
            ratios = [
                row[column]
                for row in rows
                if row["direction"] == direction and row[column]
            ]
            if ratios:
                held = sum(1 / ratio <= NO_SLOWER for ratio in ratios)
                remarks.append(
                    f"{direction}: {geometric_mean(ratios):.2f} times as fast as "
                    f"{name} (geometric mean); no slower (at most {NO_SLOWER} of its "
                    f"time) in {held} of {len(ratios)}."
                )
    return remarks
