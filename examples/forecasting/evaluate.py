"""Scores of forecasts: at each horizon, and of the intervals."""

from __future__ import annotations

import numpy as np

from rnnjax import metrics

from .model import LEVELS


def errors_by_horizon(forecasts: dict[str, np.ndarray], actual: np.ndarray) -> dict:
    """The mean absolute error at each step ahead, by the name of the forecast.

    Args:
        forecasts: ``[T, B]`` by name.
        actual: ``[T, B]``.
    """
    return {
        name: np.abs(values - actual).mean(axis=1) for name, values in forecasts.items()
    }


def totals(forecast: np.ndarray, actual: np.ndarray, scale: float) -> dict[str, float]:
    """MAE, RMSE, MAPE and MASE over all horizons.

    Args:
        forecast: ``[T, B]``.
        actual: ``[T, B]``.
        scale: the error that MASE divides by, of `rnnjax.metrics.seasonal_naive_error`.
    """
    scores = metrics.collect(
        {
            "mae": metrics.mae(),
            "rmse": metrics.rmse(),
            "mape": metrics.mape(),
            "mase": metrics.mase(scale),
        }
    )
    state = scores.update(scores.init(), np.float32(forecast), np.float32(actual))
    return {name: float(value) for name, value in scores.compute(state).items()}


def coverage(quantiles: np.ndarray, actual: np.ndarray) -> dict[str, list[float]]:
    """The share of values inside each interval, at each step ahead.

    Args:
        quantiles: ``[T, B, Q]``, in order.
        actual: ``[T, B]``.

    Returns:
        By the nominal share, such as ``"0.8"``, one number for each step ahead.
    """
    shares = {}
    for k in range(len(LEVELS) // 2):
        low, high = quantiles[..., k], quantiles[..., -1 - k]
        inside = (low <= actual) & (actual <= high)
        nominal = LEVELS[-1 - k] - LEVELS[k]
        shares[f"{nominal:g}"] = inside.mean(axis=1).tolist()
    return shares


def beaten_everywhere(errors: dict[str, np.ndarray], ours: str) -> dict[str, bool]:
    """Whether our error is below that of each other forecast at every horizon."""
    return {
        name: bool((errors[ours] < of_other).all())
        for name, of_other in errors.items()
        if name != ours
    }
