"""Three encoders of a review, each with a readout of its own.

- flat: a layer over all words, in both directions; the largest value of each feature.
- attention: the same layer; what a learned query attends to.
- hierarchical: a layer over the words of a sentence, and one over sentences; the
  largest value of each feature over sentences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import rnnjax
from rnnjax import attention, losses

from .config import Config, Kind


class Classifier(NamedTuple):
    """Pure functions.

    Attributes:
        init: ``key -> params``.
        logits: ``(params, batch, key=None) -> [B, 2]``.
    """

    init: Callable
    logits: Callable


def build(kind: Kind, config: Config, vocabulary: int) -> Classifier:
    """Makes one of the three."""
    size = config.hidden_size
    embed = rnnjax.stack(
        rnnjax.embed(vocabulary, config.embedding_size), rnnjax.dropout(config.dropout)
    )
    both_ways = rnnjax.bidirectional(rnnjax.gru(size // 2))
    encoder = {
        "flat": both_ways,
        "attention": both_ways,
        "hierarchical": rnnjax.hierarchical(rnnjax.gru(size), rnnjax.gru(size)),
    }[kind]
    classify = rnnjax.stack(rnnjax.dropout(config.dropout), rnnjax.dense(2))
    score = attention.bahdanau(size)

    def init(key):
        keys = jax.random.split(key, 5)
        word, encoded = jnp.zeros((), int), jnp.zeros(2 * (size // 2))
        vector = jnp.zeros(config.embedding_size)
        one = (vector, jnp.zeros((), bool)) if kind == "hierarchical" else vector
        params = {
            "embed": embed.init(keys[0], word),
            "encoder": encoder.init(keys[1], one),
            "classify": classify.init(keys[2], encoded),
        }
        if kind == "attention":
            params["query"] = jax.random.normal(keys[3], (size,)) / size**0.5
            params["score"] = score.init(keys[4], params["query"], encoded)
        return params

    def read(params, ys, lengths):
        query = jnp.broadcast_to(params["query"], (ys.shape[1], size))
        memory = attention.remember(params["score"], ys, lengths=lengths)
        return score.read(params["score"], memory, query)[0]

    def logits(params, batch, key=None):
        keys = (None,) * 3 if key is None else jax.random.split(key, 3)
        lengths, ends = batch["lengths"], batch["ends"]
        _, xs = embed.unroll(params["embed"], None, batch["words"], key=keys[0])
        xs = (xs, ends) if kind == "hierarchical" else xs
        _, ys = encoder.unroll(
            params["encoder"], None, xs, lengths=lengths, key=keys[1]
        )
        if kind == "attention":
            summary = read(params, ys, lengths)
        elif kind == "flat":
            summary = rnnjax.max_pool(ys, lengths=lengths)
        else:
            summary = rnnjax.max_pool(ys, mask=ends)
        return classify.unroll(params["classify"], None, summary[None], key=keys[2])[1][
            0
        ]

    return Classifier(init, logits)


def make_loss(model: Classifier) -> Callable[..., Any]:
    """Cross-entropy of the labels, as `rnnjax.training` takes it."""

    def loss(params, carry, batch, key):
        logits = model.logits(params, batch, key)
        value, metrics = losses.softmax_cross_entropy(logits, batch["label"])
        right = jnp.mean(jnp.argmax(logits, -1) == batch["label"])
        return value, (carry, {**metrics, "accuracy": right})

    return loss
