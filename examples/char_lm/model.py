"""The model and its loss: embedding, stacked cells with dropout, a dense readout."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

import rnnjax

from .config import Config
from .data import evaluation_windows
from .vocabulary import Vocabulary

EVALUATION_LANES = 32
EVALUATION_WINDOW = 128


def build_model(config: Config, vocabulary_size: int) -> rnnjax.RNN:
    """Builds the stack: symbols ``[T, B]`` to logits ``[T, B, V]``.

    Args:
        config: the settings.
        vocabulary_size: number of symbols.

    Returns:
        The model.

    Raises:
        ValueError: rnnjax has no cell of that name.
    """
    cell = getattr(rnnjax, config.cell, None)
    if not callable(cell) or not hasattr(rnnjax.cells, config.cell):
        known = ", ".join(c for c in rnnjax.cells.__all__ if hasattr(rnnjax, c))
        raise ValueError(f"Expected --cell one of {known}; got {config.cell!r}.")
    options = {"layer_norm": True} if config.layer_norm else {}
    layers = [rnnjax.embed(vocabulary_size, config.embedding_size)]
    for _ in range(config.num_layers):
        if config.dropout:
            layers.append(rnnjax.dropout(config.dropout))
        layers.append(cell(config.hidden_size, **options))
    if config.dropout:
        layers.append(rnnjax.dropout(config.dropout))
    return rnnjax.stack(*layers, rnnjax.dense(vocabulary_size))


def loss_function(model: rnnjax.RNN):
    """Makes the loss of one window: mean cross-entropy in nats.

    Args:
        model: symbols to logits.

    Returns:
        ``loss(params, carry, batch, key) -> (loss, (carry, metrics))``.
    """

    def loss(params, carry, batch, key):
        carry, logits = model.unroll(params, carry, batch["inputs"], key=key)
        nats = optax.softmax_cross_entropy_with_integer_labels(
            logits, batch["targets"]
        ).mean()
        return nats, (carry, {"bits": nats / math.log(2)})

    return loss


def make_evaluator(model: rnnjax.RNN, vocabulary: Vocabulary):
    """Makes a function that scores a text, each of its characters once.

    Args:
        model: symbols to logits.
        vocabulary: for the cost of unknown characters and the symbol of a line end,
            which is what the model sees before the first character.

    Returns:
        ``evaluate(params, symbols) -> bits per character``, a float.
    """

    @jax.jit
    def nats_of_window(params, carry, batch):
        carry, logits = model.unroll(params, carry, batch["inputs"])
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"])
        return carry, jnp.sum(nats * batch["weights"])

    def evaluate(params, symbols: np.ndarray) -> float:
        lanes = min(EVALUATION_LANES, len(symbols))
        carry = model.initial_carry(params, (lanes,))
        first_input = int(vocabulary.encode("\n")[0])
        nats = 0.0
        for batch in evaluation_windows(symbols, first_input, lanes, EVALUATION_WINDOW):
            carry, part = nats_of_window(params, carry, batch)
            nats += float(part)
        bits = nats / math.log(2) + vocabulary.escape_bits(symbols)
        return bits / len(symbols)

    return evaluate
