"""Outputs, final carries and all gradients equal those of Flax, linen and NNX."""

import chex
import jax.numpy as jnp
import pytest

import rnnjax
from rnnjax.cells import LSTMCarry
from tests.interop.problems import (
    DEFERRED,
    LENGTHS,
    F,
    H,
    T,
    check_peer,
    gates,
    peer,
    problem,
    update_gate_keeps,
)

pytestmark = pytest.mark.interop
peer("flax")
nn = peer("flax.linen")
nnx = peer("flax.nnx")

GRU = rnnjax.gru(H, reset_after=True, schedule=DEFERRED)
LSTM = rnnjax.lstm(H, schedule=DEFERRED)
SIMPLE = rnnjax.simple(H, schedule=DEFERRED)


def dense(kernel, bias=None):
    return {"kernel": kernel} if bias is None else {"kernel": kernel, "bias": bias}


def simple_weights(params):
    inputs, recurrent = params["input"], params["recurrent"]
    return dense(**inputs), dense(**recurrent)


def linen_simple(params):
    return dict(zip("ih", simple_weights(params), strict=True))


def nnx_simple(params):
    return dict(zip(("dense_i", "dense_h"), simple_weights(params), strict=True))


def lstm_weights(params):
    """A dense layer a gate, the bias in the recurrent ones; `if` is no attribute."""
    inputs, recurrent = params["input"], params["recurrent"]
    given = zip(
        "ifgo",
        gates(inputs["kernel"], 4),
        gates(recurrent["kernel"], 4),
        gates(inputs["bias"], 4),
        strict=True,
    )
    for gate, kernel, recurrent_kernel, bias in given:
        yield f"i{gate}", dense(kernel)
        yield f"h{gate}", dense(recurrent_kernel, bias)


def linen_lstm(params):
    return dict(lstm_weights(params))


def nnx_lstm(params):
    return {"if_" if k == "if" else k: v for k, v in lstm_weights(params)}


def linen_optimized_lstm(params):
    return linen_lstm(params)


def nnx_optimized_lstm(params):
    inputs, recurrent = params["input"], params["recurrent"]
    return {
        "dense_i": dense(inputs["kernel"]),
        "dense_h": dense(recurrent["kernel"], inputs["bias"]),
    }


def gru_weights(params):
    """Kernels and the input bias; r and z have one bias, the sum of our two."""
    inputs, recurrent = params["input"], params["recurrent"]
    bias = inputs["bias"] + recurrent["bias"].at[2 * H :].set(0)
    given = (inputs["kernel"], recurrent["kernel"], bias)
    return [update_gate_keeps(a, "rzn") for a in given]


def linen_gru(params):
    parts = [gates(a, 3) for a in gru_weights(params)]
    found = {}
    for gate, kernel, recurrent_kernel, bias in zip("rzn", *parts, strict=True):
        found[f"i{gate}"] = dense(kernel, bias)
        found[f"h{gate}"] = dense(recurrent_kernel)
    found["hn"]["bias"] = gates(params["recurrent"]["bias"], 3)[2]
    return found


def nnx_gru(params):
    kernel, recurrent_kernel, bias = gru_weights(params)
    return {"dense_i": dense(kernel, bias), "dense_h": dense(recurrent_kernel)}


def flipped(carry):
    """LSTM carries are pairs (c, h) in Flax."""
    return carry[::-1] if isinstance(carry, tuple) else carry


def ours(carry):
    return LSTMCarry(*flipped(carry)) if isinstance(carry, tuple) else carry


LINEN = {
    "SimpleCell": (SIMPLE, linen_simple),
    "LSTMCell": (LSTM, linen_lstm),
    "OptimizedLSTMCell": (LSTM, linen_optimized_lstm),
    "GRUCell": (GRU, linen_gru),
}
NNX = {
    "SimpleCell": (SIMPLE, nnx_simple),
    "LSTMCell": (LSTM, nnx_lstm),
    "OptimizedLSTMCell": (LSTM, nnx_optimized_lstm),
    "GRUCell": (GRU, nnx_gru),
}


def linen_run(name, **call):
    layer = nn.RNN(getattr(nn, name)(H), time_major=True, return_carry=True)

    def run(params, carry, xs):
        weights = {"params": {"cell": LINEN[name][1](params)}}
        first = tuple(flipped(carry)) if isinstance(carry, tuple) else carry
        last, ys = layer.apply(weights, xs, initial_carry=first, **call)
        return ours(last), ys

    return run


@pytest.mark.parametrize("name", LINEN)
def test_linen(name):
    rnn, _ = LINEN[name]
    check_peer(rnn, linen_run(name), problem(rnn))


def test_linen_lengths():
    """Flax leaves the outputs of the padding to the caller; the carries are ours."""
    lengths = jnp.array(LENGTHS)
    run = linen_run("LSTMCell", seq_lengths=lengths)

    def without_padding(*args):
        carry, ys = run(*args)
        valid = jnp.arange(T)[:, None, None] < lengths[:, None]
        return carry, jnp.where(valid, ys, 0.0)

    check_peer(LSTM, without_padding, problem(LSTM), lengths=lengths)


@pytest.mark.parametrize("name", NNX)
def test_nnx(name):
    rnn, to_nnx = NNX[name]
    cell = getattr(nnx, name)(F, H, rngs=nnx.Rngs(0))
    graph, state = nnx.split(cell)

    def run(params, carry, xs):
        weights = to_nnx(params)
        chex.assert_trees_all_equal_shapes(nnx.to_pure_dict(state), weights)
        layer = nnx.RNN(
            nnx.merge(graph, nnx.State(weights)), time_major=True, return_carry=True
        )
        first = tuple(flipped(carry)) if isinstance(carry, tuple) else carry
        last, ys = layer(xs, initial_carry=first)
        return ours(last), ys

    given = problem(rnn)
    if name == "GRUCell":  # its candidate has no recurrent bias
        rnn = rnn._replace(
            unroll=lambda params, *args: GRU.unroll(
                without_candidate_bias(params), *args
            )
        )
    check_peer(rnn, run, given)


def without_candidate_bias(params):
    recurrent = params["recurrent"]
    bias = recurrent["bias"].at[2 * H :].set(0)
    return params | {"recurrent": recurrent | {"bias": bias}}
