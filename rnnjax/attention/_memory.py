"""The memory that is attended to: projected once a sequence, padding taken out."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from rnnjax._checks import check_flags, describe, mask_of_lengths
from rnnjax._wide import add_bias, product
from rnnjax.base import Array, Params


class Memory(NamedTuple):
    """A memory as the scores want it; made by `remember` or `bind`.

    The batch leads here, so that a step's products are over contiguous positions.

    Attributes:
      keys: ``[*batch, S, K]``, what a query is compared with.
      values: ``[*batch, S, V]``, what the context is made of.
      mask: bool ``[*batch, S]``, the valid positions; None is all of them.
    """

    keys: Array
    values: Array
    mask: Array | None


def remember(
    params: Params, memory: Any, *, lengths: Any = None, mask: Any = None
) -> Memory:
    """Projects a memory to keys and values, once for all queries of a sequence.

    ``k_s = m_s W_k + b_k``, ``v_s = m_s W_v + b_v``

    Args:
      params: of an `Attention`. ``params["key"]`` and ``params["value"]`` hold
        ``kernel`` and perhaps ``bias``; where one is missing, the memory itself is
        taken.
      memory: ``[S, *batch, M]``, mostly the outputs of an encoder.
      lengths: int ``[*batch]``, the number of valid positions.
      mask: bool ``[S, *batch]``, the valid positions; give one or the other. What
        stands at the others, NaN included, reaches no context and no gradient.

    Returns:
      A `Memory`.

    Raises:
      TypeError: the memory is no floating point array; flags of the wrong dtype.
      ValueError: no position axis; flags of the wrong shape; both flags; another size
        ``M`` than at init.
    """
    memory = jnp.asarray(memory)
    if memory.ndim < 2:
        raise ValueError(
            f"memory: expected [S, *batch, M], got {describe(memory)}. It needs an "
            f"axis of positions in front, as the outputs of `unroll` have."
        )
    if not jnp.issubdtype(memory.dtype, jnp.floating):
        raise TypeError(f"memory: expected floating point, got {describe(memory)}.")
    if lengths is not None and mask is not None:
        raise ValueError(
            "mask and lengths: expected one of them at most, got both. lengths is the "
            "mask s < lengths; combine the two into mask."
        )
    length, *batch = memory.shape[:-1]
    mask = check_flags("mask", mask, (length, *batch))
    if lengths is not None:
        mask = mask_of_lengths(lengths, length, tuple(batch))
    if mask is not None:
        memory = jnp.where(mask[..., None], memory, jnp.zeros_like(memory))
        mask = jnp.moveaxis(mask, 0, -1)
    memory = jnp.moveaxis(memory, 0, -2)
    keys, values = (affine(params.get(name), memory) for name in ("key", "value"))
    return Memory(keys, values, mask)


def affine(params: Params | None, x: Array) -> Array:
    """``x W + b`` in the type of ``x``; without a bias or parameters where none are."""
    if params is None:
        return x
    kernel = params["kernel"].astype(x.dtype)
    if x.shape[-1] != kernel.shape[0]:
        raise ValueError(
            f"attention: expected {kernel.shape[0]} features on the last axis, as at "
            f"init, got {describe(x)}."
        )
    return add_bias(product(x, kernel), params.get("bias")).astype(x.dtype)


def check_query(query: Any, memory: Memory) -> Array:
    """``query`` as an array in the type of the memory, one for each row of it."""
    query = jnp.asarray(query)
    if query.shape[:-1] != memory.keys.shape[:-2]:
        raise ValueError(
            f"query: expected [*batch, Q] with the batch axes of the memory, "
            f"{memory.keys.shape[:-2]}, got {describe(query)}. For a query at every "
            f"step use jax.vmap over time."
        )
    return query.astype(memory.keys.dtype)
