"""The model: an encoder of the past, a decoder of what is known of the future."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import rnnjax
from rnnjax import losses, seq2seq
from rnnjax.seq2seq import bridges

from .config import Config

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def build(config: Config) -> seq2seq.EncoderDecoder:
    """Builds the network: ``past`` and ``coming`` to a correction for each level.

    The decoder is not fed what it said: all of its inputs are known when the forecast
    is made, so that no error is handed on from step to step (Wen et al., "A Multi-
    Horizon Quantile Recurrent Forecaster", 2017).
    """
    cell = getattr(rnnjax, config.cell)
    decoder = rnnjax.stack(
        cell(config.hidden_size),
        rnnjax.dropout(config.dropout),
        rnnjax.dense(config.hidden_size, jax.nn.relu),
        rnnjax.dense(len(LEVELS), kernel_init=rnnjax.initializers.zeros),
    )
    return seq2seq.encoder_decoder(cell(config.hidden_size), decoder, bridges.dense())


def quantiles(model: seq2seq.EncoderDecoder, change: float, params, batch, key=None):
    """The quantiles ``[T, B, Q]``: what is foretold anyway, and what was learned.

    Args:
        model: the network.
        change: the typical change from week to week, the unit of what is learned.
        params: of the network.
        batch: of `examples.forecasting.data.Windows`.
        key: randomness of dropout, in training.
    """
    _, learned = model.unroll(params, batch["past"], batch["coming"], key=key)
    return batch["base"][..., None] + change * learned


def make_loss(model: seq2seq.EncoderDecoder, change: float):
    """The pinball loss of all levels, for `rnnjax.training`."""

    def loss(params, carry, batch, key):
        foretold = quantiles(model, change, params, batch, key)
        value, metrics = losses.quantile(foretold, batch["targets"], levels=LEVELS)
        return value, (carry, metrics)

    return loss


def make_forecaster(model: seq2seq.EncoderDecoder, change: float):
    """A compiled function ``(params, batch) -> [T, B, Q]``, quantiles in order.

    Sorting makes quantiles that cross into such that do not, and no worse
    (Chernozhukov et al., "Quantile and Probability Curves Without Crossing", 2010).
    """

    @jax.jit
    def forecast(params, batch):
        return jnp.sort(quantiles(model, change, params, batch), axis=-1)

    return forecast
