"""Every cell and backend, compiled for devices that are not there."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

import rnnjax
from rnnjax import Schedule
from rnnjax.aot import Report, compile_for

from .. import _problem, _tasks, peers
from .._compare import Case, where
from .._problem import Shape
from .._run import left_by_a_stopped_run
from .._suite import Suite, Summary, row_of
from .._tasks import Program
from ..peers import _rnnjax

Direction = Literal["forward", "value_and_grad"]
TARGETS = ("v5e:2x2", "v6e:2x2", "v5p:2x2x1", "h100")
LINEAR_BACKENDS = ("sequential", "chunked", "associative")
# One comparison is made at two lengths: where the products of the LSTM belong.
COMPARED, LENGTHS = "v5e:2x2", ("256,32,256,256", "1024,32,256,256")
IN_THE_LOOP = "product in the loop"
ONE, DEVICES = "one device", 4
DEFAULT = "default"

Options = dict[str, dict[str, str]]
SCHEDULES: Options = {
    DEFAULT: {},
    "hoisted": {"gradient": "autodiff", "backend": "scan"},
    "deferred": {"gradient": "deferred", "backend": "scan"},
    "by hand": {"backend": "fused"},
    "pallas": {"backend": "pallas"},
}
LINEAR: Options = {
    DEFAULT: {},
    **{name: {"backend": name} for name in LINEAR_BACKENDS},
    "pallas": {"backend": "pallas"},
}
LAYERS: dict[str, tuple[Callable[..., rnnjax.RNN], Options]] = {
    **{name: (layer, SCHEDULES) for name, layer in _problem.CELLS.items()},
    "clockwork": (
        rnnjax.clockwork,
        {name: SCHEDULES[name] for name in (DEFAULT, "hoisted", "deferred")},
    ),
    "lru": (rnnjax.lru, LINEAR),
    "rg_lru": (rnnjax.rg_lru, LINEAR),
    "min_gru": (rnnjax.min_gru, LINEAR),
}


class _Plan(NamedTuple):
    """A case before anything of it is compiled."""

    labels: dict[str, Any]
    rows: list[Callable[[], dict[str, Any]]]
    reference: str

    def case(self) -> Case:
        return Case(self.labels, [row() for row in self.rows], self.reference)


@dataclass(frozen=True)
class Aot(Suite):
    """What compilers say of programs for devices that are not there; nothing is run.

    Estimated cycles are the TPU compiler's own: bodies of loops times their trips, and
    what is outside; there are none on GPUs, and none for Pallas kernels, whose rows
    leave them out. Kernels are operations of one step in the loops, launches on a GPU.
    Needs the extra "aot".
    """

    all: bool = False
    """Every cell; else the LSTM alone."""

    cells: tuple[str, ...] = ("lstm",)
    """Which cells."""

    targets: tuple[str, ...] = TARGETS
    """Which devices."""

    directions: tuple[Direction, ...] = ("forward", "value_and_grad")
    """Which passes."""

    shape: str = LENGTHS[0]
    """The size T,B,D,H."""

    resume: bool = False
    """Go on where a run of the same versions was stopped."""

    name: ClassVar[str] = "aot"

    def __post_init__(self):
        super().__post_init__()
        Shape.parse(self.shape)
        unknown = [cell for cell in self.cells if cell not in LAYERS]
        if unknown:
            raise ValueError(
                f"Expected --cells among {', '.join(LAYERS)}, got {unknown[0]}."
            )

    def tiny(self):
        return dataclasses.replace(self, shape="3,4,4,8", all=False)

    def cases(self) -> Iterator[Case]:
        left = left_by_a_stopped_run(self) if self.resume else []
        known = {where(case.labels): case for case in left}
        for plan in self._plans():
            yield known.get(where(plan.labels)) or plan.case()

    def _plans(self) -> Iterator[_Plan]:
        if COMPARED in self.targets and not self.dry_run:
            for shape in LENGTHS:
                if shape == self.shape and "lstm" in self.cells:
                    continue  # it comes below
                yield self._plan("lstm", COMPARED, shape, "value_and_grad")
        for target in self.targets:
            for cell in LAYERS if self.all else self.cells:
                for direction in self.directions:
                    yield self._plan(cell, target, self.shape, direction)
            yield self._data_parallel("lstm", target)

    def _plan(self, cell: str, target: str, shape: str, direction: str) -> _Plan:
        size = Shape.parse(shape)
        labels = {
            "cell": cell,
            "shape": shape,
            "direction": direction,
            "target": target,
        }
        rows = [
            partial(_row, name, make, _types(cell, size), direction, target)
            for name, make in _programs(cell, size).items()
            # The loops of the others are those of their gradient's forward pass.
            if direction == "value_and_grad" or name in (DEFAULT, "pallas")
        ]
        return _Plan(labels, rows, DEFAULT)

    def _data_parallel(self, cell: str, target: str) -> _Plan:
        """The default schedule on one device and on four."""
        size = Shape.parse(self.shape)
        labels = {
            "cell": cell,
            "shape": self.shape,
            "direction": "value_and_grad",
            "target": target,
            "note": "default Schedule; memory and work of one device",
        }
        split = {
            "mesh": {"data": DEVICES},
            "specs": (PartitionSpec(), PartitionSpec(None, "data")),
        }
        given = _programs(cell, size)[DEFAULT], _types(cell, size)
        rows = [
            partial(_row, name, *given, "value_and_grad", target, **place)
            for name, place in ((ONE, {}), (f"{DEVICES} devices", split))
        ]
        return _Plan(labels, rows, ONE)

    def summary(self, cases: list[Case]) -> Summary:
        rows, remarks = [], []
        for case in cases:
            default = row_of(case, DEFAULT)
            estimated = [row for row in case.rows if row.get("cycles")]
            best = min(estimated, key=lambda row: row["cycles"], default=None)
            if case.reference != DEFAULT:
                continue
            rows.append(
                {
                    **case.labels,
                    "default, cycles": default.get("cycles"),
                    "fewest": best and best["name"],
                    "its cycles": best and best["cycles"],
                    "kernels a step": sum(default.get("loop_kernels", [])),
                    "bound by": default.get("bound"),
                }
            )
            if best and default.get("cycles"):
                ratio = default["cycles"] / best["cycles"]
                if ratio > 1:
                    remarks.append(
                        f"{where(case.labels)}: the default is estimated at "
                        f"{ratio:.2f} times the cycles of {best['name']!r}."
                    )
        return Summary(rows, remarks)


def _programs(cell: str, size: Shape) -> dict[str, Callable[[], Program]]:
    """By name; each is made when called, so that a refusal fills its row."""
    layer, schedules = LAYERS[cell]

    def ours(options):
        return _rnnjax.program(layer(size.hidden, schedule=Schedule(**options)))

    found = {name: partial(ours, options) for name, options in schedules.items()}
    if cell in _problem.CELLS:
        found[IN_THE_LOOP] = partial(peers.program, "lax", cell, *size[2:])
    return found


def _types(cell: str, size: Shape) -> tuple[Any, Any]:
    """Of the weights, and of a sequence."""
    xs = jax.ShapeDtypeStruct(size[:3], jnp.float32)
    layer, _ = LAYERS[cell]
    rnn = layer(size.hidden)
    return jax.eval_shape(rnn.init, jax.random.key(0), xs), xs


def _row(name, make, args, direction: str, target: str, **place) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        program = make()
        forward = direction == "forward"
        f = program.unroll if forward else _tasks.gradient_of(program)
        report = compile_for(f, args, target, **place).report
    except Exception as error:  # of any kind: one row of hundreds
        said = (str(error) or type(error).__name__).splitlines()[0]
        return {"name": name, "note": said}
    seconds = time.perf_counter() - start
    return {"name": name, "compile_seconds": seconds} | _numbers(report)


def _numbers(report: Report) -> dict[str, Any]:
    """The columns of a report."""
    calls = [call.target for call in report.custom_calls]
    inside = [c.kind for c in report.collectives if c.loop]
    outside = [c.kind for c in report.collectives if not c.loop]
    notes = [f"custom calls: {', '.join(sorted(set(calls)))}"] if calls else []
    notes += [f"collectives in a loop: {', '.join(inside)}"] if inside else []
    notes += [f"collectives: {', '.join(outside)}"] if outside else []
    notes += [] if report.memory.fits else ["does NOT fit"]
    return {
        "cycles": None if calls else report.cycles,
        "loop_cycles": [p.cycles for p in report.loops if p.cycles is not None],
        "loop_kernels": [part.kernels for part in report.loops],
        "trips": [part.trips for part in report.loops],
        "temporary_bytes": report.memory.temporary,
        "intensity": report.intensity,
        "bound": "" if calls else report.bound,
        "note": "; ".join(notes),
    }
