"""Multiplicative attention (Luong et al. 2015), global and local."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import initializers
from rnnjax._checks import positive
from rnnjax._wide import contract, product
from rnnjax.attention._attention import Attention
from rnnjax.attention._bahdanau import additive_params, additive_scores
from rnnjax.attention._memory import Memory, affine, check_query
from rnnjax.attention._softmax import context_of, masked_softmax
from rnnjax.base import Array, Params
from rnnjax.initializers import Initializer

SCORES = ("dot", "general", "concat")


def luong(
    score: str = "general",
    *,
    size: int | None = None,
    window: int | None = None,
    kernel_init: Initializer = initializers.glorot_uniform(),  # noqa: B008
    param_dtype: Any = jnp.float32,
) -> Attention:
    """Attention by products, over all of the memory or around one place of it.

    dot: ``e_s = q . m_s``; general: ``e_s = q . (m_s W)``; concat:
    ``e_s = v . tanh([q, m_s] W)``. ``a = softmax(e)``, ``c = sum_s a_s m_s``

    With ``window`` the attention is local and finds its place (local-p):
    ``p = S sigmoid(v_p . tanh(q W_p))``,
    ``a_s = softmax_{|s - p| <= window}(e)_s exp(-2 (s - p)^2 / window^2)``,
    where ``S`` is the number of valid positions and ``s`` counts from 0: a Gaussian of
    standard deviation ``window / 2``.

    Args:
      score: "dot" (query and memory are of one size), "general" or "concat".
      size: of the layers inside, of ``[q, m_s] W`` and of ``q W_p``; concat and window
        need it.
      window: half the width of the window, ``D``; None attends to all of the memory.
      kernel_init: of all kernels.
      param_dtype: of the parameters. The computation is in the type of the memory.

    Returns:
      An `Attention` with parameters ``key.kernel`` for general, those of `bahdanau` for
      concat, none for dot; a window adds ``place.kernel`` and ``place.score``.

    Raises:
      ValueError: no such score; no ``size`` where it is needed; query and memory of
        different sizes for dot.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from rnnjax import attention
      >>> local = attention.luong("general", size=8, window=2)
      >>> query, memory = jnp.ones((2, 4)), jnp.ones((9, 2, 3))
      >>> params = local.init(jax.random.key(0), query, memory[0])
      >>> context, weights = local.read(
      ...     params, attention.remember(params, memory), query
      ... )
      >>> int((weights[0] > 0).sum()) <= 5
      True

    Reference: Luong, Pham and Manning, "Effective Approaches to Attention-based Neural
    Machine Translation", EMNLP 2015.
    """
    if score not in SCORES:
        raise ValueError(
            f"luong(score=...): expected one of {SCORES}, got {score!r}. `bahdanau` is "
            f"the additive score."
        )
    if size is None and (score == "concat" or window is not None):
        raise ValueError("size: concat and window need the size of their layer.")
    size = None if size is None else positive("size", size)
    window = None if window is None else positive("window", window)

    def init(key, query, memory):
        score_key, place_key, place_score_key = jax.random.split(key, 3)
        params: Params = {}
        if score == "general":
            shape = memory.shape[-1], query.shape[-1]
            params["key"] = {"kernel": kernel_init(score_key, shape, param_dtype)}
        elif score == "concat":
            params = additive_params(
                score_key, query, memory, size, kernel_init, param_dtype
            )
        elif query.shape[-1] != memory.shape[-1]:
            raise ValueError(
                f"luong('dot'): expected a query and a memory of one size, got "
                f"{query.shape[-1]} and {memory.shape[-1]}. Use 'general'."
            )
        if window is not None:
            shape = query.shape[-1], size
            params["place"] = {
                "kernel": kernel_init(place_key, shape, param_dtype),
                "score": kernel_init(place_score_key, (size, 1), param_dtype)[:, 0],
            }
        return params

    def read(params, memory, query, coverage=None):
        del coverage
        if score == "concat":
            scores = additive_scores(params, memory, query)
        else:
            q = check_query(query, memory)
            scores = contract("...sk,...k->...s", memory.keys, q)
        if window is None:
            weights = masked_softmax(scores, memory.mask)
        else:
            weights = local_weights(params["place"], memory, query, scores, window)
        return context_of(weights, memory.values), weights

    return Attention(init, read)


def local_weights(
    params: Params, memory: Memory, query: Array, scores: Array, window: int
) -> Array:
    """Weights around the place that the query asks for, ``[*batch, S]``."""
    hidden = jnp.tanh(affine({"kernel": params["kernel"]}, check_query(query, memory)))
    score = product(hidden, params["score"].astype(hidden.dtype))
    where = jax.nn.sigmoid(score.astype(hidden.dtype))
    mask = jnp.ones(scores.shape, bool) if memory.mask is None else memory.mask
    where = jnp.sum(mask, axis=-1).astype(where.dtype) * where
    positions = jnp.arange(scores.shape[-1], dtype=scores.dtype)
    distance = jnp.broadcast_to(positions, scores.shape) - where[..., None]
    weights = masked_softmax(scores, mask & (jnp.abs(distance) <= window))
    return weights * jnp.exp(-2 * jnp.square(distance / window))
