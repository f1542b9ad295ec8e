"""Where pictures are drawn: new figures, colours, labels of many steps, files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito: told apart also by the colour-blind, and when printed in grey.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")

_DOTS_PER_INCH = 120


def canvas(axes: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """The figure and the axes to draw in: the given ones, or new ones of a size."""
    if axes is None:
        axes = new_figure(size).subplots()
    elif not isinstance(axes, Axes):
        raise TypeError(
            f"axes: expected matplotlib Axes, got {type(axes).__name__}. Take one of "
            f"figure.subplots()."
        )
    figure = axes.figure
    while not isinstance(figure, Figure):  # axes of a subfigure
        figure = figure.figure
    return figure, axes


def new_figure(size: tuple[float, float]) -> Figure:
    """A figure that pyplot does not know of, so that nobody has to close it."""
    return Figure(figsize=size, dpi=_DOTS_PER_INCH, layout="constrained")


def finish(figure: Figure, path: str | os.PathLike | None) -> Figure:
    """Saves the figure where a path is given, and returns it."""
    if path is not None:
        figure.savefig(path)
    return figure


def clear_spines(axes: Axes) -> None:
    """Leaves the left and the lower edge alone."""
    axes.spines[["top", "right"]].set_visible(False)


def numbers(name: str, value: Any, shape: str, ndim: int) -> np.ndarray:
    """``value`` as real numbers of ``ndim`` axes, none of them empty."""
    array = np.asarray(value)
    if array.ndim != ndim or not array.size:
        raise ValueError(
            f"{name}: expected {shape}, none of them 0, got shape {array.shape}."
        )
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool) or (
        np.iscomplexobj(array)
    ):
        raise TypeError(f"{name}: expected real numbers, got {array.dtype}.")
    return array.astype(np.float64)


def check_labels(name: str, labels: Sequence[Any], count: int, what: str) -> list[str]:
    """The labels as strings, one for each of ``count`` things."""
    texts = [str(label) for label in labels]
    if len(texts) != count:
        raise ValueError(
            f"{name}: expected {count} labels, one for each {what}, got {len(texts)}."
        )
    return texts


def label_ticks(axis: Any, labels: Sequence[str], most: int, rotate: bool) -> None:
    """Labels the places 0, 1, ...; of more than ``most``, every second, third, ..."""
    every = -(-len(labels) // most)
    places = list(range(0, len(labels), every))
    axis.set_ticks(places, [labels[i] for i in places])
    longest = max(map(len, labels))
    if rotate and (longest > 6 or (longest > 2 and len(labels) > 8)):
        for tick in axis.get_ticklabels():
            tick.set(rotation=90)
