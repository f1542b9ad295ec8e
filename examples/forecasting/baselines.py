"""Forecasts that learn nothing: of each horizon what was before."""

from __future__ import annotations

import numpy as np

from .config import Config


def naive_forecasts(
    config: Config, values: np.ndarray, firsts: np.ndarray
) -> dict[str, np.ndarray]:
    """The naive forecasts ``[T, B]``, by name.

    Args:
        config: the settings.
        values: the series.
        firsts: ``[B]``, the first step of each forecast; what stands there is unknown.
    """
    steps = firsts + np.arange(config.horizon)[:, None]
    last = np.broadcast_to(values[firsts - 1], steps.shape)
    week_ago = values[steps - config.week]
    return {
        "last value": last,
        "a day before": values[steps - config.day],
        "a week before": week_ago,
        # The difference from a week ago stays as it is now: no longer quite naive.
        "a week before, moved": week_ago + (last - values[firsts - 1 - config.week]),
    }
