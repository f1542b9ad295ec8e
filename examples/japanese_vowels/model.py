"""The model: bidirectional layers, pooled over time, and a linear readout."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

import rnnjax
from rnnjax import losses

from .augment import augment
from .config import Config


class Classifier(NamedTuple):
    """A network from series to classes, as pure functions.

    Attributes:
        init: ``key -> params``.
        logits: ``(params, xs [T, B, F], lengths [B], key=None) -> [B, C]``.
    """

    init: Callable
    logits: Callable


def build(config: Config, channels: int, classes: int) -> Classifier:
    """Builds the network of the settings."""
    cell = getattr(rnnjax, config.cell)
    layers = []
    for _ in range(config.num_layers):
        halves = [
            rnnjax.variational_dropout(
                cell(config.hidden_size), config.input_dropout, config.recurrent_dropout
            )
            for _ in range(2)
        ]
        layers.append(rnnjax.bidirectional(*halves))
    if config.projection:
        layers.insert(0, rnnjax.dense(config.projection))
    encoder = rnnjax.stack(*layers)
    drop, readout = rnnjax.dropout(config.dropout), rnnjax.dense(classes)
    features = channels * (2 if config.deltas else 1)

    def init(key):
        keys = jax.random.split(key)
        pooled = {"mean": 1, "max": 1, "mean_max": 2}[config.pool]
        return {
            "encoder": encoder.init(keys[0], jnp.zeros(features)),
            "readout": readout.init(
                keys[1], jnp.zeros(2 * config.hidden_size * pooled)
            ),
        }

    def logits(params, xs, lengths, key=None):
        keys = (None, None) if key is None else tuple(jax.random.split(key))
        if config.deltas:
            xs = jnp.concatenate([xs, deltas(xs, lengths)], axis=-1)
        _, ys = encoder.unroll(
            params["encoder"], None, xs, lengths=lengths, key=keys[0]
        )
        pools = {"mean": [rnnjax.mean_pool], "max": [rnnjax.max_pool]}
        pools["mean_max"] = pools["mean"] + pools["max"]
        pooled = [pool(ys, lengths=lengths) for pool in pools[config.pool]]
        pooled = jnp.concatenate(pooled, axis=-1)[None]
        _, pooled = drop.unroll({}, (), pooled, key=keys[1])
        return readout.unroll(params["readout"], (), pooled)[1][0]

    return Classifier(init, logits)


def deltas(xs, lengths):
    """How each channel changes, ``(x_{t+1} - x_{t-1}) / 2``; 0 at both ends."""
    inner = (xs[2:] - xs[:-2]) / 2
    change = jnp.pad(inner, ((1, 1), (0, 0), (0, 0)))
    valid = jnp.arange(len(xs))[:, None] < (lengths - 1)[None]
    return jnp.where(valid[..., None], change, 0)


def make_loss(config: Config, classifier: Classifier):
    """The loss of a batch ``{"xs" [B, T, F], "lengths", "labels"}``, augmented."""

    def loss(params, carry, batch, key):
        xs, lengths = jnp.swapaxes(batch["xs"], 0, 1), batch["lengths"]
        smoothing, network = 0.0, None
        if key is not None:
            network, chance = jax.random.split(key)
            xs, lengths = augment(config, chance, xs, lengths)
            smoothing = config.label_smoothing
        logits = classifier.logits(params, xs, lengths, network)
        value, metrics = losses.softmax_cross_entropy(
            logits, batch["labels"], label_smoothing=smoothing
        )
        right = (logits.argmax(-1) == batch["labels"]).mean()
        return value, (carry, {"accuracy": right, "count": metrics["count"]})

    return loss
