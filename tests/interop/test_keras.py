"""Outputs, final states and all gradients equal those of Keras, on its JAX backend."""

import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.cells import LSTMCarry
from tests.interop.problems import (
    DEFERRED,
    B,
    F,
    H,
    T,
    check_peer,
    peer,
    problem,
    update_gate_keeps,
)

pytestmark = pytest.mark.interop
keras = peer("keras")
if keras.backend.backend() != "jax":
    pytest.skip("keras runs on another backend than JAX", allow_module_level=True)


def arrays(params, arrange=lambda a: a):
    """Kernel, recurrent kernel and bias, as Keras keeps them."""
    bias = arrange(params["input"]["bias"])
    if "bias" in params["recurrent"]:
        bias = jnp.stack([bias, arrange(params["recurrent"]["bias"])])
    kernels = [arrange(params[part]["kernel"]) for part in ("input", "recurrent")]
    return [*kernels, bias]


def gru_arrays(params):
    return arrays(params, update_gate_keeps)


# Our layer, the class of Keras and its options, our parameters to its weights.
CELLS = {
    "simple": (rnnjax.simple(H, schedule=DEFERRED), "SimpleRNN", {}, arrays),
    "lstm": (rnnjax.lstm(H, schedule=DEFERRED), "LSTM", {}, arrays),
    "gru": (
        rnnjax.gru(H, schedule=DEFERRED),
        "GRU",
        {"reset_after": False},
        gru_arrays,
    ),
    "gru_reset_after": (
        rnnjax.gru(H, reset_after=True, schedule=DEFERRED),
        "GRU",
        {"reset_after": True},
        gru_arrays,
    ),
}
every_cell = pytest.mark.parametrize("name", CELLS)
# Any pattern, not only padding at the end; one row has no valid step.
MASK = np.array([[1, 1, 0, 1, 0, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]], bool).T


def swapped(array):
    """Time-major to batch-major, and back."""
    return jnp.swapaxes(array, 0, 1)


def keras_layer(kind, options):
    return getattr(keras.layers, kind)(
        H,
        return_sequences=True,
        return_state=True,
        zero_output_for_mask=True,
        **options,
    )


def keras_run(layer, to_keras, to_carry, **call):
    """``run(params, carry, xs)`` of a Keras layer."""
    layer.build((B, T, F))
    state = [v.value for v in layer.non_trainable_variables]

    def run(params, carry, xs):
        (ys, *states), _ = layer.stateless_call(
            to_keras(params),
            state,
            swapped(xs),
            initial_state=to_keras_states(carry),
            **call,
        )
        return to_carry(states), swapped(ys)

    return run


def to_keras_states(carry):
    if isinstance(carry, tuple) and not isinstance(carry, LSTMCarry):
        return [state for half in carry for state in to_keras_states(half)]
    return list(carry) if isinstance(carry, LSTMCarry) else [carry]


def carry_of(rnn):
    """The carry of a layer with one recurrence, from the states of Keras."""
    is_lstm = isinstance(rnn.initial_carry(None), LSTMCarry)
    return lambda states: LSTMCarry(*states) if is_lstm else states[0]


@every_cell
def test_cell(name):
    rnn, kind, options, to_keras = CELLS[name]
    run = keras_run(keras_layer(kind, options), to_keras, carry_of(rnn))
    check_peer(rnn, run, problem(rnn))


@every_cell
def test_mask(name):
    rnn, kind, options, to_keras = CELLS[name]
    layer = keras_layer(kind, options)
    run = keras_run(layer, to_keras, carry_of(rnn), mask=MASK.T)
    check_peer(rnn, run, problem(rnn), mask=MASK)


def test_reverse_is_go_backwards_with_the_outputs_flipped():
    rnn, kind, options, to_keras = CELLS["lstm"]
    layer = keras_layer(kind, options | {"go_backwards": True})
    run = keras_run(layer, to_keras, carry_of(rnn), mask=MASK.T)

    def flipped(*args):
        carry, ys = run(*args)
        return carry, ys[::-1]

    check_peer(rnn, flipped, problem(rnn), mask=MASK, reverse=True)


def test_bidirectional():
    rnn, kind, options, to_keras = CELLS["gru_reset_after"]
    layer = keras.layers.Bidirectional(keras_layer(kind, options))

    def both_directions(params):
        return [a for half in ("forward", "backward") for a in to_keras(params[half])]

    both = rnnjax.bidirectional(rnn)
    run = keras_run(layer, both_directions, tuple, mask=MASK.T)
    check_peer(both, run, problem(both), mask=MASK)
