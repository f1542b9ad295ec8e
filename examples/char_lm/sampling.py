"""Continuing a prompt: temperature, top-k, top-p, one character at a time."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax

from .config import InputError
from .vocabulary import UNKNOWN, Vocabulary


def filter_logits(
    logits: jax.Array, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> jax.Array:
    """Reshapes a distribution before a draw.

    Args:
        logits: ``[..., V]``.
        temperature: logits are divided by this; 0 keeps the most probable symbol alone.
        top_k: keep this many most probable symbols; 0 keeps all.
        top_p: keep the fewest most probable symbols whose probabilities add up to at
            least this, after temperature and top-k (Holtzman et al. 2020).

    Returns:
        Logits of the same shape; what is not kept is minus infinity.
    """
    size = logits.shape[-1]
    keep = 1 if temperature == 0 else (min(top_k, size) or size)
    logits = logits / (temperature or 1.0)
    order = jnp.argsort(-logits, axis=-1)
    ranked = jnp.take_along_axis(logits, order, axis=-1)
    rank = jax.lax.broadcasted_iota(jnp.int32, ranked.shape, ranked.ndim - 1)
    ranked = jnp.where(rank < keep, ranked, -jnp.inf)
    probabilities = jax.nn.softmax(ranked, axis=-1)
    before = jnp.cumsum(probabilities, axis=-1) - probabilities
    ranked = jnp.where((before < top_p) | (top_p >= 1), ranked, -jnp.inf)
    return jnp.take_along_axis(ranked, jnp.argsort(order, axis=-1), axis=-1)


def stream(
    model: rnnjax.RNN,
    params,
    vocabulary: Vocabulary,
    prompt: str,
    key: jax.Array,
    *,
    length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Iterator[str]:
    """Yields the characters that continue a prompt, as they are drawn.

    Args:
        model: symbols to logits.
        params: its parameters.
        vocabulary: characters of the symbols.
        prompt: text to continue; at least one character.
        key: for the draws.
        length: number of characters.
        temperature: see `filter_logits`.
        top_k: see `filter_logits`.
        top_p: see `filter_logits`.

    Yields:
        One character at a time.
    """
    if not prompt:
        raise InputError("Expected a prompt of at least one character, got ''.")

    @jax.jit
    def advance(params, carry, symbol, key):
        carry, logits = model.step(params, carry, symbol)
        logits = logits.at[UNKNOWN].set(-jnp.inf)  # It has no character to show.
        filtered = filter_logits(logits, temperature, top_k, top_p)
        return carry, jax.random.categorical(key, filtered)

    symbols = np.asarray(vocabulary.encode(prompt))
    carry = model.initial_carry(params)
    keys = jax.random.split(key, len(symbols) + length)
    for symbol, key in zip(symbols, keys, strict=False):
        carry, drawn = advance(params, carry, symbol, key)
    for key in keys[len(symbols) :]:
        yield vocabulary.decode([int(drawn)])
        carry, drawn = advance(params, carry, drawn.astype(symbols.dtype), key)
