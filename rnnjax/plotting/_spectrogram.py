"""`spectrogram`: what was heard, over it what was understood."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnjax.plotting._canvas import canvas, finish, numbers

_FREQUENCY_TICKS = 6


def spectrogram(
    features: Any,
    *,
    frame_seconds: float,
    frequencies: Any = None,
    transcript: str = "",
    labels: Sequence[tuple[int, str]] = (),
    axes: Axes | None = None,
    path: str | os.PathLike | None = None,
) -> Figure:
    """Draws a spectrogram with its transcript, and the labels where they were heard.

    Args:
      features: ``[T, F]`` of one utterance, such as logarithms of mel energies, the
        lowest frequency first.
      frame_seconds: time from one frame to the next.
      frequencies: in Hz, of the ``F`` channels; by default channels are numbered.
      transcript: above the picture.
      labels: pairs ``(frame, text)``, such as the frames in which a network trained by
        CTC emits a character; a blank ``" "`` is drawn as an open box.
      axes: where to draw; None makes a new figure.
      path: where to save the figure, as well.

    Returns:
      The figure.

    Raises:
      ValueError: the features are not ``[T, F]``; another number of frequencies; a
        frame outside the utterance; ``frame_seconds`` not above 0.
      TypeError: the features are not numbers.

    Example:
      >>> import numpy as np
      >>> from rnnjax import plotting
      >>> features = np.random.default_rng(0).normal(size=(100, 40))
      >>> figure = plotting.spectrogram(
      ...     features, frame_seconds=0.01, labels=[(20, "h"), (60, "i")]
      ... )
      >>> [text.get_text() for text in figure.axes[0].texts]
      ['h', 'i']
    """
    features = numbers("features", features, "[T, F] of one utterance", 2)
    if not frame_seconds > 0:
        raise ValueError(
            f"frame_seconds: expected a time above 0, got {frame_seconds!r}."
        )
    length, channels = features.shape
    seconds = length * frame_seconds
    figure, axes = canvas(axes, (float(np.clip(2.5 * seconds, 5.0, 13.0)), 3.4))
    low, high = np.nanpercentile(features, [5, 99.5])
    image = axes.imshow(
        features.T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=low,
        vmax=high,
        extent=(0, seconds, -0.5, channels - 0.5),
        interpolation="nearest",
    )
    if frequencies is None:
        axes.set_ylabel("channel")
    else:
        _frequency_ticks(axes, frequencies, channels)
    for frame, text in labels:
        if not 0 <= frame < length:
            raise ValueError(
                f"labels: expected frames from 0 to {length - 1}, got {frame}."
            )
        _draw_label(axes, (frame + 0.5) * frame_seconds, text)
    axes.set_xlabel("seconds")
    axes.set_title(
        transcript, fontsize=11, loc="left", pad=22 if labels else 6, wrap=True
    )
    figure.colorbar(image, ax=axes, fraction=0.03, pad=0.015).set_label("energy (log)")
    return finish(figure, path)


def _frequency_ticks(axes: Axes, frequencies: Any, channels: int) -> None:
    hertz = numbers("frequencies", frequencies, "[F]", 1)
    if len(hertz) != channels:
        raise ValueError(
            f"frequencies: expected {channels}, one for each channel, got {len(hertz)}."
        )
    places = np.linspace(0, channels - 1, min(_FREQUENCY_TICKS, channels)).round()
    axes.set_yticks(places, [f"{hertz[int(i)]:.0f}" for i in places])
    axes.set_ylabel("Hz")


def _draw_label(axes: Axes, seconds: float, text: str) -> None:
    """A line into the picture, the text on top of it."""
    axes.axvline(seconds, color="white", linewidth=0.5, alpha=0.45)
    axes.annotate(
        "\N{OPEN BOX}" if text == " " else text,
        xy=(seconds, 1.0),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=9,
        color="gray" if text == " " else "black",
    )
