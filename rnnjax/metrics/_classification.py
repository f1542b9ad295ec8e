"""Metrics of labels: accuracy, precision, recall, F1, the confusion matrix."""

from __future__ import annotations

from typing import Literal, TypeAlias

import jax.numpy as jnp
import numpy as np

from rnnjax._checks import check_flags, check_labels, positive
from rnnjax._compat import replicated_sharding
from rnnjax.base import Array
from rnnjax.metrics._metric import Metric
from rnnjax.metrics._sums import add, count, merge, to_float, to_integer

Average: TypeAlias = Literal["micro", "macro", "weighted"] | None


def accuracy() -> Metric:
    """The share of right labels.

    ``accuracy = sum_t mask_t [predictions_t = targets_t] / sum_t mask_t``

    Returns:
      A metric; ``update(state, predictions, targets, mask=None)`` takes int ``[...]``
      twice and a bool ``[...]``. Its value is NaN where nothing was scored.

    Example:
      >>> import jax.numpy as jnp, rnnjax.metrics as metrics
      >>> accuracy = metrics.accuracy()
      >>> logits, targets = jnp.eye(4), jnp.asarray([0, 1, 2, 0])
      >>> state = accuracy.update(accuracy.init(), logits.argmax(-1), targets)
      >>> float(accuracy.compute(state))
      0.75
    """

    def init():
        return {"right": count(), "count": count()}

    def update(state, predictions, targets, mask=None):
        predictions, targets, mask = _labels(predictions, targets, mask)
        right = (predictions == targets) & mask
        return {
            "right": add(state["right"], _number(right)),
            "count": add(state["count"], _number(mask)),
        }

    def compute(state):
        return to_float(state["right"]) / to_float(state["count"])

    return Metric(init, update, compute, merge)


def confusion_matrix(num_classes: int) -> Metric:
    """How often a target got a prediction.

    ``C_ij = sum_t mask_t [targets_t = i, predictions_t = j]``

    Args:
      num_classes: K, at most 46,340.

    Returns:
      A metric; ``update(state, predictions, targets, mask=None)`` takes int ``[...]``
      in ``[0, K)`` twice and a bool ``[...]``. Labels outside raise ValueError where
      they are concrete, and count nowhere under a trace. Its value is int32
      ``[K, K]``, with targets in rows, where entries stop at 2**31 - 1 (int64 under
      `jax.enable_x64`).

    Raises:
      ValueError: ``num_classes`` is not positive, or too many for int32.

    Example:
      >>> import jax.numpy as jnp, rnnjax.metrics as metrics
      >>> matrix = metrics.confusion_matrix(2)
      >>> predictions, targets = jnp.asarray([1, 1, 0]), jnp.asarray([1, 0, 0])
      >>> state = matrix.update(matrix.init(), predictions, targets)
      >>> matrix.compute(state).tolist()
      [[1, 1], [0, 1]]
    """
    size = positive("num_classes", num_classes)
    if size**2 > jnp.iinfo(jnp.int32).max:
        raise ValueError(f"num_classes: expected at most 46340, got {num_classes}.")

    def update(state, predictions, targets, mask=None):
        predictions, targets, mask = _labels(predictions, targets, mask, size)
        valid = mask & _inside(predictions, size) & _inside(targets, size)
        pairs = _histogram(targets * size + predictions, valid, size**2)
        return add(state, pairs.reshape(size, size))

    return Metric(lambda: count((size, size)), update, to_integer, merge)


def precision(
    num_classes: int, average: Average = "macro", zero_division: float = 0.0
) -> Metric:
    """Of those predicted to be of a class, the share that is.

    ``P_k = right_k / predicted_k``, and with n_k targets of class k
    "macro" is ``mean_k P_k``, "weighted" ``sum_k n_k P_k / sum_k n_k``, "micro"
    ``sum_k right_k / sum_k predicted_k``, which is the accuracy, and None all ``P_k``.

    Equal to ``sklearn.metrics.precision_score(..., labels=range(num_classes))``. So a
    class that is absent counts in "macro", with ``zero_division``.

    Args:
      num_classes: K.
      average: "micro", "macro", "weighted", or None for each class alone.
      zero_division: the value of 0 / 0; classes with NaN are left out of averages.

    Returns:
      A metric; ``update(state, predictions, targets, mask=None)`` takes int ``[...]``
      in ``[0, K)`` twice and a bool ``[...]``. Labels outside raise ValueError where
      they are concrete, and count nowhere under a trace. Its value is a number, or
      ``[K]`` for None.

    Raises:
      ValueError: an argument has no such value.

    Example:
      >>> import jax.numpy as jnp, rnnjax.metrics as metrics
      >>> precision = metrics.precision(2, average=None)
      >>> predictions, targets = jnp.asarray([1, 1, 0]), jnp.asarray([1, 0, 0])
      >>> state = precision.update(precision.init(), predictions, targets)
      >>> precision.compute(state).tolist()
      [1.0, 0.5]
    """

    def share(right, predicted, actual):
        return right, predicted

    return _per_class(share, num_classes, average, zero_division)


def recall(
    num_classes: int, average: Average = "macro", zero_division: float = 0.0
) -> Metric:
    """Of those of a class, the share that was predicted to be.

    ``R_k = right_k / n_k``; averages, arguments and the rest as for `precision`, equal
    to ``sklearn.metrics.recall_score(..., labels=range(num_classes))``.

    Args:
      num_classes: K.
      average: "micro", "macro", "weighted", or None for each class alone.
      zero_division: the value of 0 / 0; classes with NaN are left out of averages.

    Returns:
      A metric, as `precision`.

    Raises:
      ValueError: an argument has no such value.
    """

    def share(right, predicted, actual):
        return right, actual

    return _per_class(share, num_classes, average, zero_division)


def f1(
    num_classes: int, average: Average = "macro", zero_division: float = 0.0
) -> Metric:
    """The harmonic mean of precision and recall.

    ``F_k = 2 right_k / (predicted_k + n_k)``; averages, arguments and the rest as for
    `precision`, equal to ``sklearn.metrics.f1_score(..., labels=range(num_classes))``.

    Args:
      num_classes: K.
      average: "micro", "macro", "weighted", or None for each class alone.
      zero_division: the value of 0 / 0; classes with NaN are left out of averages.

    Returns:
      A metric, as `precision`.

    Raises:
      ValueError: an argument has no such value.
    """

    def share(right, predicted, actual):
        return 2 * right, predicted + actual

    return _per_class(share, num_classes, average, zero_division)


def _per_class(share, num_classes: int, average: Average, zero_division: float):
    """The metric ``numerator / denominator = share(right, predicted, actual)``."""
    size = positive("num_classes", num_classes)
    if average not in ("micro", "macro", "weighted", None):
        raise ValueError(
            f"average: expected 'micro', 'macro', 'weighted' or None, got {average!r}."
        )

    def init():
        return {name: count((size,)) for name in ("right", "predicted", "actual")}

    def update(state, predictions, targets, mask=None):
        predictions, targets, mask = _labels(predictions, targets, mask, size)
        of = {
            "right": (targets, mask & (predictions == targets)),
            "predicted": (predictions, mask),
            "actual": (targets, mask),
        }
        return {
            name: add(state[name], _histogram(labels, valid, size))
            for name, (labels, valid) in of.items()
        }

    def compute(state):
        counts = [to_float(state[name]) for name in ("right", "predicted", "actual")]
        weights = counts[2] if average == "weighted" else jnp.ones(size)
        if average == "micro":
            counts = [number.sum() for number in counts]
        numerator, denominator = share(*counts)
        empty = denominator == 0
        scores = numerator / jnp.where(empty, 1, denominator)
        scores = jnp.where(empty, zero_division, scores)
        if average in ("micro", None):
            return scores
        defined = ~jnp.isnan(scores)
        weights = jnp.where(defined, weights, 0)
        # As scikit-learn: where all weights are zero, the plain mean.
        weights = jnp.where(weights.sum() == 0, defined.astype(weights.dtype), weights)
        return jnp.where(defined, weights * scores, 0).sum() / weights.sum()

    return Metric(init, update, compute, merge)


def _labels(predictions, targets, mask, size: int | None = None):
    """The three as arrays of one shape, checked."""
    shape = np.shape(targets)
    mask = check_flags("mask", mask, shape)
    predictions = check_labels("predictions", predictions, shape, size, mask)
    targets = check_labels("targets", targets, shape, size, mask)
    return predictions, targets, jnp.ones(shape, bool) if mask is None else mask


def _inside(labels: Array, size: int) -> Array:
    return (labels >= 0) & (labels < size)


def _number(flags: Array) -> Array:
    return flags.sum(dtype=jnp.int32)


def _histogram(labels: Array, valid: Array, size: int) -> Array:
    """How often each label in ``[0, size)`` stands where ``valid`` is true."""
    labels = jnp.where(valid & _inside(labels, size), labels, size)
    zeros, whole = jnp.zeros(size, jnp.int32), replicated_sharding(labels)
    return zeros.at[labels].add(1, mode="drop", out_sharding=whole)
