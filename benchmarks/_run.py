"""One suite from its first comparison to its files."""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import time
from pathlib import Path
from typing import Any

import rich.console
import rich.markup

from . import _machine, _report
from ._compare import Case, where
from ._suite import Suite

WIDTH = 170
"""Of the tables where the output is no terminal."""


def run(suite: Suite) -> dict[str, Any]:
    """Runs a suite, prints its tables, writes its JSON and its plot.

    Returns:
      The result, as in the JSON.
    """
    width = None if sys.stdout.isatty() else WIDTH
    console = rich.console.Console(highlight=False, width=width)
    suite = suite.tiny() if suite.dry_run else suite
    suite.prepare()
    start = time.perf_counter()
    machine = _machine.describe()
    console.print(f"[bold]{suite.name}[/bold] on {machine['device']}")
    unfinished, cases = _unfinished(suite), []
    for case in suite.cases():
        cases.append(case)
        show(console, where(case.labels), _report.cells_of(case._asdict()))
        # What took so long outlives whatever may stop the rest.
        so_far = {"machine": machine, "cases": [case._asdict() for case in cases]}
        _report.write_json(so_far, unfinished)
    summary = suite.summary(cases)
    result = {
        "suite": suite.name,
        "about": inspect.cleandoc(type(suite).__doc__ or ""),
        "machine": machine,
        "settings": _settings(suite),
        "seconds": time.perf_counter() - start,
        "summary": summary.rows,
        "remarks": summary.remarks,
        "plots": [plot._asdict() for plot in suite.plots],
        "cases": [case._asdict() for case in cases],
    }
    if summary.rows:
        rows = _report.cells_of_summary(summary.rows)
        show(console, f"{suite.name}, summary", rows)
    for remark in summary.remarks:
        console.print(remark)
    path = write(suite, result)
    unfinished.unlink(missing_ok=True)
    console.print(f"Written: {path} and its plot\n", soft_wrap=True)
    return result


def show(console, title: str, table) -> None:
    """Prints one table."""
    escaped = [[rich.markup.escape(cell) for cell in row] for row in table[1]]
    console.print(_report.table(rich.markup.escape(title), table[0], escaped))


def write(suite: Suite, result: dict[str, Any]) -> Path:
    """``<suite>-<device>[-label].json`` and ``.png``; the path of the first."""
    path = _path(suite)
    _report.write_json(result, path)
    _report.plot(result, path.with_suffix(".png"))
    return path


def left_by_a_stopped_run(suite: Suite) -> list[Case]:
    """The cases of a run that did not come to its end, if its versions were these."""
    path = _unfinished(suite)
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    if found["machine"]["versions"] != _machine.describe()["versions"]:
        return []
    return [Case(**case) for case in found["cases"]]


def _unfinished(suite: Suite) -> Path:
    return _path(suite).with_suffix(".unfinished.json")


def _path(suite: Suite) -> Path:
    machine = _machine.describe()
    return file(suite.output, suite.name, machine, suite.label, suite.dry_run)


def file(folder: Path, name: str, machine: dict, label: str, dry_run: bool) -> Path:
    """Where a result goes; a dry run never overwrites a measurement."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = (name, machine["name"], label, "dry-run" if dry_run else "")
    return folder / ("-".join(filter(None, parts)) + ".json")


def _settings(suite: Suite) -> dict[str, Any]:
    fields = dataclasses.asdict(suite)
    return {k: v for k, v in fields.items() if k not in ("output", "label", "resume")}
