"""The same networks from rnnjax: weights copied over, gradients brought back.

NumPy here has columns and ``W @ x``, with one matrix for each gate. rnnjax has rows and
``x @ kernel``, with the gates' columns side by side in one kernel. So a kernel is the
transposes of the gates' matrices, next to each other, in the order of `GATES`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax
from examples.from_equations.gru import GRU
from examples.from_equations.lstm import LSTM
from examples.from_equations.recurrent import Recurrent
from examples.from_equations.simple_rnn import SimpleRNN

LAYERS = {SimpleRNN: rnnjax.simple, LSTM: rnnjax.lstm, GRU: rnnjax.gru}
GATES = {SimpleRNN: "h", LSTM: "ifgo", GRU: "zrn"}


def twin_of(model: Recurrent, gradient: str = "auto") -> rnnjax.RNN:
    """Returns the same network from rnnjax: a recurrent layer, then a dense one."""
    layer, schedule = LAYERS[type(model)], rnnjax.Schedule(gradient=gradient)
    return rnnjax.stack(
        layer(model.hidden_size, param_dtype=jnp.float64, schedule=schedule),
        rnnjax.dense(model.output_size, param_dtype=jnp.float64),
    )


def to_params(model: Recurrent) -> dict:
    """Copies a NumPy network's weights into the params of its twin."""
    weights = model.parameters

    def side_by_side(*names: str) -> np.ndarray:
        return np.concatenate([weights[name].T for name in names], axis=-1)

    gates = GATES[type(model)]
    params = {
        "0": {
            "input": {
                "kernel": side_by_side(*(f"W_x{gate}" for gate in gates)),
                "bias": side_by_side(*(f"b_{gate}" for gate in gates))[0],
            },
            "recurrent": {"kernel": side_by_side(*(f"W_h{gate}" for gate in gates))},
        },
        "1": {"kernel": side_by_side("W_hy"), "bias": side_by_side("b_y")[0]},
    }
    return jax.tree.map(jnp.array, params)


def to_names(model: Recurrent, params: dict) -> dict[str, np.ndarray]:
    """Takes the twin's params, or their gradient, apart: the inverse of `to_params`."""
    layer, dense = (jax.tree.map(np.asarray, params[key]) for key in ("0", "1"))
    gates = GATES[type(model)]
    parts = {"W_hy": dense["kernel"], "b_y": dense["bias"][None]}
    for prefix, kernel in {
        "W_x": layer["input"]["kernel"],
        "W_h": layer["recurrent"]["kernel"],
        "b_": layer["input"]["bias"][None],
    }.items():
        for gate, part in zip(gates, np.split(kernel, len(gates), -1), strict=True):
            parts[prefix + gate] = part
    return {name: parts[name].T for name in model.parameters}


def loss_of(rnn: rnnjax.RNN, params: dict, inputs: jax.Array, targets: jax.Array):
    """Half the squared error, summed over outputs and steps: the NumPy loss."""
    _, y_preds = rnn.unroll(params, None, inputs)
    return 0.5 * jnp.sum((y_preds - targets) ** 2)
