"""What sums up many small numbers is float32 at least, whatever is computed in."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from rnnjax.base import Array


def wide_type(dtype: Any) -> Any:
    """The type of what accumulates: float32 at least."""
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32


def add_bias(z: Array, bias: Array | None) -> Array:
    """``z + bias`` over the leading axes of ``z``, in its type; no bias for None.

    The sum is wide, and with it that of the gradient of the bias over all steps and
    rows: in bfloat16 it would stand still at 256 times what is added.
    """
    if bias is None:
        return z
    dtype = wide_type(z.dtype)
    added = jnp.broadcast_to(bias.astype(dtype), z.shape)
    return (z.astype(dtype) + added).astype(z.dtype)
