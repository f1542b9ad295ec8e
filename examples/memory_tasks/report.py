"""The table, the budgets and the pictures of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from examples.common.results import Row
from examples.common.tables import markdown_table
from rnnjax import plotting

from .config import Config
from .published import PUBLISHED

PERCENT = 100.0
Results = dict[str, dict[str, dict]]


def number(task: str, value: float) -> str:
    """The test metric of a task as it is shown: accuracies in percent."""
    if task in ("copy_memory", "adding"):
        small = f"{value:.1e}".replace("e-0", "e-")
        return small if value < 1e-3 else f"{value:.4f}".lstrip("0")
    return f"{PERCENT * value:.1f}"


def table(results: Results, cells: Sequence[str]) -> str:
    """Tasks down, cells across; published numbers in brackets, solved in bold."""
    rows = []
    for task, of_cells in results.items():
        row = [f"{task} ({_measure(of_cells)})"]
        for cell in cells:
            shown = "-"
            if cell in of_cells:
                shown = number(task, of_cells[cell]["test"])
                shown = f"**{shown}**" if of_cells[cell]["solved"] else shown
            published = PUBLISHED[task].get(cell)
            row.append(f"{shown} ({published})" if published else shown)
        chance = next(iter(of_cells.values()))["chance"]
        rows.append([*row, number(task, chance)])
    return markdown_table(["task", *cells, "chance"], rows)


def budgets(results: Results) -> str:
    """What each number cost: learning rates tried, steps, minutes, parameters."""
    rows = [
        (
            task,
            cell,
            f"{result['parameters']:,}",
            ", ".join(f"{c['learning_rate']:g}" for c in result["candidates"]),
            f"{result['learning_rate']:g}",
            f"{result['steps']:,} of {result['settings']['steps']:,}",
            f"{result['seconds'] / 60:.1f}",
            "yes" if result["solved"] else "no",
        )
        for task, of_cells in results.items()
        for cell, result in of_cells.items()
    ]
    header = ("task", "cell", "parameters", "learning rates tried", "chosen")
    return markdown_table((*header, "steps", "minutes", "solved"), rows)


def summary(results: Results) -> Results:
    """The numbers of `table` and `budgets`, as JSON can hold them."""
    kept = ("metric", "test", "chance", "solved", "learning_rate", "steps", "seconds")
    return {
        task: {cell: {k: result[k] for k in kept} for cell, result in of_cells.items()}
        for task, of_cells in results.items()
    }


def rows(results: Results, config: Config) -> list[Row]:
    """A line for each task in the table of all examples: the best cell, the others."""
    lines = []
    for task, of_cells in results.items():
        sign = 1 if _measure(of_cells) == "accuracy, %" else -1
        best = max(of_cells, key=lambda cell: sign * of_cells[cell]["test"])
        others = [
            f"{cell} {number(task, result['test'])}"
            for cell, result in of_cells.items()
            if cell != best
        ]
        chance = number(task, of_cells[best]["chance"])
        published = ", ".join(f"{c} {v}" for c, v in PUBLISHED[task].items())
        lines.append(
            Row(
                f"{task.replace('_', ' ')}, {_lengths(task, config)}",
                _measure(of_cells),
                f"{number(task, of_cells[best]['test'])} ({best})",
                ", ".join([*others, f"chance {chance}"]),
                published,
            )
        )
    return lines


def draw(task: str, of_cells: dict[str, dict], path: Path) -> None:
    """Draws the development metric of each cell against its steps."""
    records, metric = [], ""
    for cell, result in of_cells.items():
        metric = result["metric"]
        chosen = result["learning_rate"]
        for candidate in result["candidates"]:
            if candidate["learning_rate"] == chosen:
                records += [
                    {"step": look["step"], cell: look[f"development_{metric}"]}
                    for look in candidate["curve"]
                ]
    chance = next(iter(of_cells.values()))["chance"]
    path.parent.mkdir(parents=True, exist_ok=True)
    plotting.learning_curves(
        records,
        list(of_cells),
        y_label=f"development {metric}",
        levels={"chance": chance},
        log=metric == "loss",
        title=task.replace("_", " "),
        path=path,
    )


def _measure(of_cells: dict[str, dict]) -> str:
    result = next(iter(of_cells.values()))
    if result["metric"] == "accuracy":
        return "accuracy, %"
    return "MSE" if result["task"] == "adding" else "nats a step"


def _lengths(task: str, config: Config) -> str:
    if task == "copy_memory":
        return f"T={config.copy_delay}"
    if task == "adding":
        return f"T={config.adding_length}"
    train, test = config.train_length, config.test_length
    return f"trained on lengths 1-{train}, tested on {train + 1}-{test}"
