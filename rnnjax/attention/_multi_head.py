"""Scaled dot-product attention, of one head and of several."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import initializers
from rnnjax._checks import positive
from rnnjax._wide import contract
from rnnjax.attention._attention import Attention
from rnnjax.attention._memory import Memory, affine, check_query
from rnnjax.attention._softmax import context_of, masked_softmax
from rnnjax.base import Array
from rnnjax.initializers import Initializer


def scaled_dot_product(query: Array, memory: Memory) -> tuple[Array, Array]:
    """``a = softmax(q . k_s / sqrt(K))``, ``c = sum_s a_s v_s``; no parameters.

    Args:
      query: ``[*batch, K]``.
      memory: keys ``[*batch, S, K]``, values ``[*batch, S, V]`` and mask
        ``[*batch, S]`` or None.

    Returns:
      The context ``[*batch, V]`` and the weights ``[*batch, S]``.

    Raises:
      ValueError: batch axes or sizes that differ.

    Example:
      >>> import jax.numpy as jnp
      >>> from rnnjax import attention
      >>> memory = attention.Memory(jnp.ones((5, 4)), jnp.ones((5, 3)), None)
      >>> context, weights = attention.scaled_dot_product(jnp.ones(4), memory)
      >>> context.tolist(), weights.shape
      ([1.0, 1.0, 1.0], (5,))

    Reference: Vaswani et al., "Attention Is All You Need", NeurIPS 2017.
    """
    query = check_query(query, memory)
    size = memory.keys.shape[-1]
    if query.shape[-1] != size:
        raise ValueError(
            f"query: expected the size of the keys, {size}, got {query.shape[-1]}."
        )
    scores = contract("...sk,...k->...s", memory.keys, query / math.sqrt(size))
    weights = masked_softmax(scores, memory.mask)
    return context_of(weights, memory.values), weights


def multi_head(
    heads: int,
    size: int,
    *,
    features: int | None = None,
    use_bias: bool = True,
    kernel_init: Initializer = initializers.glorot_uniform(),  # noqa: B008
    param_dtype: Any = jnp.float32,
) -> Attention:
    """Scaled dot-product attention of several heads side by side.

    Head ``i``: ``c_i = scaled_dot_product(q W_q^i + b_q^i, m W_k^i + b_k^i,
    m W_v^i + b_v^i)``; ``c = [c_1, .., c_heads] W_o + b_o``

    Args:
      heads: number of heads; divides ``size``.
      size: of all heads together.
      features: size of the context; None is ``size``.
      use_bias: False leaves all biases out.
      kernel_init: of the kernels.
      param_dtype: of the parameters. The computation is in the type of the memory.

    Returns:
      An `Attention` with parameters ``{"query", "key", "value", "output"}``, each with
      ``kernel`` and ``bias``. Its weights are ``[*batch, heads, S]``.

    Raises:
      ValueError: ``heads`` does not divide ``size``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from rnnjax import attention
      >>> heads = attention.multi_head(2, 8)
      >>> query, memory = jnp.ones((3, 4)), jnp.ones((5, 3, 6))
      >>> params = heads.init(jax.random.key(0), query, memory[0])
      >>> context, weights = heads.read(
      ...     params, attention.remember(params, memory), query
      ... )
      >>> context.shape, weights.shape
      ((3, 8), (3, 2, 5))

    Reference: Vaswani et al., "Attention Is All You Need", NeurIPS 2017.
    """
    heads, size = positive("heads", heads), positive("size", size)
    features = size if features is None else positive("features", features)
    if size % heads:
        raise ValueError(
            f"heads: expected a divisor of size {size}, got {heads}. Each head gets "
            f"size / heads features."
        )

    def init(key, query, memory):
        sizes = {
            "query": (query.shape[-1], size),
            "key": (memory.shape[-1], size),
            "value": (memory.shape[-1], size),
            "output": (size, features),
        }
        keys = jax.random.split(key, len(sizes))
        params = {
            name: {"kernel": kernel_init(k, shape, param_dtype)}
            for k, (name, shape) in zip(keys, sizes.items(), strict=True)
        }
        for name, (_, columns) in sizes.items():
            if use_bias:
                params[name]["bias"] = jnp.zeros(columns, param_dtype)
        return params

    def split(x):
        return x.reshape(*x.shape[:-1], heads, size // heads)

    def read(params, memory, query, coverage=None):
        del coverage
        q = split(affine(params["query"], check_query(query, memory)))
        keys, values = (
            jnp.moveaxis(split(a), -2, -3) for a in (memory.keys, memory.values)
        )
        valid = memory.mask
        if valid is None:
            valid = jnp.ones(memory.keys.shape[:-1], bool)
        mask = jnp.broadcast_to(valid[..., None, :], keys.shape[:-1])
        context, weights = scaled_dot_product(q, Memory(keys, values, mask))
        context = affine(params["output"], context.reshape(*query.shape[:-1], size))
        # Where nothing is read, no bias speaks either.
        some = jnp.any(valid, axis=-1, keepdims=True)
        context = jnp.where(some, context, jnp.zeros_like(context))
        return context, weights

    return Attention(init, read)
