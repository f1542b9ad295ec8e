"""Haiku: `dynamic_unroll` of a core. Its `VanillaRNN` is ReLU only."""

from __future__ import annotations

from functools import partial

import haiku as hk
import jax.numpy as jnp

from .._tasks import Program
from ._layouts import gates


def _lstm(params):
    """One product of ``[x, h]``, gates in the order i, g, f, o, and 1 added to f."""

    def reordered(array):
        i, f, g, o = gates(array, 4)
        return jnp.concatenate([i, g, f, o], -1)

    kernels = [reordered(params[part]["kernel"]) for part in ("input", "recurrent")]
    bias = reordered(params["input"]["bias"])
    hidden = bias.size // 4
    bias = bias.at[2 * hidden : 3 * hidden].add(-1)
    return {"lstm/linear": {"w": jnp.concatenate(kernels), "b": bias}}


def _gru(params):
    """Resets before the product, gates and signs as ours."""
    inputs, recurrent = params["input"], params["recurrent"]
    arrays = {"w_i": inputs["kernel"], "w_h": recurrent["kernel"], "b": inputs["bias"]}
    return {"gru": arrays}


def _program(name, to_weights, features, hidden):
    core = getattr(hk, name)

    def network(xs):
        made = core(hidden)
        return hk.dynamic_unroll(made, xs, made.initial_state(xs.shape[1]))[0]

    def one(x, state):
        return core(hidden)(x, state)

    unrolled = hk.without_apply_rng(hk.transform(network))
    stepped = hk.without_apply_rng(hk.transform(one))

    def initial_carry(batch):
        h = jnp.zeros((batch, hidden))
        return hk.LSTMState(h, h) if name == "LSTM" else h

    return Program(
        to_weights,
        unrolled.apply,
        lambda weights, state, x: stepped.apply(weights, x, state)[::-1],
        initial_carry,
        note=f"hk.{name}",
    )


PROGRAMS = {
    "haiku": {
        "lstm": partial(_program, "LSTM", _lstm),
        "gru": partial(_program, "GRU", _gru),
    }
}
