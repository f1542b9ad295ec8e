"""Metrics of forecasts: MAE, RMSE, MAPE, MASE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from rnnjax._checks import check_predictions, positive
from rnnjax._compat import is_concrete
from rnnjax.base import Array
from rnnjax.metrics._metric import Metric
from rnnjax.metrics._sums import add, count, merge, sum_of_floats, to_float


def mae() -> Metric:
    """Mean absolute error.

    ``MAE = sum_t mask_t |predictions_t - targets_t| / sum_t mask_t``

    Returns:
      A metric; ``update(state, predictions, targets, mask=None)`` takes floats
      ``[...]`` twice, and a bool of their shape or without their last axis (the
      features). All numbers are averaged alike. Its value is NaN where nothing was
      scored.

    Example:
      >>> import jax.numpy as jnp, rnnjax.metrics as metrics
      >>> mae = metrics.mae()
      >>> predictions, targets = jnp.asarray([1.0, 5.0]), jnp.asarray([2.0, jnp.nan])
      >>> mask = ~jnp.isnan(targets)
      >>> float(mae.compute(mae.update(mae.init(), predictions, targets, mask)))
      1.0
    """
    return _of_mean(lambda prediction, target: jnp.abs(prediction - target))


def rmse() -> Metric:
    """Root of the mean squared error.

    ``RMSE = sqrt(sum_t mask_t (predictions_t - targets_t)**2 / sum_t mask_t)``

    Returns:
      A metric, updated as `mae`.
    """
    return _of_mean(lambda prediction, target: (prediction - target) ** 2, jnp.sqrt)


def mape() -> Metric:
    """Mean absolute error as a share of the target: 0.1 where it is 10 percent.

    ``MAPE = sum_t mask_t |predictions_t - targets_t| / |targets_t| / sum_t mask_t``

    As in scikit-learn, ``|targets_t|`` is at least 2**-52, so a target of zero gives an
    arbitrarily large number. See `mase` for series that pass through zero.

    Returns:
      A metric, updated as `mae`.
    """
    smallest = float(np.finfo(np.float64).eps)

    def error(prediction, target):
        return jnp.abs(prediction - target) / jnp.maximum(jnp.abs(target), smallest)

    return _of_mean(error)


def mase(scale: Any) -> Metric:
    """Mean absolute scaled error: below 1 where better than the naive forecast was.

    ``MASE = sum_t mask_t |predictions_t - targets_t| / scale / sum_t mask_t``

    Args:
      scale: the error of the naive forecast on the training series, from
        `seasonal_naive_error`; a number, or one for each series, of a shape that
        targets end in: ``[F]``, say, for ``[T, B, F]``.

    Returns:
      A metric, updated as `mae`.

    Raises:
      ValueError: the scale is not positive; from update, where its shape is not what
        the targets end in.

    Example:
      >>> import jax.numpy as jnp, rnnjax.metrics as metrics
      >>> training = jnp.asarray([1.0, 3.0, 2.0, 4.0, 3.0])
      >>> mase = metrics.mase(metrics.seasonal_naive_error(training))
      >>> state = mase.update(mase.init(), jnp.asarray([4.0]), jnp.asarray([7.0]))
      >>> float(mase.compute(state))
      2.0

    References: Hyndman and Koehler, "Another Look at Measures of Forecast Accuracy",
    International Journal of Forecasting 2006.
    """
    scale = jnp.asarray(scale)
    if is_concrete(scale) and not np.all(np.asarray(scale) > 0):
        raise ValueError(
            f"scale: expected positive numbers, got {scale}. A constant training "
            f"series has no scale; use mae()."
        )

    def error(prediction, target):
        if scale.shape != target.shape[target.ndim - scale.ndim :]:
            raise ValueError(
                f"scale: expected the last axes of targets {target.shape}, got "
                f"{scale.shape}."
            )
        difference = jnp.abs(prediction - target)
        return difference / jnp.broadcast_to(scale, target.shape).astype(target.dtype)

    return _of_mean(error)


def seasonal_naive_error(series: Any, season: int = 1) -> Array:
    """Mean absolute error of the forecast ``series[t - season]``: the scale of `mase`.

    ``scale = mean_t |series_t - series_{t-season}|``

    Args:
      series: the training series ``[T, ...]``, without the time that is forecast.
      season: steps in a period; 1 is the forecast "as the last".

    Returns:
      ``[...]``, the mean over time.

    Raises:
      ValueError: the series is not longer than the season.
    """
    series, season = jnp.asarray(series), positive("season", season)
    if series.ndim == 0 or len(series) <= season:
        raise ValueError(
            f"series: expected more than season = {season} steps, got shape "
            f"{series.shape}."
        )
    return jnp.abs(series[season:] - series[:-season]).mean(0)


def _of_mean(
    error: Callable[[Array, Array], Array],
    value: Callable[[Array], Array] = lambda mean: mean,
) -> Metric:
    def init():
        return {"error": sum_of_floats(), "count": count()}

    def update(state, predictions, targets, mask=None):
        predictions, targets, mask = check_predictions(predictions, targets, mask)
        errors = jnp.where(mask, error(predictions, targets), 0)
        return {
            "error": add(state["error"], errors.sum()),
            "count": add(state["count"], mask.sum(dtype=jnp.int32)),
        }

    def compute(state):
        return value(to_float(state["error"]) / to_float(state["count"]))

    return Metric(init, update, compute, merge)
