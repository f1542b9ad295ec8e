"""A tagger: characters into words, and words into a sentence, both in both directions.

The characters of all words are one batch ``[C, T, B]``. The last hidden states of both
directions stand beside the embedding of the word, and a layer over words reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import rnnjax
from rnnjax import losses

from .config import Config


class Tagger(NamedTuple):
    """Pure functions.

    Attributes:
        init: ``key -> params``.
        logits: ``(params, batch, key=None) -> [T, B, tags]``.
    """

    init: Callable
    logits: Callable


def build(config: Config, characters: int, words: int, tags: int) -> Tagger:
    """Makes the tagger, from the sizes of its three vocabularies."""
    spell = rnnjax.stack(
        rnnjax.embed(characters, config.character_size // 2),
        rnnjax.bidirectional(rnnjax.lstm(config.character_size // 2)),
    )
    embed = rnnjax.embed(words, config.embedding_size)
    tag = rnnjax.stack(
        rnnjax.dropout(config.dropout),
        rnnjax.bidirectional(rnnjax.lstm(config.hidden_size // 2)),
        rnnjax.dropout(config.dropout),
        rnnjax.dense(tags),
    )

    def init(key):
        keys = jax.random.split(key, 3)
        token = jnp.zeros((), int)
        size = config.embedding_size + 2 * (config.character_size // 2)
        return {
            "spell": spell.init(keys[0], token),
            "embed": embed.init(keys[1], token),
            "tag": tag.init(keys[2], jnp.zeros(size)),
        }

    def logits(params, batch, key=None):
        (_, (forward, backward)), _ = spell.unroll(
            params["spell"], None, batch["characters"], lengths=batch["spelled"]
        )
        _, known = embed.unroll(params["embed"], None, batch["words"])
        xs = jnp.concatenate([known, forward.h, backward.h], axis=-1)
        lengths = batch["lengths"]
        return tag.unroll(params["tag"], None, xs, lengths=lengths, key=key)[1]

    return Tagger(init, logits)


def make_loss(model: Tagger) -> Callable[..., Any]:
    """Cross-entropy of the tags, as `rnnjax.training` takes it."""

    def loss(params, carry, batch, key):
        logits = model.logits(params, batch, key)
        mask = jnp.arange(len(logits))[:, None] < batch["lengths"][None]
        value, metrics = losses.softmax_cross_entropy(logits, batch["tags"], mask)
        return value, (carry, metrics)

    return loss
