"""Losses of sequences of real numbers: squared, absolute, Huber, quantile."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import optax

from rnnjax._checks import check_predictions
from rnnjax.base import Array


def mean_squared_error(
    predictions: Array, targets: Array, mask: Array | None = None
) -> tuple[Array, dict[str, Array]]:
    """Mean of the squared errors, where the mask is true.

    ``loss = sum_t mask_t (predictions_t - targets_t)**2 / count``,
    ``count = sum_t mask_t``

    Args:
      predictions: floats ``[...]``, ``[T, *batch, F]`` for example.
      targets: floats ``[...]``.
      mask: bool ``[...]``, or without the last axis: ``[T, *batch]``; None is true
        everywhere. What stands in masked places, NaN included, does not matter.

    Returns:
      The loss, float32 at least (0 where all is masked), and the metric "count", of
      numbers, by which `rnnjax.training.evaluate` weighs it.

    Raises:
      ValueError: the shapes do not fit.
      TypeError: the numbers are not real, or the mask is not bool.

    Example:
      >>> import jax.numpy as jnp, rnnjax.losses as losses
      >>> predictions, targets = jnp.asarray([1.0, 5.0]), jnp.asarray([3.0, jnp.nan])
      >>> mask = ~jnp.isnan(targets)
      >>> loss, metrics = losses.mean_squared_error(predictions, targets, mask)
      >>> float(loss), int(metrics["count"])
      (4.0, 1)
    """
    predictions, targets, mask = check_predictions(predictions, targets, mask)
    return _mean(optax.squared_error(predictions, targets), mask)


def mean_absolute_error(
    predictions: Array, targets: Array, mask: Array | None = None
) -> tuple[Array, dict[str, Array]]:
    """Mean of the absolute errors, where the mask is true.

    ``loss = sum_t mask_t |predictions_t - targets_t| / count``; its gradient where an
    error is 0 is 0.

    Args:
      predictions: floats ``[...]``.
      targets: floats ``[...]``.
      mask: as for `mean_squared_error`.

    Returns:
      The loss and "count", as `mean_squared_error`.

    Raises:
      ValueError: the shapes do not fit.
      TypeError: the numbers are not real, or the mask is not bool.
    """
    predictions, targets, mask = check_predictions(predictions, targets, mask)
    return _mean(jnp.abs(predictions - targets), mask)


def huber(
    predictions: Array,
    targets: Array,
    mask: Array | None = None,
    *,
    delta: float = 1.0,
) -> tuple[Array, dict[str, Array]]:
    """Mean of errors e that are squared when small and absolute when large.

    ``loss = sum_t mask_t l(e_t) / count``, where ``l(e) = e**2 / 2`` for
    ``|e| <= delta``, else ``delta (|e| - delta / 2)``

    Args:
      predictions: floats ``[...]``.
      targets: floats ``[...]``.
      mask: as for `mean_squared_error`.
      delta: where the two pieces meet, positive.

    Returns:
      The loss and "count", as `mean_squared_error`.

    Raises:
      ValueError: the shapes do not fit, or delta is not positive.
      TypeError: the numbers are not real, or the mask is not bool.

    References: Huber, "Robust Estimation of a Location Parameter", Annals of
    Mathematical Statistics 1964.
    """
    if not delta > 0:
        raise ValueError(f"delta: expected a positive number, got {delta}.")
    predictions, targets, mask = check_predictions(predictions, targets, mask)
    return _mean(optax.huber_loss(predictions, targets, delta=delta), mask)


def quantile(
    predictions: Array,
    targets: Array,
    mask: Array | None = None,
    *,
    levels: Sequence[float],
) -> tuple[Array, dict[str, Array]]:
    """Mean pinball loss of forecast quantiles, where the mask is true.

    ``loss = sum_t mask_t mean_k max(q_k e_tk, (q_k - 1) e_tk) / count`` with
    ``e_tk = targets_t - predictions_tk``: it is least where predictions_tk is the
    q_k-quantile of the target. The median alone is half the absolute error.

    Args:
      predictions: floats ``[..., K]``, a forecast for each level.
      targets: floats ``[...]``.
      mask: as for `mean_squared_error`, of the shape of the targets or without their
        last axis.
      levels: K of them, each between 0 and 1.

    Returns:
      The loss and "count", of targets, as `mean_squared_error`.

    Raises:
      ValueError: the shapes do not fit, or a level is not between 0 and 1.
      TypeError: the numbers are not real, or the mask is not bool.

    Example:
      >>> import jax.numpy as jnp, rnnjax.losses as losses
      >>> predictions, targets = jnp.asarray([[1.0, 2.0, 4.0]]), jnp.asarray([3.0])
      >>> loss, _ = losses.quantile(predictions, targets, levels=(0.25, 0.5, 0.75))
      >>> round(float(loss), 4)                            # (0.5 + 0.5 + 0.25) / 3
      0.4167

    References: Koenker and Bassett, "Regression Quantiles", Econometrica 1978.
    """
    q = np.asarray(levels, np.float64)
    if q.ndim != 1 or q.size == 0 or not np.all((q > 0) & (q < 1)):
        raise ValueError(f"levels: expected numbers between 0 and 1, got {levels}.")
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    if predictions.shape != (*targets.shape, q.size):
        raise ValueError(
            f"predictions: expected shape {(*targets.shape, q.size)}, that of targets "
            f"and one for each level, got {predictions.shape}."
        )
    _, targets, mask = check_predictions(targets, targets, mask)
    targets = jnp.broadcast_to(targets[..., None], predictions.shape)
    predictions, targets, _ = check_predictions(predictions, targets, mask)
    error = targets - predictions
    q = jnp.broadcast_to(jnp.asarray(q, error.dtype), error.shape)
    return _mean(jnp.maximum(q * error, (q - 1) * error).mean(-1), mask)


def _mean(errors: Array, mask: Array) -> tuple[Array, dict[str, Array]]:
    """The errors are finite everywhere: `check_predictions` put zeros into padding."""
    count = mask.sum()
    total = jnp.where(mask, errors, 0).sum()
    return total / jnp.maximum(count, 1).astype(total.dtype), {"count": count}
