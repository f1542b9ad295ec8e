"""`forecast`: what was known, what was foretold, how sure, and what came."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnjax.plotting._canvas import COLORS, canvas, clear_spines, finish, numbers


def forecast(
    past: Any,
    quantiles: Any,
    *,
    levels: Sequence[float],
    actual: Any = None,
    baselines: Mapping[str, Any] | None = None,
    step: float = 1.0,
    x_label: str = "steps ahead",
    y_label: str = "",
    title: str = "",
    axes: Axes | None = None,
    path: str | os.PathLike | None = None,
) -> Figure:
    """Draws a forecast as quantiles: bands around a line, after what was known.

    Levels that lie alike far from a half, such as 0.1 and 0.9, bound a band.

    Args:
      past: ``[P]``, the values before the forecast, the last one at time 0.
      quantiles: ``[T, Q]``, for each step ahead one value for each level.
      levels: ``Q`` rising numbers in ``(0, 1)``, the level 0.5 among them.
      actual: ``[T]``, what came.
      baselines: other forecasts ``[T]``, by name.
      step: from one value to the next on the horizontal axis: 0.5 for half-hours on an
        axis of hours.
      x_label: of the horizontal axis.
      y_label: of the vertical axis.
      title: above the picture.
      axes: where to draw; None makes a new figure.
      path: where to save the figure, as well.

    Returns:
      The figure.

    Raises:
      ValueError: shapes that do not fit; levels that do not rise, are not symmetric
        around 0.5, or lack it.
      TypeError: values that are not numbers.

    Example:
      >>> import numpy as np
      >>> from rnnjax import plotting
      >>> past, middle = np.sin(np.arange(24.0)), np.sin(np.arange(24.0, 36.0))
      >>> quantiles = middle[:, None] + np.array([-0.3, 0.0, 0.3])
      >>> figure = plotting.forecast(past, quantiles, levels=(0.1, 0.5, 0.9))
      >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
      ['known', '80 % interval', 'forecast (median)']
    """
    past = numbers("past", past, "[P]", 1)
    quantiles = numbers("quantiles", quantiles, "[T, Q]", 2)
    middle = _middle(levels, quantiles.shape[1])
    ahead = len(quantiles)
    others = {"actual": actual} if actual is not None else {}
    series = {**others, **(baselines or {})}
    for name, values in series.items():
        if np.shape(values) != (ahead,):
            raise ValueError(
                f"{name}: expected shape ({ahead},), a value for each step of the "
                f"quantiles, got {np.shape(values)}."
            )
    figure, axes = canvas(axes, (8.6, 3.9))
    before = step * np.arange(1 - len(past), 1)
    after = step * np.arange(1, ahead + 1)
    axes.plot(before, past, color="black", linewidth=1.2, label="known")
    for k in range(middle):
        axes.fill_between(
            after,
            quantiles[:, k],
            quantiles[:, -1 - k],
            color=COLORS[0],
            alpha=0.18 + 0.14 * k,
            linewidth=0,
            label=f"{100 * (levels[-1 - k] - levels[k]):.3g} % interval",
        )
    axes.plot(
        after, quantiles[:, middle], color=COLORS[0], lw=1.8, label="forecast (median)"
    )
    for i, (name, values) in enumerate((baselines or {}).items()):
        color = COLORS[2 + i % (len(COLORS) - 2)]
        axes.plot(after, values, color=color, lw=1.1, linestyle="--", label=name)
    if actual is not None:
        axes.plot(after, actual, color=COLORS[1], lw=1.4, label="what came")
    axes.axvline(0, color="gray", linewidth=0.8)
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.margins(x=0.01)
    axes.grid(alpha=0.25)
    axes.legend(
        fontsize=8,
        framealpha=0.9,
        edgecolor="none",
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
    )
    axes.set_title(title, fontsize=10, loc="left")
    clear_spines(axes)
    return finish(figure, path)


def _middle(levels: Sequence[float], count: int) -> int:
    """The place of the level 0.5, after checking all."""
    values = np.asarray(levels, np.float64)
    if values.shape != (count,):
        raise ValueError(
            f"levels: expected {count}, one for each column of quantiles, got "
            f"{len(levels)}."
        )
    symmetric = np.allclose(values + values[::-1], 1)
    inside = (values > 0).all() and (np.diff(values) > 0).all()
    if not (symmetric and inside and count % 2):
        raise ValueError(
            f"levels: expected rising numbers in (0, 1), symmetric around 0.5, itself "
            f"one of them, such as (0.1, 0.5, 0.9); got {tuple(levels)}."
        )
    return count // 2
