"""One step at a time: the latency of a stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from .. import _problem, peers
from .._compare import Case
from .._problem import GATES, Shape
from .._suite import Plot, Suite
from .._tasks import STREAMED_STEPS
from .unroll import Cell, Peer


@dataclass(frozen=True)
class Streaming(Suite):
    """Latency of one compiled `step`, its carry handed to the next call.

    Ratios are times of a contender over those of rnnjax: above 1, rnnjax is faster.
    """

    cells: tuple[Cell, ...] = tuple(_problem.CELLS)  # type: ignore[assignment]
    """Which cells."""

    sizes: tuple[str, ...] = ("1,64,512",)
    """Sizes B,D,H."""

    peers: tuple[Peer, ...] = tuple(  # type: ignore[assignment]
        name for name in peers.NAMES if name != "lax_hoisted"
    )
    """Which peers; one that is not installed is a row without numbers."""

    name: ClassVar[str] = "streaming"
    plots: ClassVar = (Plot("dots", ("size",), "cell", "ratio_of_minima"),)

    def tiny(self):
        return dataclasses.replace(self, rounds=2, sizes=("1,4,8",))

    def cases(self) -> Iterator[Case]:
        for size in self.sizes:
            shape = Shape.parse(f"{STREAMED_STEPS},{size}")
            for cell in self.cells:
                params, xs = _problem.given(cell, shape)
                yield self.compare(
                    {"cell": cell, "size": size},
                    peers.tasks(self.peers, "step", cell, params, xs),
                    _problem.work(GATES[cell], shape._replace(steps=1), gradient=False),
                )
