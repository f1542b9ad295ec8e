"""Layer normalisation, as a function: for cells (inside) and layers (outside)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from rnnjax.base import Array


def normalise(x: Array, scale: Array, eps: float = 1e-6) -> Array:
    """``scale * (x - mean(x)) / sqrt(var(x) + eps)`` over the last axis, in float32.

    Reference: Ba, Kiros and Hinton, "Layer Normalization", 2016.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    centred = wide - wide.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    normal = centred * lax.rsqrt(variance + eps)
    return (normal * jnp.broadcast_to(scale, normal.shape)).astype(x.dtype)


def normalise_groups(x: Array, scale: Array, sizes: tuple[int, ...]) -> Array:
    """`normalise` of consecutive groups of the last axis, each by itself."""
    parts, start = [], 0
    for size in sizes:
        group = slice(start, start + size)
        parts.append(normalise(x[..., group], scale[group]))
        start += size
    return jnp.concatenate(parts, -1)
