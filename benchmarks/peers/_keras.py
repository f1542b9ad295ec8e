"""Keras on its JAX backend: a layer, called without state; batch-major, as it wants."""

from __future__ import annotations

import os
from functools import partial

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax.numpy as jnp  # noqa: E402
import keras  # noqa: E402

from .._tasks import Absent, Program  # noqa: E402
from ._layouts import update_gate_keeps  # noqa: E402


def _arrays(params, arrange=lambda a: a):
    """Kernel, recurrent kernel and bias, as Keras keeps them."""
    bias = arrange(params["input"]["bias"])
    if "bias" in params["recurrent"]:
        bias = jnp.stack([bias, arrange(params["recurrent"]["bias"])])
    kernels = [arrange(params[part]["kernel"]) for part in ("input", "recurrent")]
    return [*kernels, bias]


def _gru(params):
    return _arrays(params, update_gate_keeps)


def _program(name, options, to_weights, features, hidden):
    if keras.backend.backend() != "jax":
        raise Absent(f"keras runs on {keras.backend.backend()}: set KERAS_BACKEND=jax")
    layer = getattr(keras.layers, name)(
        hidden, return_sequences=True, unroll=False, **options
    )
    layer.build((None, None, features))

    def values(variables):
        return [variable.value for variable in variables]

    rest = values(layer.non_trainable_variables)
    cell_rest = values(layer.cell.non_trainable_variables)

    def unroll(weights, xs):
        return layer.stateless_call(weights, rest, xs)[0]

    def step(weights, states, x):
        (y, states), _ = layer.cell.stateless_call(weights, cell_rest, x, states)
        return list(states), y

    return Program(
        to_weights,
        unroll,
        step,
        lambda batch: [jnp.zeros((batch, hidden))] * (2 if name == "LSTM" else 1),
        to_layout=lambda sequence: jnp.swapaxes(sequence, 0, 1),
        note=f"keras.layers.{name}",
    )


PROGRAMS = {
    "keras": {
        "simple": partial(_program, "SimpleRNN", {}, _arrays),
        "lstm": partial(_program, "LSTM", {}, _arrays),
        "gru": partial(_program, "GRU", {"reset_after": False}, _gru),
        "gru_reset_after": partial(_program, "GRU", {"reset_after": True}, _gru),
    }
}
