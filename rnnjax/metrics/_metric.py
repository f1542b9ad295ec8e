"""What a metric is: four pure functions over sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rnnjax.base import PyTree


class Metric(NamedTuple):
    """A number over a whole data set, accumulated batch by batch.

    ``compute(update(update(init(), *batch_1), *batch_2))`` is the metric of both
    batches together, and so is
    ``compute(merge(update(init(), *batch_1), update(init(), *batch_2)))``.

    On a device (all but the text metrics) a state holds sums only: arrays of fixed
    shape and dtype, which go through `jit`, `vmap` and `lax.scan`. So whatever adds up
    states merges them: ``lax.psum(state, axis)`` across devices, and
    ``jax.tree.map(lambda s: s.sum(0), states)`` for up to 32,767 of them stacked along
    a leading axis. Merge each batch once: not a state that was merged before.

    Counts are exact up to 2**47, in two int32. Sums of floats carry their rounding
    errors along (Knuth's two-sum), so that small batches add to large totals; within a
    batch they are summed in float32, or float64 under `jax.enable_x64`.

    Attributes:
      init: ``() -> state``, of nothing.
      update: ``(state, predictions, targets, mask=None) -> state``. Where the mask is
        false nothing counts, whatever stands there, NaN included.
      compute: ``state -> value``.
      merge: ``(state, state) -> state``.

    References: Knuth, "The Art of Computer Programming", vol. 2, section 4.2.2.
    """

    init: Callable[[], PyTree]
    update: Callable[..., PyTree]
    compute: Callable[[PyTree], Any]
    merge: Callable[[PyTree, PyTree], PyTree]


def collect(metrics: Mapping[str, Metric]) -> Metric:
    """Several metrics of the same predictions as one.

    Args:
      metrics: by name. They are given the same arguments.

    Returns:
      A metric whose state and value are dicts with these names.

    Example:
      >>> import jax.numpy as jnp, rnnjax.metrics as metrics
      >>> both = metrics.collect({"mae": metrics.mae(), "rmse": metrics.rmse()})
      >>> state = both.update(both.init(), jnp.ones(4), jnp.zeros(4))
      >>> {name: float(value) for name, value in both.compute(state).items()}
      {'mae': 1.0, 'rmse': 1.0}
    """
    parts = dict(metrics)

    def init():
        return {name: part.init() for name, part in parts.items()}

    def update(state, *args, **kwargs):
        return {
            name: part.update(state[name], *args, **kwargs)
            for name, part in parts.items()
        }

    def compute(state):
        return {name: part.compute(state[name]) for name, part in parts.items()}

    def merge(state, other):
        return {n: part.merge(state[n], other[n]) for n, part in parts.items()}

    return Metric(init, update, compute, merge)
