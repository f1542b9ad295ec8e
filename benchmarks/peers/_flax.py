"""Flax: `linen.RNN` and `nnx.RNN`, each with the fastest of its cells."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from flax import linen, nnx

from .._tasks import Program
from ._layouts import gates, gru_with_one_bias


def _dense(kernel, bias=None):
    return {"kernel": kernel} if bias is None else {"kernel": kernel, "bias": bias}


def _linen_simple(params):
    return {"i": _dense(**params["input"]), "h": _dense(**params["recurrent"])}


def _linen_lstm(params):
    """A dense layer a gate, the bias in the recurrent ones."""
    parts = (params["input"]["kernel"], params["recurrent"]["kernel"])
    arrays = zip(*(gates(a, 4) for a in (*parts, params["input"]["bias"])), strict=True)
    found = {}
    for gate, (kernel, recurrent_kernel, bias) in zip("ifgo", arrays, strict=True):
        found[f"i{gate}"] = _dense(kernel)
        found[f"h{gate}"] = _dense(recurrent_kernel, bias)
    return found


def _linen_gru(params):
    shared, candidate = gru_with_one_bias(params, "rzn")
    found = {}
    for gate, kernel, recurrent_kernel, bias in zip(
        "rzn", *(gates(a, 3) for a in shared), strict=True
    ):
        found[f"i{gate}"] = _dense(kernel, bias)
        found[f"h{gate}"] = _dense(recurrent_kernel)
    found["hn"]["bias"] = candidate
    return found


def _nnx_simple(params):
    inputs, recurrent = params["input"], params["recurrent"]
    return {"dense_i": _dense(**inputs), "dense_h": _dense(**recurrent)}


def _nnx_lstm(params):
    inputs, recurrent = params["input"], params["recurrent"]
    return {
        "dense_i": _dense(inputs["kernel"]),
        "dense_h": _dense(recurrent["kernel"], inputs["bias"]),
    }


def _nnx_gru(params):
    (kernel, recurrent_kernel, bias), _ = gru_with_one_bias(params, "rzn")
    return {"dense_i": _dense(kernel, bias), "dense_h": _dense(recurrent_kernel)}


def _without_candidate_bias(results):
    """Results without the gradient of a bias that the cell of NNX does not have."""
    if not isinstance(results, tuple):
        return results
    value, (params, xs) = results
    recurrent = dict(params["recurrent"])
    recurrent["bias"] = recurrent["bias"][: 2 * recurrent["bias"].size // 3]
    return value, (params | {"recurrent": recurrent}, xs)


def _initial_carry(name, hidden, batch):
    h = jnp.zeros((batch, hidden))
    return (h, h) if "LSTM" in name else h


def _linen(name, to_weights, features, hidden):
    cell = getattr(linen, name)(hidden)
    layer = linen.RNN(cell, time_major=True)
    return Program(
        to_weights,
        lambda weights, xs: layer.apply({"params": {"cell": weights}}, xs),
        lambda weights, carry, x: cell.apply({"params": weights}, carry, x),
        partial(_initial_carry, name, hidden),
        note=name,
    )


def _nnx(name, to_weights, features, hidden):
    def make():
        return getattr(nnx, name)(features, hidden, rngs=nnx.Rngs(0))

    graph, _ = nnx.split(nnx.eval_shape(make))

    def cell(weights):
        return nnx.merge(graph, nnx.State(weights))

    return Program(
        to_weights,
        lambda weights, xs: nnx.RNN(cell(weights), time_major=True)(xs),
        lambda weights, carry, x: cell(weights)(carry, x),
        partial(_initial_carry, name, hidden),
        comparable=_without_candidate_bias if name == "GRUCell" else _all,
        note=name,
    )


def _all(results):
    return results


PROGRAMS = {
    "linen": {
        "simple": partial(_linen, "SimpleCell", _linen_simple),
        "lstm": partial(_linen, "OptimizedLSTMCell", _linen_lstm),
        "gru_reset_after": partial(_linen, "GRUCell", _linen_gru),
    },
    "nnx": {
        "simple": partial(_nnx, "SimpleCell", _nnx_simple),
        "lstm": partial(_nnx, "OptimizedLSTMCell", _nnx_lstm),
        "gru_reset_after": partial(_nnx, "GRUCell", _nnx_gru),
    },
}
