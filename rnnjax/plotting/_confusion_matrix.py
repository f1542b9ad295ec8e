"""`confusion_matrix`: which class was taken for which."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnjax.plotting._canvas import canvas, check_labels, finish, label_ticks, numbers

# Counts are written into the cells of at most so many classes, names beside all.
_WITH_COUNTS = 20
_MOST_LABELS = 40


def confusion_matrix(
    matrix: Any,
    labels: Sequence[Any] | None = None,
    *,
    title: str = "",
    axes: Axes | None = None,
    path: str | os.PathLike | None = None,
) -> Figure:
    """Draws the table of true and predicted classes.

    A cell is as dark as the part of its row, ``m_ij / sum_j m_ij``, so rare classes are
    seen as well as frequent ones; what is written into it is the count ``m_ij``.

    Args:
      matrix: counts ``[C, C]``, rows true, columns predicted, as
        `rnnjax.metrics.confusion_matrix` gives it.
      labels: names of the classes; by default their numbers.
      title: above the picture.
      axes: where to draw; None makes a new figure.
      path: where to save the figure, as well.

    Returns:
      The figure.

    Raises:
      ValueError: the matrix is not square, or has negative or infinite counts; another
        number of labels.
      TypeError: the counts are not numbers.

    Example:
      >>> from rnnjax import plotting
      >>> figure = plotting.confusion_matrix([[9, 1], [2, 8]], ["no", "yes"])
      >>> [text.get_text() for text in figure.axes[0].texts]
      ['9', '1', '2', '8']
    """
    counts = numbers("matrix", matrix, "[C, C]", 2)
    if counts.shape[0] != counts.shape[1]:
        raise ValueError(f"matrix: expected [C, C], got shape {counts.shape}.")
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise ValueError("matrix: expected counts of 0 or more, got negative or NaN.")
    classes = len(counts)
    names = check_labels(
        "labels", range(classes) if labels is None else labels, classes, "class"
    )
    parts = counts / np.maximum(counts.sum(1, keepdims=True), 1e-300)
    side = float(np.clip(1.8 + 0.45 * classes, 3.6, 11.0))
    figure, axes = canvas(axes, (side + 0.9, side))
    image = axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    if classes <= _WITH_COUNTS:
        for (i, j), count in np.ndenumerate(counts):
            axes.text(
                j,
                i,
                f"{count:.0f}" if count == round(count) else f"{count:.2g}",
                ha="center",
                va="center",
                fontsize=9 if counts.max() < 10_000 else 7,
                color="white" if parts[i, j] > 0.55 else "black",
                alpha=1.0 if count else 0.35,
            )
    label_ticks(axes.xaxis, names, _MOST_LABELS, rotate=True)
    label_ticks(axes.yaxis, names, _MOST_LABELS, rotate=False)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(title, fontsize=10, loc="left")
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("part of the true class")
    bar.outline.set_visible(False)
    return finish(figure, path)
