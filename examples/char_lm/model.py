"""The model, embedding, stacked cells with dropout, dense readout; and its score."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import rnnjax
from rnnjax import training

from .config import Config, InputError
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
        raise InputError(f"Expected --cell one of {known}; got {config.cell!r}.")
    dtype = jnp.dtype(config.dtype)
    options = {"layer_norm": True} if config.layer_norm else {}
    layers = [rnnjax.embed(vocabulary_size, config.embedding_size, dtype=dtype)]
    for _ in range(config.num_layers):
        if config.dropout:
            layers.append(rnnjax.dropout(config.dropout))
        layers.append(cell(config.hidden_size, dtype=dtype, **options))
    if config.dropout:
        layers.append(rnnjax.dropout(config.dropout))
    return rnnjax.stack(*layers, rnnjax.dense(vocabulary_size, dtype=dtype))


def make_evaluator(model: rnnjax.RNN, vocabulary: Vocabulary):
    """Makes a function that scores a text, each of its characters once.

    The text is read in `EVALUATION_LANES` stretches side by side, each from a fresh
    carry that is handed on from window to window. The fresh starts cost the model a
    little, never the opposite.

    Args:
        model: symbols to logits.
        vocabulary: for the cost of unknown characters and the symbol of a line end,
            which is what the model sees before the first character.

    Returns:
        ``evaluate(params, symbols) -> bits per character``, a float.
    """

    step = training.eval_step(training.language_model_loss(model))
    first_input = vocabulary.encode("\n")

    def evaluate(params, symbols: np.ndarray) -> float:
        stream = {
            "inputs": np.concatenate([first_input, symbols[:-1]]),
            "targets": symbols,
            "mask": np.ones(len(symbols), bool),
        }
        lanes = min(EVALUATION_LANES, len(symbols))
        windows = training.windows(
            training.streams(stream, lanes, pad=True), EVALUATION_WINDOW, pad=True
        )
        carry = model.initial_carry(params, (lanes,))
        _, metrics = training.evaluate(step, params, carry, windows)
        return float(metrics["bits"]) + vocabulary.escape_bits(symbols) / len(symbols)

    return evaluate
