"""The model: convolutions over the picture, one vector, an LSTM that writes words."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

import rnnjax
from rnnjax import losses, seq2seq

from ..common.vocabulary import UNKNOWN
from .config import Config

_LAYERS = 3
"""Convolutions; each halves the picture and doubles the channels."""
_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


class Namer(NamedTuple):
    """A network from pictures to words, as pure functions.

    Attributes:
        init: ``(key, image, word) -> params``, of one picture and one word.
        encode: ``(params, images [B, S, S]) -> Encoded``, for `rnnjax.decoding`.
        unroll: ``(params, images, words [T, B], target_lengths, key=None) -> logits``.
        decoder: the decoder.
    """

    init: Callable
    encode: Callable
    unroll: Callable
    decoder: rnnjax.RNN


def build(config: Config, words: int) -> Namer:
    """Builds the network for a number of words."""
    decoder = rnnjax.stack(
        rnnjax.embed(words, config.embedding_size),
        rnnjax.dropout(config.dropout),
        rnnjax.lstm(config.hidden_size),
        rnnjax.dropout(config.dropout),
        rnnjax.dense(words),
    )
    writer = seq2seq.one_to_many(decoder)
    drop = rnnjax.dropout(config.dropout)

    def init(key, image, word):
        keys = jax.random.split(key)
        eye = init_eye(config, keys[0])
        return {"eye": eye, "writer": writer.init(keys[1], see(eye, image[None]), word)}

    def encode(params, images):
        return writer.encode(params["writer"], see(params["eye"], images))

    def unroll(params, images, words, target_lengths, key=None):
        keys = (None, None) if key is None else tuple(jax.random.split(key))
        vectors = see(params["eye"], images)
        _, vectors = drop.unroll({}, (), vectors[None], key=keys[0])
        _, logits = writer.unroll(
            params["writer"],
            vectors[0],
            words,
            target_lengths=target_lengths,
            key=keys[1],
        )
        return logits

    return Namer(init, encode, unroll, decoder)


def init_eye(config: Config, key) -> list[dict[str, jax.Array]]:
    """Kernels and biases of the convolutions."""
    layers, channels = [], 1
    for k in range(_LAYERS):
        more = config.channels * 2**k
        deviation = (2 / (9 * channels)) ** 0.5
        kernel = jax.random.normal(jax.random.fold_in(key, k), (3, 3, channels, more))
        layers.append({"kernel": deviation * kernel, "bias": jnp.zeros(more)})
        channels = more
    return layers


def see(layers, images):
    """The vector of each picture, ``[B, S, S] -> [B, F]``."""
    xs = images[..., None]
    for layer in layers:
        xs = jax.lax.conv_general_dilated(
            xs, layer["kernel"], (2, 2), "SAME", dimension_numbers=_DIMENSIONS
        )
        xs = jax.nn.relu(xs + layer["bias"].reshape(1, 1, 1, -1))
    return xs.reshape(len(xs), -1)


def moved(key, images, most: int):
    """Each picture moved by up to so many pixels each way; what leaves is lost."""
    size = images.shape[1]
    padded = jnp.pad(images, ((0, 0), (most, most), (most, most)))
    starts = jax.random.randint(key, (len(images), 2), 0, 2 * most + 1)

    def cut(image, start):
        return jax.lax.dynamic_slice(image, (start[0], start[1]), (size, size))

    return jax.vmap(cut)(padded, starts)


def make_loss(config: Config, namer: Namer):
    """Cross entropy of the known words of a batch; for `rnnjax.training`."""

    def loss(params, carry, batch, key):
        images = batch["images"]
        if key is not None and config.shift:
            images = moved(jax.random.fold_in(key, 1), images, config.shift)
        if key is not None:
            key = jax.random.fold_in(key, 0)
        lengths, targets = batch["lengths"], batch["targets"]
        logits = namer.unroll(params, images, batch["inputs"], lengths, key)
        mask = (jnp.arange(len(targets))[:, None] < lengths[None]) & (
            targets != UNKNOWN
        )
        value, metrics = losses.softmax_cross_entropy(logits, targets, mask)
        return value, (carry, metrics)

    return loss
