"""Outputs, final states and all gradients equal those of Equinox, without a batch."""

import jax
import jax.numpy as jnp
import pytest

import rnnjax
from rnnjax.cells import LSTMCarry
from tests.interop.problems import (
    DEFERRED,
    F,
    H,
    check_peer,
    gates,
    peer,
    problem,
    update_gate_keeps,
)

pytestmark = pytest.mark.interop
eqx = peer("equinox")


def lstm(cell, params):
    weights = [params[part]["kernel"].T for part in ("input", "recurrent")]
    fields = (*weights, params["input"]["bias"])
    return eqx.tree_at(lambda c: (c.weight_ih, c.weight_hh, c.bias), cell, fields)


def gru(cell, params):
    """r and z have one bias, the sum of our two."""
    inputs, recurrent = params["input"], params["recurrent"]
    bias = inputs["bias"] + recurrent["bias"].at[2 * H :].set(0)
    given = (inputs["kernel"], recurrent["kernel"], bias)
    fields = [update_gate_keeps(a, "rzn").T for a in given]
    fields.append(gates(recurrent["bias"], 3)[2])
    return eqx.tree_at(
        lambda c: (c.weight_ih, c.weight_hh, c.bias, c.bias_n), cell, tuple(fields)
    )


CELLS = {
    "LSTMCell": (rnnjax.lstm(H, schedule=DEFERRED), lstm),
    "GRUCell": (rnnjax.gru(H, reset_after=True, schedule=DEFERRED), gru),
}


@pytest.mark.parametrize("name", CELLS)
def test_cell(name):
    rnn, with_weights = CELLS[name]
    make = getattr(eqx.nn, name)
    empty = eqx.filter_eval_shape(make, F, H, key=jax.random.key(0))

    def run(params, carry, xs):
        cell = with_weights(empty, params)

        def step(state, x):
            state = cell(x, state)
            return state, state[0] if isinstance(state, tuple) else state

        is_lstm = isinstance(carry, LSTMCarry)
        state, ys = jax.lax.scan(step, tuple(carry) if is_lstm else carry, xs)
        return LSTMCarry(*state) if is_lstm else state, jnp.asarray(ys)

    check_peer(rnn, run, problem(rnn, batch_shape=()))
