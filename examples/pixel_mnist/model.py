"""Pixels to a class: an encoder, one recurrent layer, a readout of its last output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import rnnjax
from examples.memory_tasks.model import slow_gates
from rnnjax import losses

from .config import Config
from .data import CLASSES


class Classifier(NamedTuple):
    """A model of whole images.

    Attributes:
        init: ``key -> params``.
        logits: ``(params, pixels [B, T], key=None) -> [B, 10]``.
    """

    init: Callable[..., Any]
    logits: Callable[..., jax.Array]


def build_classifier(cell: str, steps: int, config: Config) -> Classifier:
    """``dense+relu -> cell -> its last output -> dense+relu -> dense``.

    Gates begin as slow as the length of the image asks, the LRU's ring is narrow; all
    else is alike for all cells.

    Args:
        cell: an alias of rnnjax.
        steps: pixels of an image.
        config: the sizes.
    """
    options = slow_gates(cell, steps)
    if cell == "lru":
        options = {"min_radius": config.min_radius}
    reader = rnnjax.stack(
        rnnjax.dense(config.features, jax.nn.relu),
        getattr(rnnjax, cell)(config.hidden_size, **options),
    )
    head = rnnjax.stack(
        rnnjax.dense(config.hidden_size, jax.nn.relu), rnnjax.dense(CLASSES)
    )

    def init(key):
        keys = jax.random.split(key)
        of_reader = reader.init(keys[0], jnp.zeros(1))
        _, y = jax.eval_shape(reader.step, of_reader, None, jnp.zeros(1))
        return {"reader": of_reader, "head": head.init(keys[1], y)}

    def logits(params, pixels, key=None):
        _, ys = reader.unroll(params["reader"], None, pixels.T[..., None], key=key)
        return head.step(params["head"], None, rnnjax.last_step(ys))[1]

    return Classifier(init, logits)


def classification_loss(classifier: Classifier):
    """Cross-entropy and accuracy of batches ``(pixels, labels)``."""

    def loss(params, carry, batch, key):
        pixels, labels = batch
        logits = classifier.logits(params, pixels, key)
        value, metrics = losses.softmax_cross_entropy(logits, labels)
        accuracy = (logits.argmax(-1) == labels).mean()
        return value, (carry, {"accuracy": accuracy, "count": metrics["count"]})

    return loss
