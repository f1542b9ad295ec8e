"""Flags over time: what stood at the step before, padding left out."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from rnnjax.base import Array


def at_previous(
    flags: Array, mask: Array | None, outside: Array | bool = False
) -> tuple[Array, Array]:
    """At each step, the flag of the last valid step before it.

    Args:
      flags: bool ``[T, *batch]``.
      mask: bool ``[T, *batch]``, the valid steps; None is all of them.
      outside: bool ``[*batch]``, the answer where there is no valid step before.

    Returns:
      ``[T, *batch]``, and the answer after the last step, ``[*batch]``.
    """
    if not flags.shape[0]:
        return flags, jnp.broadcast_to(outside, flags.shape[1:])
    # The largest code seen so far is that of the last valid step; its lowest bit is
    # the flag.
    code = 2 * time_of(flags) + flags
    seen = lax.cummax(code if mask is None else jnp.where(mask, code, -1), axis=0)
    before = jnp.concatenate([jnp.full_like(seen[:1], -1), seen[:-1]])
    outside = jnp.broadcast_to(outside, flags.shape[1:])

    def flag(code, outside):
        return ((code >= 0) & (code % 2 == 1)) | ((code < 0) & outside)

    return flag(before, outside[None]), flag(seen[-1], outside)


def at_next(flags: Array, mask: Array | None) -> Array:
    """At each step, the flag of the first valid step after it; False for none."""
    flipped, _ = at_previous(flags[::-1], None if mask is None else mask[::-1])
    return flipped[::-1]


def time_of(flags: Array) -> Array:
    """``t`` at every place of ``[T, *batch]``; int32."""
    time = lax.iota(jnp.int32, flags.shape[0])
    time = time.reshape(flags.shape[:1] + (1,) * (flags.ndim - 1))
    return time + jnp.zeros_like(flags, jnp.int32)  # sharded as the flags
