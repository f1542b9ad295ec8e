"""The softmax over valid positions, and the mean that it weighs."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from rnnjax._wide import contract
from rnnjax.base import Array


def masked_softmax(scores: Array, mask: Array | None = None) -> Array:
    """``a_s = exp(e_s) / sum_s' exp(e_s')`` over the positions that the mask allows.

    Args:
      scores: ``[..., S]``; finite where the mask is true.
      mask: bool of the same shape; None is true everywhere.

    Returns:
      Weights ``[..., S]``, computed in float32 at least: zero at masked positions, and
      all zero where everything is masked or ``S`` is 0. Their gradients are finite.

    Example:
      >>> import jax.numpy as jnp
      >>> from rnnjax import attention
      >>> mask = jnp.array([[True, True, False], [False, False, False]])
      >>> attention.masked_softmax(jnp.zeros((2, 3)), mask).tolist()
      [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    """
    if not scores.shape[-1]:
        return scores
    e = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    if mask is not None:
        e = jnp.where(mask, e, jnp.finfo(e.dtype).min)
    e = jnp.exp(e - lax.stop_gradient(jnp.max(e, axis=-1, keepdims=True)))
    if mask is not None:
        e = jnp.where(mask, e, 0)
    total = jnp.sum(e, axis=-1, keepdims=True)
    return (e / jnp.where(total > 0, total, 1)).astype(scores.dtype)


def context_of(weights: Array, values: Array) -> Array:
    """``c = sum_s a_s v_s``: ``[..., S]`` and ``[..., S, V]`` to ``[..., V]``."""
    return contract("...s,...sv->...v", weights, values)
