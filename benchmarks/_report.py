"""Results as a table, as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import matplotlib.ticker
import rich.box
import rich.table

from ._compare import LIMIT, PRODUCTS, where


def number(value: float) -> str:
    """About three digits."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 100 else f"{value:.3g}"


def _in_ms(seconds: float) -> str:
    return number(1e3 * seconds)


def _ratio(value: float) -> str:
    return f"{value:.2f}"


def _quartiles(values: list[float]) -> str:
    return " to ".join(map(_ratio, values))


def _by_loop(values: list[int | None]) -> str:
    return " + ".join("?" if value is None else f"{value:,}" for value in values)


# What a row may have, the heading of its column, and how it is written.
COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "name": ("", str),
    "difference": ("difference", "{:.0e}".format),
    "compile_seconds": ("compile, s", "{:.2f}".format),
    "cycles": ("estimated cycles", "{:,}".format),
    "loop_cycles": ("of a step, by loop", _by_loop),
    "loop_kernels": ("kernels of a step", _by_loop),
    "trips": ("steps", _by_loop),
    "temporary_bytes": ("temporary, MB", lambda value: number(value / 1e6)),
    "ratio_of_bytes": ("of autodiff", _ratio),
    "min_seconds": ("min, ms", _in_ms),
    "median_seconds": ("median, ms", _in_ms),
    "ratio_of_minima": ("ratio of min", _ratio),
    "ratio_of_medians": ("of median", _ratio),
    "ratio_quartiles": ("quartiles", _quartiles),
    "times_limit": ("min / limit", _ratio),
    "tokens_per_second": ("tokens/s", number),
    "flops_percent": ("% peak FLOP/s", "{:.1f}".format),
    "bandwidth_percent": ("% peak bytes/s", "{:.1f}".format),
    "intensity": ("FLOP/byte", number),
    "bound": ("bound by", str),
    "note": ("note", str),
}
HEADINGS = {
    "ratio_of_minima": "time / reference",
    "ratio_of_bytes": "bytes / autodiff",
    "temporary_bytes": "temporary bytes",
    "min_seconds": "seconds",
    "tokens_per_second": "tokens/s",
}


def cells_of(case: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of one comparison; columns without a value are left out."""
    keys = [
        key
        for key in COLUMNS
        if any(row.get(key) not in (None, "") for row in case["rows"])
    ]
    rows = [
        ["" if row.get(key) is None else COLUMNS[key][1](row[key]) for key in keys]
        for row in case["rows"]
    ]
    return [COLUMNS[key][0] for key in keys], rows


def cells_of_summary(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a summary."""
    keys = list(dict.fromkeys(key for row in rows for key in row))

    def text(value):
        if value is None:
            return ""
        return number(value) if isinstance(value, float) else str(value)

    return keys, [[text(row.get(key)) for key in keys] for row in rows]


def table(title: str, headings: list[str], rows: list[list[str]]) -> rich.table.Table:
    """A table for the terminal."""
    made = rich.table.Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD)
    for place, heading in enumerate(headings):
        right = place and heading != "note"
        made.add_column(heading, justify="right" if right else "left")
    for row in rows:
        made.add_row(*row)
    return made


def write_json(result: dict[str, Any], path: Path) -> None:
    """Writes a result; numbers to six digits."""
    path.write_text(json.dumps(_rounded(result), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def heading(result: dict[str, Any]) -> str:
    """The machine in one line."""
    machine = result["machine"]
    return (
        f"{machine['device']}, devices: {machine['devices']}, cores: "
        f"{machine['cores']}, jax {machine['versions']['jax']}, float32, "
        f"{machine['date']}"
    )


def plot(result: dict[str, Any], path: Path) -> None:
    """Draws the panels of a result; none for a result that has nothing to draw."""
    panels = _panels(result)
    if not panels:
        return
    columns = min(len(panels), 2)
    lines = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        lines,
        columns,
        figsize=(6.2 * columns, 3.4 * lines + 0.8),
        dpi=110,
        layout="constrained",
        squeeze=False,
    )
    names = dict.fromkeys(
        row["name"] for _, _, cases in panels for case in cases for row in case["rows"]
    )
    styles = {name: _style(name, place) for place, name in enumerate(names)}
    for axis, (title, spec, cases) in zip(axes.flat, panels, strict=False):
        draw = _dots if spec["kind"] == "dots" else _lines
        draw(axis, spec, cases, styles)
        axis.set_title(title, fontsize=9, loc="left")
        axis.set_ylabel(HEADINGS[spec["y"]], fontsize=8)
        axis.tick_params(labelsize=8, which="both")
        axis.grid(alpha=0.25)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    shown: dict[str, Any] = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    figure.legend(
        shown.values(), shown, loc="outside lower center", ncols=4, fontsize=8
    )
    figure.suptitle(f"{result['suite']}: {heading(result)}", fontsize=9)
    figure.savefig(path)
    plt.close(figure)


def _panels(result):
    """Triples of title, plot and cases, of those that have anything to draw."""
    found: dict[tuple, list] = {}
    for place, spec in enumerate(result["plots"]):
        for case in result["cases"]:
            keys = (*spec["panel"], spec["x"])
            if all(key in case["labels"] for key in keys) and any(
                row.get(spec["y"]) for row in case["rows"]
            ):
                title = where({key: case["labels"][key] for key in spec["panel"]})
                found.setdefault((place, title), []).append(case)
    return [
        (title, result["plots"][place], cases)
        for (place, title), cases in found.items()
    ]


def _style(name: str, place: int) -> dict[str, Any]:
    if name in (LIMIT, PRODUCTS):
        marker = "_" if name == LIMIT else "1"
        return {"color": "gray", "marker": marker, "markersize": 8}
    return {
        "color": plt.get_cmap("tab10")(place % 10),
        "marker": "osD^vP*Xph"[(place + place // 10) % 10],
        "markersize": 6,
    }


def _dots(axis, spec, cases, styles) -> None:
    """A column a case; a point a contender, over the quartiles of its ratio."""
    for place, case in enumerate(cases):
        timed = [row for row in case["rows"] if row.get(spec["y"])]
        for offset, row in enumerate(timed):
            x = place + 0.7 * ((offset + 0.5) / len(timed) - 0.5)
            style = styles[row["name"]]
            axis.plot(x, row[spec["y"]], ls="", label=row["name"], **style)
            if spec["y"] == "ratio_of_minima" and "ratio_quartiles" in row:
                color = style["color"]
                axis.vlines(x, *row["ratio_quartiles"], color=color, alpha=0.5)
    axis.axhline(1, color="black", linewidth=0.8)
    axis.set_yscale("log", base=2)
    axis.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%.3g"))
    axis.set_xticks(range(len(cases)), [case["labels"][spec["x"]] for case in cases])


def _lines(axis, spec, cases, styles) -> None:
    """A line a contender, both axes logarithmic."""
    for name, style in styles.items():
        points = [
            (case["labels"][spec["x"]], row[spec["y"]])
            for case in cases
            for row in case["rows"]
            if row["name"] == name and row.get(spec["y"])
        ]
        if points:
            axis.plot(*zip(*points, strict=True), label=name, linewidth=1, **style)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel(spec["x"], fontsize=8)
    axis.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%.0f"))
