"""`learning_curves`: metrics against steps, with baselines as levels."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from rnnjax.plotting._canvas import COLORS, canvas, clear_spines, finish

# Up to this many points each is marked, and one curve is told from noise by its line.
_MARKED = 60
_DASHES = ("--", ":", "-.", (0, (1, 4)))


def learning_curves(
    records: Sequence[Mapping[str, Any]],
    names: Sequence[str] | Mapping[str, str],
    *,
    x: str = "step",
    y_label: str = "",
    levels: Mapping[str, float] | None = None,
    log: bool = False,
    title: str = "",
    axes: Axes | None = None,
    path: str | os.PathLike | None = None,
) -> Figure:
    """Draws metrics against the step at which they were taken.

    Args:
      records: one dict for each time that something was measured, such as the lines of
        a ``metrics.jsonl``. A record need not have all metrics: a curve goes through
        the records that have its own.
      names: the metrics to draw; as a mapping, what the legend calls them.
      x: the entry of the records on the horizontal axis.
      y_label: of the vertical axis; by default the name where there is one alone.
      levels: baselines, by name: dashed horizontal lines.
      log: whether the vertical axis is logarithmic.
      title: above the picture.
      axes: where to draw; None makes a new figure.
      path: where to save the figure, as well.

    Returns:
      The figure.

    Raises:
      ValueError: no record has one of the names together with ``x``; on a logarithmic
        axis, a value that is not above 0.

    Example:
      >>> from rnnjax import plotting
      >>> records = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "dev": 1.5}]
      >>> figure = plotting.learning_curves(records, ["loss", "dev"])
      >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
      ['loss', 'dev']
    """
    labels = dict(names) if isinstance(names, Mapping) else {n: n for n in names}
    levels = dict(levels or {})
    curves = {name: _curve(records, x, name) for name in labels}
    if log:
        _check_positive({**{n: min(ys) for n, (_, ys) in curves.items()}, **levels})
    figure, axes = canvas(axes, (7.2, 4.2))
    for i, (name, (xs, ys)) in enumerate(curves.items()):
        few = len(xs) <= _MARKED
        axes.plot(
            xs,
            ys,
            color=COLORS[i % len(COLORS)],
            linewidth=1.6 if few else 1.0,
            marker="o" if few else "",
            markersize=3.5,
            label=labels[name],
        )
    for i, (name, value) in enumerate(levels.items()):
        axes.axhline(value, color="dimgray", linewidth=1.0, linestyle=_DASHES[i % 4])
        axes.annotate(
            name,
            xy=(1.0, value),
            xycoords=axes.get_yaxis_transform(),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="dimgray",
            annotation_clip=False,
        )
    only = next(iter(labels.values())) if len(labels) == 1 else ""
    axes.set(xlabel=x, ylabel=y_label or only)
    if log:
        axes.set_yscale("log")
    if max(max(xs) for xs, _ in curves.values()) >= 10_000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(alpha=0.25)
    # Many names would hide the curves; to the right of the axes stand the levels.
    outside = len(curves) > 3 and not levels
    place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if outside else {}
    axes.legend(framealpha=0.9, edgecolor="none", **place)
    axes.set_title(title, fontsize=10, loc="left")
    clear_spines(axes)
    return finish(figure, path)


def _curve(records, x: str, name: str) -> tuple[list[float], list[float]]:
    """The points of a metric; a NaN is a gap in its curve."""
    points = [(float(r[x]), float(r[name])) for r in records if x in r and name in r]
    if not any(math.isfinite(y) for _, y in points):
        known = sorted({key for record in records for key in record})
        raise ValueError(
            f"records: expected some with {x!r} and a finite {name!r}, got "
            f"{len(records)} with {known}."
        )
    xs, ys = zip(*points, strict=True)
    return list(xs), list(ys)


def _check_positive(least: Mapping[str, float]) -> None:
    for name, value in least.items():
        if not value > 0:
            raise ValueError(
                f"log: expected values above 0 on a logarithmic axis, got {value} in "
                f"{name!r}."
            )
