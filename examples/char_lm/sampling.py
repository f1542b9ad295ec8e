"""Continuing a prompt, one character at a time, by `rnnjax.decoding`."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp

import rnnjax
from rnnjax import decoding

from .config import InputError
from .vocabulary import UNKNOWN, Vocabulary


def stream(
    model: rnnjax.RNN,
    params,
    vocabulary: Vocabulary,
    prompt: str,
    key: jax.Array,
    *,
    length: int,
    sampling: decoding.Sampling,
) -> Iterator[str]:
    """Yields the characters that continue a prompt, as they are drawn.

    Args:
        model: symbols to logits.
        params: its parameters.
        vocabulary: characters of the symbols.
        prompt: text to continue; at least one character.
        key: for the draws.
        length: number of characters.
        sampling: how each is chosen.

    Yields:
        One character at a time.
    """
    if not prompt:
        raise InputError("Expected a prompt of at least one character, got ''.")

    def step(carry, symbol):
        carry, logits = model.step(params, carry, symbol)
        # The unknown symbol has no character to show.
        return carry, logits.at[..., UNKNOWN].set(-jnp.inf)

    for symbol in decoding.stream(
        step,
        model.initial_carry(params),
        vocabulary.encode(prompt),
        length=length,
        sampling=sampling,
        key=key,
    ):
        yield vocabulary.decode([int(symbol)])
