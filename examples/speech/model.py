"""The model: bidirectional LSTM layers and a distribution over characters per step."""

from __future__ import annotations

import jax

import rnnjax
from rnnjax import losses

from . import transcripts
from .augment import augment
from .config import Config


def build(config: Config) -> rnnjax.RNN:
    """Builds the stack: features ``[T, B, F]`` to logits ``[T, B, 1 + characters]``."""
    layers = []
    for _ in range(config.num_layers):
        halves = rnnjax.lstm(config.hidden_size), rnnjax.lstm(config.hidden_size)
        layers += [rnnjax.bidirectional(*halves), rnnjax.dropout(config.dropout)]
    return rnnjax.stack(*layers, rnnjax.dense(transcripts.TOKENS))


def make_loss(config: Config, model: rnnjax.RNN):
    """CTC of a batch, augmented where there is a key; for `rnnjax.training`."""

    def loss(params, carry, batch, key):
        xs, lengths = batch["xs"], batch["lengths"]
        if key is not None:
            xs, lengths = augment(config, jax.random.fold_in(key, 1), xs, lengths)
            key = jax.random.fold_in(key, 0)
        _, logits = model.unroll(params, None, xs, lengths=lengths, key=key)
        value, metrics = losses.ctc(
            logits, batch["targets"], lengths, batch["target_lengths"]
        )
        return value, (carry, metrics)

    return loss
