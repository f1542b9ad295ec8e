"""Additive attention (Bahdanau et al. 2015), with coverage as an option."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import initializers
from rnnjax._checks import positive
from rnnjax._wide import product
from rnnjax.attention._attention import Attention
from rnnjax.attention._memory import Memory, affine, check_query
from rnnjax.attention._softmax import context_of, masked_softmax
from rnnjax.base import Array, Params
from rnnjax.initializers import Initializer


def bahdanau(
    size: int,
    *,
    coverage: bool = False,
    kernel_init: Initializer = initializers.glorot_uniform(),  # noqa: B008
    param_dtype: Any = jnp.float32,
) -> Attention:
    """Additive attention.

    ``e_s = v . tanh(q W_q + m_s W_k)``, ``a = softmax(e)``, ``c = sum_s a_s m_s``

    With ``coverage`` the score is
    ``e_s = v . tanh(q W_q + m_s W_k + w_c sum_{t' < t} a_{t' s})``, so that the layer
    knows what it has read already (See et al. 2017).

    Args:
      size: of the layer inside, ``A``.
      coverage: adds the term above.
      kernel_init: of ``W_q [Q, A]``, ``W_k [M, A]`` and ``v``.
      param_dtype: of the parameters. The computation is in the type of the memory.

    Returns:
      An `Attention` with parameters ``query.kernel``, ``key.kernel``, ``score`` and,
      with coverage, ``coverage``.

    Raises:
      ValueError: ``size`` is not a positive integer.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from rnnjax import attention
      >>> additive = attention.bahdanau(8)
      >>> query, memory = jnp.ones((2, 4)), jnp.ones((5, 2, 3))
      >>> params = additive.init(jax.random.key(0), query, memory[0])
      >>> remembered = attention.remember(params, memory, lengths=jnp.array([5, 2]))
      >>> context, weights = additive.read(params, remembered, query)
      >>> context.shape, weights.shape
      ((2, 3), (2, 5))

    References: Bahdanau, Cho and Bengio, "Neural Machine Translation by Jointly
    Learning to Align and Translate", ICLR 2015; See, Liu and Manning, "Get To The
    Point", ACL 2017.
    """
    size = positive("size", size)

    def init(key, query, memory):
        params = additive_params(key, query, memory, size, kernel_init, param_dtype)
        if coverage:
            params["coverage"] = jnp.zeros(size, param_dtype)
        return params

    def read(params, memory, query, coverage=None):
        scores = additive_scores(params, memory, query, coverage)
        weights = masked_softmax(scores, memory.mask)
        return context_of(weights, memory.values), weights

    return Attention(init, read, coverage)


def additive_params(key, query, memory, size, kernel_init, dtype) -> Params:
    """``W_q``, ``W_k`` and ``v``."""
    keys = jax.random.split(key, 3)
    return {
        "query": {"kernel": kernel_init(keys[0], (query.shape[-1], size), dtype)},
        "key": {"kernel": kernel_init(keys[1], (memory.shape[-1], size), dtype)},
        "score": kernel_init(keys[2], (size, 1), dtype)[:, 0],
    }


def additive_scores(
    params: Params, memory: Memory, query: Array, coverage: Array | None = None
) -> Array:
    """``v . tanh(q W_q + k_s)``, ``[*batch, S]``."""
    q = affine(params["query"], check_query(query, memory))[..., None, :]
    inside = jnp.broadcast_to(q, memory.keys.shape) + memory.keys
    if "coverage" in params:
        if coverage is None:
            raise ValueError(
                "coverage: expected [*batch, S], the sum of the weights of the steps "
                "before (zeros at first), got None."
            )
        of_coverage = params["coverage"].astype(inside.dtype)
        inside += jnp.einsum(
            "...s,a->...sa", coverage.astype(inside.dtype), of_coverage
        )
    scores = product(jnp.tanh(inside), params["score"].astype(inside.dtype))
    return scores.astype(inside.dtype)
