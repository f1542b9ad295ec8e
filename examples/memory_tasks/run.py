"""All studies of a command, those done left alone; the table and the pictures."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import rich.progress

from examples.common import distributed
from examples.common.config import parse
from examples.common.errors import InputError
from examples.common.machine import describe_machine, describe_versions
from examples.common.results import NAME, write_result

from . import report
from .budgets import Settings, settings_for
from .config import PRESETS, Config
from .tasks import Task, make_task
from .train import study

# What decides the data of all tasks; a result with other values is of another study.
DATA = ("seed", "copy_delay", "adding_length", "train_length", "test_length")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    run(parse(PRESETS, "quick", "python -m examples.memory_tasks", arguments))


def run(config: Config) -> dict:
    """Runs what is missing, then writes ``result.json``, the table and the pictures."""
    console = distributed.start(config)
    results: dict[str, dict[str, dict]] = {}
    for name in config.tasks:
        of_cells = {
            cell: _result(name, cell, config, console)
            for cell in config.cells
            if config.train or (config.output / name / cell / NAME).exists()
        }
        if of_cells:
            results[name] = of_cells
            if distributed.is_first():
                report.draw(name, of_cells, config.output / f"{name}.png")
    if not results:
        raise InputError(
            f"--no-train: expected results in {config.output}, found none of the tasks "
            f"and cells asked for."
        )
    table = report.table(results, config.cells)
    console.print(f"\n{table}\n")
    if distributed.is_first():
        pages = f"{table}\n\n{report.budgets(results)}\n"
        (config.output / "table.md").write_text(pages)
    whole = write_result(
        config.output,
        example="memory_tasks",
        # The command that finds these numbers is the one that trains.
        config=dataclasses.replace(config, train=True),
        presets=PRESETS,
        data=["generated from the seed"],
        training_seconds=sum(
            r["seconds"] for of in results.values() for r in of.values()
        ),
        rows=report.rows(results, config),
        studies=report.summary(results),
    )
    console.print(f"Everything is in {config.output}/")
    return whole


def _result(name: str, cell: str, config: Config, console) -> dict:
    """The stored result of a cell on a task, or that of training it now."""
    path = config.output / name / cell / NAME
    settings = settings_for(name, cell, config)
    asked = {
        "task": name,
        "cell": cell,
        "data": {field: getattr(config, field) for field in DATA},
        "settings": json.loads(json.dumps(dataclasses.asdict(settings))),
    }
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        check_same(path, stored, asked)
        console.print(f"{name}, {cell}: done before")
        return stored
    task = make_task(name, config)
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.parent / "metrics.jsonl" if distributed.is_first() else Path(os.devnull)
    with log.open("w", encoding="utf-8") as metrics:
        found = _with_progress(name, cell, task, settings, config, console, metrics)
    result = {
        **asked,
        "machine": describe_machine(),
        "versions": describe_versions(),
        **found,
    }
    if distributed.is_first():
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    shown = report.number(name, result["test"])
    console.print(
        f"{name}, {cell}: {task.metric} {shown} after {result['steps']} steps"
    )
    return result


def _with_progress(
    name, cell, task: Task, settings: Settings, config, console, metrics
) -> dict:
    """Trains under a live bar, and writes each look at the development data down."""
    columns = (
        rich.progress.TextColumn("[bold]{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("{task.fields[shown]}"),
        rich.progress.TimeElapsedColumn(),
    )
    begun = time.perf_counter()
    with rich.progress.Progress(*columns, console=console) as bar:
        line = bar.add_task(f"{name}, {cell}", total=settings.steps, shown="")

        def show(record):
            shown = (
                f"loss {record['train_loss']:.4g}, development {task.metric} "
                f"{record[f'development_{task.metric}']:.4g}, "
                f"{record['step'] / record['seconds']:.1f} steps/s"
            )
            metrics.write(json.dumps(record) + "\n")
            metrics.flush()
            bar.update(line, completed=record["step"], shown=shown)

        found = study(task, cell, settings, config, show)
    return {**found, "seconds_in_all": round(time.perf_counter() - begun, 1)}


def check_same(path: Path, stored: dict, asked: dict) -> None:
    """Refuses a stored result that was made with other settings."""
    changed = []
    for part in ("data", "settings"):
        for key, value in asked[part].items():
            was = stored[part].get(key)
            if was != value:
                changed.append(f"{key} was {was}, is {value}")
    if changed:
        raise InputError(
            f"{path}: expected a result of the same settings: {'; '.join(changed)}. "
            "Give another --output, or remove the file to train again."
        )
