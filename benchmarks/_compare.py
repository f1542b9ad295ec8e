"""One comparison: build every contender, check it against ours, race, make rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rnnjax.aot import PEAKS

from . import _machine, _timing
from ._problem import Work
from ._tasks import Absent, Task, difference

LIMIT = "arithmetic limit"
PRODUCTS = "products only"


class Case(NamedTuple):
    """One comparison."""

    labels: dict[str, Any]
    """What was compared: cell, shape, direction, ..."""
    rows: list[dict[str, Any]]
    """One a contender; an absent one has its name and a note."""
    reference: str
    """The contender that the ratios are to."""


def where(labels: Mapping[str, Any]) -> str:
    """The labels as a heading."""
    return ", ".join(
        str(value) if isinstance(value, str) else f"{key} {value}"
        for key, value in labels.items()
    )


def build(
    labels: Mapping[str, Any], tasks: Mapping[str, Callable[[], Task]]
) -> tuple[dict[str, Task], dict[str, dict[str, Any]]]:
    """Builds every contender and compares its results with those of the first.

    Returns:
      The tasks that can run, and a row for each that was asked for.

    Raises:
      Disagreement: one computes something else.
    """
    built: dict[str, Task] = {}
    expected: Any = None
    rows = {}
    for name, make in tasks.items():
        row: dict[str, Any] = {"name": name}
        rows[name] = row
        try:
            task = make()
        except Absent as absent:
            row["note"] = str(absent)
            continue
        if built:
            row["difference"] = difference(name, task, expected, where=where(labels))
        else:
            expected = task.results()
        row["compile_seconds"] = task.compile_seconds
        row["temporary_bytes"] = task.temporary_bytes
        row["note"] = task.note
        built[name] = task
    return built, rows


def compare(
    labels: dict[str, Any],
    tasks: Mapping[str, Callable[[], Task]],
    *,
    rounds: int,
    work: Work | None = None,
    products: Callable[[], Task] | None = None,
    tiny: bool = False,
) -> Case:
    """Times contenders that compute the same.

    Args:
      labels: what is compared.
      tasks: by name; the first that can run is the reference.
      rounds: of the race.
      work: what each of them has to do; adds rates and the arithmetic limit.
      products: the products of the work without the rest, timed beside them.
      tiny: take a small product for the rate; for dry runs.
    """
    built, rows = build(labels, tasks)
    if not built:
        return Case(labels, list(rows.values()), "")
    rates = [_machine.product_rate(tiny=tiny)] if products else []
    runs = {name: task.run for name, task in built.items()}
    if products:
        runs[PRODUCTS] = products().run
        rows[PRODUCTS] = {"name": PRODUCTS}
    times = _timing.race(runs, rounds)
    reference = next(iter(built))
    for name in runs:
        rows[name] |= _timing.statistics(times[name], times[reference])
        if work:
            rows[name] |= _rates(work, rows[name]["min_seconds"])
    if work and rates:
        rates.append(_machine.product_rate(tiny=tiny))
        _add_limit(rows, work, max(rates), min(times[reference]))
    return Case(labels, list(rows.values()), reference)


def _rates(work: Work, seconds: float) -> dict[str, float]:
    peaks = PEAKS.get(_machine.describe()["device"])
    rates = {"tokens_per_second": work.tokens / seconds}
    if peaks:
        rates["flops_percent"] = 100 * work.flops / seconds / peaks.flops
        rates["bandwidth_percent"] = 100 * work.bytes / seconds / peaks.bandwidth
    return rates


def _add_limit(rows, work: Work, rate: float, reference: float) -> None:
    limit = work.flops / rate
    for row in rows.values():
        if "min_seconds" in row:
            row["times_limit"] = row["min_seconds"] / limit
    rows[LIMIT] = {
        "name": LIMIT,
        "min_seconds": limit,
        "ratio_of_minima": limit / reference,
        "note": f"{work.flops / 1e9:.3g} GFLOP at {rate / 1e9:.4g} GFLOP/s",
    }
