"""Metrics of language models: perplexity, bits per character."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from rnnjax._checks import check_flags, check_labels, check_logits
from rnnjax.base import Array
from rnnjax.metrics._metric import Metric
from rnnjax.metrics._sums import add, count, merge, sum_of_floats, to_float


def perplexity() -> Metric:
    """How many tokens the model hesitates between, on average.

    ``perplexity = exp(sum_t mask_t nats_t / sum_t mask_t)``,
    ``nats_t = log sum_v exp(logits_tv) - logits_t[targets_t]``

    Returns:
      A metric; ``update(state, logits, targets, mask=None)`` takes floats ``[..., V]``,
      int ``[...]`` in ``[0, V)`` and bool ``[...]``. Its value is NaN where nothing was
      scored.

    Example:
      >>> import jax.numpy as jnp, rnnjax.metrics as metrics
      >>> perplexity = metrics.perplexity()
      >>> logits, targets = jnp.zeros((5, 2, 8)), jnp.zeros((5, 2), int)
      >>> state = perplexity.update(perplexity.init(), logits, targets)
      >>> round(float(perplexity.compute(state)), 4)
      8.0
    """
    return _of_mean_nats(jnp.exp)


def bits_per_character() -> Metric:
    """The cross-entropy in bits per token: per character where tokens are characters.

    ``bits = sum_t mask_t nats_t / (log(2) sum_t mask_t)``, the logarithm of the
    perplexity to the base 2.

    Returns:
      A metric, updated as `perplexity`.
    """
    return _of_mean_nats(lambda nats: nats / math.log(2))


def _of_mean_nats(value: Callable[[Array], Array]) -> Metric:
    def init():
        return {"nats": sum_of_floats(), "count": count()}

    def update(state, logits, targets, mask=None):
        logits = check_logits("logits", logits)
        shape, size = logits.shape[:-1], logits.shape[-1]
        mask = check_flags("mask", mask, shape)
        targets = check_labels("targets", targets, shape, size, mask)
        mask = jnp.ones(shape, bool) if mask is None else mask
        # Under a trace nothing could be checked: NaN, rather than the last class.
        targets = jnp.where(targets < 0, size, targets)
        of_targets = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
        nats = jax.nn.logsumexp(logits, axis=-1) - of_targets
        return {
            "nats": add(state["nats"], jnp.where(mask, nats, 0).sum()),
            "count": add(state["count"], mask.sum(dtype=jnp.int32)),
        }

    def compute(state):
        return value(to_float(state["nats"]) / to_float(state["count"]))

    return Metric(init, update, compute, merge)
