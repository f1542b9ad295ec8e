"""The table and the picture of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from examples.common.results import Row
from examples.common.tables import markdown_table
from rnnjax import plotting

from .config import Config
from .published import PUBLISHED

Results = dict[str, dict[str, dict]]


def table(results: Results, cells: Sequence[str], beside: float) -> str:
    """Orders down, cells across, in percent; all of MNIST, published, in brackets."""
    rows = []
    for order, of_cells in results.items():
        row = [order]
        for cell in cells:
            published = PUBLISHED[order].get(cell)
            shown = _percent(of_cells[cell]["test"]) if cell in of_cells else "-"
            row.append(f"{shown} ({published:.1f})" if published else shown)
        rows.append([*row, _percent(beside)])
    return markdown_table(["order", *cells, "nearest neighbour"], rows)


def budgets(results: Results) -> str:
    """What each number cost."""
    rows = [
        (
            order,
            cell,
            f"{result['parameters']:,}",
            f"{result['steps']:,}",
            f"{result['best_step']:,}",
            f"{result['seconds'] / 60:.1f}",
        )
        for order, of_cells in results.items()
        for cell, result in of_cells.items()
    ]
    header = ("order", "cell", "parameters", "steps", "best step", "minutes")
    return markdown_table(header, rows)


def summary(results: Results) -> Results:
    """The numbers of the tables, as JSON can hold them."""
    kept = ("test", "best_step", "steps", "seconds", "parameters")
    return {
        order: {cell: {k: result[k] for k in kept} for cell, result in of.items()}
        for order, of in results.items()
    }


def rows(results: Results, beside: float, config: Config) -> list[Row]:
    """A line for each order in the table of all examples."""
    lines = []
    side = 28 // config.pool
    for order, of_cells in results.items():
        best = max(of_cells, key=lambda cell: of_cells[cell]["test"])
        others = [
            f"{cell} {_percent(result['test'])}"
            for cell, result in of_cells.items()
            if cell != best
        ]
        published = ", ".join(f"{c} {v:.1f}" for c, v in PUBLISHED[order].items())
        lines.append(
            Row(
                f"{order} MNIST-5k, {side * side} pixels one by one",
                "accuracy, %",
                f"{_percent(of_cells[best]['test'])} ({best})",
                ", ".join([*others, f"nearest neighbour {_percent(beside)}"]),
                f"{published} (60,000 images, not comparable)",
            )
        )
    return lines


def draw(order: str, of_cells: dict[str, dict], path: Path) -> None:
    """Draws the accuracy of each cell on development images against the steps."""
    records = [
        {"step": record["step"], cell: 100 * record["dev_accuracy"]}
        for cell, result in of_cells.items()
        for record in result["curve"]
    ]
    plotting.learning_curves(
        records,
        list(of_cells),
        y_label="development accuracy, %",
        title=f"MNIST-5k, pixel by pixel, {order}",
        path=path,
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
