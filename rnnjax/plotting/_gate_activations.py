"""`gate_activations`: how far each gate of each unit was open, step by step."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rnnjax.plotting._canvas import (
    check_labels,
    finish,
    label_ticks,
    new_figure,
    numbers,
)

_MOST_LABELS = 80


def gate_activations(
    gates: Mapping[str, Any],
    steps: Sequence[Any] | None = None,
    *,
    title: str = "",
    path: str | os.PathLike | None = None,
) -> Figure:
    """Draws gates and states as pictures one above another, time from left to right.

    What lies between 0 and 1 is drawn from white (closed) to dark (open). What has
    negative values is drawn from blue over white to red, alike far to both sides.

    Args:
      gates: by name, ``[T, H]`` of one sequence; all share ``T``.
      steps: names of the ``T`` steps, such as the characters that were read.
      title: above the picture.
      path: where to save the figure, as well.

    Returns:
      The figure, with one axes for each gate, in the order of ``gates``.

    Raises:
      ValueError: no gates; one that is not ``[T, H]`` or of another ``T``; another
        number of steps.
      TypeError: values that are not numbers.

    Example:
      >>> import numpy as np
      >>> from rnnjax import plotting
      >>> gates = {"update": np.full((5, 3), 0.5), "reset": np.zeros((5, 3))}
      >>> figure = plotting.gate_activations(gates, "hello")
      >>> [axes.get_ylabel() for axes in figure.axes[:2]]
      ['update', 'reset']
    """
    if not gates:
        raise ValueError("gates: expected at least one, got none.")
    arrays = {n: numbers(f"gates[{n!r}]", g, "[T, H]", 2) for n, g in gates.items()}
    length = len(next(iter(arrays.values())))
    for name, array in arrays.items():
        if len(array) != length:
            raise ValueError(
                f"gates[{name!r}]: expected {length} steps, as the first gate has, got "
                f"{len(array)}."
            )
    names = None if steps is None else check_labels("steps", steps, length, "step")
    width = float(np.clip(2.0 + 0.16 * length, 5.0, 13.0))
    figure = new_figure((width, 0.5 + 1.35 * len(arrays)))
    rows = figure.subplots(len(arrays), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, array) in zip(rows, arrays.items(), strict=True):
        signed = np.nanmin(array) < 0
        most = float(np.nanmax(np.abs(array)))
        image = axes.imshow(
            array.T,
            aspect="auto",
            interpolation="nearest",
            cmap="RdBu_r" if signed else "Greens",
            vmin=-max(1.0, most) if signed else 0,
            vmax=max(1.0, most),
        )
        axes.set_ylabel(name)
        axes.set_yticks([])
        bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.01)
        bar.ax.tick_params(labelsize=7)
    if names is None:
        rows[-1].set_xlabel("step")
    else:
        label_ticks(rows[-1].xaxis, names, _MOST_LABELS, rotate=True)
    rows[0].set_title(title, fontsize=10, loc="left")
    return finish(figure, path)
