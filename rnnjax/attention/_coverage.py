"""The loss that goes with coverage: what was read is not to be read again."""

from __future__ import annotations

import jax.numpy as jnp

from rnnjax.base import Array


def coverage_loss(weights: Array) -> Array:
    """``l_t = sum_s min(a_ts, sum_{t' < t} a_t's)`` at every step.

    Args:
      weights: ``[T, *batch, S]``, as an `attentive` cell with ``return_weights`` gives
        them; zero at masked steps, which then cost nothing.

    Returns:
      ``[T, *batch]``.

    Example:
      >>> import jax.numpy as jnp
      >>> from rnnjax import attention
      >>> attention.coverage_loss(jnp.array([[1.0, 0.0], [0.25, 0.75]])).tolist()
      [0.0, 0.25]

    Reference: See, Liu and Manning, "Get To The Point", ACL 2017.
    """
    before = jnp.cumsum(weights, axis=0) - weights
    return jnp.sum(jnp.minimum(weights, before), axis=-1)
