"""`attention_alignment`: what was read when something was written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnjax.plotting._canvas import canvas, check_labels, finish, label_ticks, numbers

_MOST_LABELS = 60


def attention_alignment(
    weights: Any,
    sources: Sequence[Any],
    targets: Sequence[Any],
    *,
    title: str = "",
    axes: Axes | None = None,
    path: str | os.PathLike | None = None,
) -> Figure:
    """Draws attention weights, the source from left to right, the output downwards.

    Args:
      weights: ``[T, S]`` of one example, not negative: row t is how the memory was
        weighted at step t. Cut padding off.
      sources: names of the ``S`` things that were read.
      targets: names of the ``T`` things that were written.
      title: above the picture.
      axes: where to draw; None makes a new figure.
      path: where to save the figure, as well.

    Returns:
      The figure.

    Raises:
      ValueError: the weights are not ``[T, S]``, or negative or NaN; another number of
        sources or targets.
      TypeError: the weights are not numbers.

    Example:
      >>> from rnnjax import plotting
      >>> figure = plotting.attention_alignment([[0.9, 0.1], [0.2, 0.8]], "ab", "AB")
      >>> [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
      ['a', 'b']
    """
    weights = numbers("weights", weights, "[T, S] of one example", 2)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError("weights: expected 0 or more, got negative ones or NaN.")
    written, read = weights.shape
    source_names = check_labels("sources", sources, read, "column of weights")
    target_names = check_labels("targets", targets, written, "row of weights")
    width = float(np.clip(1.7 + 0.3 * read, 3.4, 12.0))
    height = float(np.clip(1.4 + 0.3 * written, 2.6, 12.0))
    figure, axes = canvas(axes, (width + 0.6, height))
    image = axes.imshow(
        weights, cmap="Greys", vmin=0, vmax=max(1.0, weights.max()), aspect="auto"
    )
    axes.xaxis.tick_top()
    label_ticks(axes.xaxis, source_names, _MOST_LABELS, rotate=True)
    label_ticks(axes.yaxis, target_names, _MOST_LABELS, rotate=False)
    axes.set_xticks(np.arange(read + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(written + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="gainsboro", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set(xlabel="source", ylabel="output")
    axes.xaxis.set_label_position("top")
    axes.set_title(title, fontsize=10, loc="left")
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.03)
    bar.set_label("attention weight")
    return finish(figure, path)
