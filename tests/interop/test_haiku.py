"""Outputs, final states and all gradients equal those of Haiku; resets as well."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.cells import LSTMCarry
from tests.interop.problems import (
    DEFERRED,
    B,
    H,
    T,
    check_peer,
    gates,
    peer,
    problem,
)

pytestmark = pytest.mark.interop
hk = peer("haiku")


def relu(params):
    """The bias is the input's; a second one, of the recurrent product, is zero."""
    recurrent = params["recurrent"]["kernel"]
    inputs = params["input"]
    return {
        "vanilla_rnn/linear": {"w": inputs["kernel"], "b": inputs["bias"]},
        "vanilla_rnn/linear_1": {"w": recurrent, "b": jnp.zeros(H)},
    }


def lstm(params):
    """One product of ``[x, h]``, gates in the order i, g, f, o, and 1 added to f."""

    def reordered(array):
        i, f, g, o = gates(array, 4)
        return jnp.concatenate([i, g, f, o], -1)

    kernels = [reordered(params[part]["kernel"]) for part in ("input", "recurrent")]
    bias = reordered(params["input"]["bias"]).at[2 * H : 3 * H].add(-1)
    return {"lstm/linear": {"w": jnp.concatenate(kernels), "b": bias}}


def gru(params):
    """Resets before the product, in the same order as ours, and z renews as ours."""
    inputs, recurrent = params["input"], params["recurrent"]
    return {
        "gru": {
            "w_i": inputs["kernel"],
            "w_h": recurrent["kernel"],
            "b": inputs["bias"],
        }
    }


CELLS = {
    "VanillaRNN": (
        rnnjax.simple(H, activation=jax.nn.relu, schedule=DEFERRED),
        relu,
    ),
    "LSTM": (rnnjax.lstm(H, schedule=DEFERRED), lstm),
    "GRU": (rnnjax.gru(H, schedule=DEFERRED), gru),
}
every_cell = pytest.mark.parametrize("name", CELLS)


def theirs(carry):
    return hk.LSTMState(*carry) if isinstance(carry, LSTMCarry) else carry


def ours(state):
    return LSTMCarry(*state) if isinstance(state, hk.LSTMState) else state


@every_cell
def test_cell(name):
    rnn, to_haiku = CELLS[name]

    def network(xs, state):
        return hk.dynamic_unroll(getattr(hk, name)(H), xs, state)

    transformed = hk.without_apply_rng(hk.transform(network))

    def run(params, carry, xs):
        ys, state = transformed.apply(to_haiku(params), xs, theirs(carry))
        return ours(state), ys

    check_peer(rnn, run, problem(rnn))


@every_cell
def test_resets_are_those_of_reset_core(name):
    rnn, to_haiku = CELLS[name]
    resets = np.zeros((T, B), bool)
    resets[[0, 2, 3, 5], [0, 1, 1, 2]] = True

    def network(xs, state):
        core = hk.ResetCore(getattr(hk, name)(H))
        return hk.dynamic_unroll(core, (xs, jnp.asarray(resets)), state)

    transformed = hk.without_apply_rng(hk.transform(network))

    def run(params, carry, xs):
        weights = to_haiku(params)
        ys, state = transformed.apply(weights, xs, theirs(carry))
        return ours(state), ys

    check_peer(rnn, run, problem(rnn), resets=resets)
