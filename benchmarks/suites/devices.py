"""One to all devices, the batch split over them in three ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from .. import _compare, _problem, _tasks
from .._compare import Case
from .._problem import GATES, Shape
from .._suite import Plot, Suite, Summary, row_of
from .._tasks import Task, compiled
from ..peers import _rnnjax
from .unroll import Cell

ONE = "one device"
EMULATED = "emulated, for correctness only"
EMULATED_DEVICES = 8
SMALL, LARGE = "16,4,8,16", "128,64,256,512"


@dataclass(frozen=True)
class Devices(Suite):
    """value_and_grad of mean(ys**2) with the batch split over 1 to N devices.

    By jit with NamedSharding, by shard_map and by pmap; the batch grows with the
    devices. Value and gradients are compared with those of one device. Without an
    accelerator the devices are emulated on CPU, for correctness only: nothing is timed.
    """

    cells: tuple[Cell, ...] = ("lstm", "gru")
    """Which cells."""

    shape: str = ""
    """T,B,D,H with the batch of one device; by default small where emulated."""

    counts: tuple[int, ...] = ()
    """Numbers of devices; none given: 1, 2, 4, ... and all."""

    name: ClassVar[str] = "devices"
    plots: ClassVar = (Plot("lines", ("cell",), "devices", "tokens_per_second"),)

    def prepare(self) -> None:
        try:
            jax.config.update("jax_num_cpu_devices", EMULATED_DEVICES)
        except RuntimeError:  # JAX runs already, with the devices it has
            return

    def tiny(self):
        return dataclasses.replace(
            self, rounds=2, cells=("simple",), shape=_problem.TINY, counts=(2,)
        )

    def cases(self) -> Iterator[Case]:
        emulated = jax.default_backend() == "cpu"
        shape = Shape.parse(self.shape or (SMALL if emulated else LARGE))
        for cell in self.cells:
            for count in self.counts or _counts(len(jax.devices())):
                whole = shape._replace(batch=shape.batch * count)
                params, xs = _problem.given(cell, whole)
                program = _rnnjax.PROGRAMS[cell](shape.features, shape.hidden)
                tasks: dict[str, Callable[[], Task]] = {
                    name: partial(way, program, count, params, xs)
                    for name, way in WAYS.items()
                }
                labels = {"cell": cell, "shape": str(whole), "devices": count}
                if emulated:
                    labels |= {"note": EMULATED}
                    _, rows = _compare.build(labels, tasks)
                    yield Case(labels, list(rows.values()), ONE)
                else:
                    work = _problem.work(GATES[cell], whole, gradient=True)
                    yield self.compare(labels, tasks, work)

    def summary(self, cases: list[Case]) -> Summary:
        if jax.default_backend() == "cpu":
            worst = max(
                row["difference"]
                for case in cases
                for row in case.rows
                if "difference" in row
            )
            return Summary(
                remarks=[
                    f"{EMULATED.capitalize()}: value and gradients of every split "
                    f"equal those of one device to {worst:.0e} (relative, L2)."
                ]
            )
        rows = []
        for cell in self.cells:
            mine = [case for case in cases if case.labels["cell"] == cell]
            for way in WAYS:
                first = row_of(mine[0], way)["tokens_per_second"]
                if way == ONE:
                    continue
                rows += [
                    {
                        "cell": cell,
                        "split": way,
                        "devices": case.labels["devices"],
                        "times the tokens/s of one": row_of(case, way)[
                            "tokens_per_second"
                        ]
                        / first,
                    }
                    for case in mine
                ]
        return Summary(rows)


def _counts(devices: int) -> list[int]:
    """1, 2, 4, ... and all of them."""
    counts = [2**k for k in range(devices.bit_length()) if 2**k <= devices]
    return sorted({*counts, devices})


def _one_device(program, count, params, xs) -> Task:
    del count
    return _tasks.value_and_grad(program, params, xs)


def _sharded_by_jit(program, count, params, xs) -> Task:
    mesh = _mesh(count)
    params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    xs = jax.device_put(xs, NamedSharding(mesh, BATCH))
    return _task(_tasks.gradient_of(program), params, xs)


def _shard_map(program, count, params, xs) -> Task:
    mesh = _mesh(count)
    params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    xs = jax.device_put(xs, NamedSharding(mesh, BATCH))

    def loss(params, xs):
        return jax.lax.pmean(_tasks.mean_square(program.unroll(params, xs)), AXIS)

    mapped = jax.shard_map(
        loss, mesh=mesh, in_specs=(PartitionSpec(), BATCH), out_specs=PartitionSpec()
    )
    return _task(jax.value_and_grad(mapped, (0, 1)), params, xs)


def _pmap(program, count, params, xs) -> Task:
    """The batch axis in front, split in pieces; the loss of each is its own mean."""
    pieces = jnp.stack(jnp.split(xs, count, axis=1))

    def both(params, xs):
        value, (of_params, of_xs) = _tasks.gradient_of(program)(params, xs)
        value, of_params = jax.lax.pmean((value, of_params), AXIS)
        return value, (of_params, of_xs / count)

    mapped = jax.pmap(both, AXIS, in_axes=(None, 0), devices=jax.devices()[:count])

    def results():
        value, (of_params, of_xs) = mapped(params, pieces)
        first = jax.tree.map(lambda a: np.asarray(a[0]), (value, of_params))
        return first[0], (first[1], np.concatenate(of_xs, axis=1))

    return Task(lambda: jax.block_until_ready(mapped(params, pieces)), results)


AXIS = "data"
BATCH = PartitionSpec(None, AXIS)
WAYS = {
    ONE: _one_device,
    "jit + NamedSharding": _sharded_by_jit,
    "shard_map": _shard_map,
    "pmap": _pmap,
}


def _mesh(count: int):
    kinds = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((count,), (AXIS,), kinds, devices=jax.devices()[:count])


def _task(f: Callable[..., Any], params, xs) -> Task:
    both = compiled(f, params, xs)
    return Task(
        lambda: jax.block_until_ready(both.call(params, xs)),
        lambda: jax.tree.map(np.asarray, both.call(params, xs)),
        both.seconds,
        both.temporary_bytes,
    )
