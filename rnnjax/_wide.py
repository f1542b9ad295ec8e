"""What sums up many small numbers is float32 at least, whatever is computed in."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from rnnjax.base import Array


def wide_type(dtype: Any) -> Any:
    """The type of what accumulates: float32 at least."""
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32


def product(x: Array, kernel: Any) -> Array:
    """``x @ kernel``, summed and left in float32 at least.

    Two arrays of bfloat16 some compilers multiply in bfloat16 throughout (XLA for CPUs
    as of jax 0.12): the gradient of a kernel, a sum over all steps and rows, was off
    by 15 % there.
    """
    if hasattr(kernel, "wide_product"):  # of `rnnjax.sharding.tensor_parallel`
        return kernel.wide_product(x)
    return jnp.matmul(x, kernel, preferred_element_type=wide_type(x.dtype))


def contract(subscripts: str, a: Array, b: Array) -> Array:
    """`jnp.einsum` of two arrays in their type, summed in float32 at least."""
    dtype = jnp.result_type(a, b)
    wide = wide_type(dtype)
    return jnp.einsum(subscripts, a, b, preferred_element_type=wide).astype(dtype)


def wide_sum(u: Array, z: Array) -> Array:
    """``u + z`` of a wide ``z``, rounded once, to the type of ``u``."""
    return (u.astype(z.dtype) + z).astype(u.dtype)


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
