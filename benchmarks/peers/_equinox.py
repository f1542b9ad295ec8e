"""Equinox: its cells under `jax.lax.scan`, batched by `jax.vmap`."""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp

from .._tasks import Program
from ._layouts import gru_with_one_bias


def _lstm(cell, params):
    kernels = [params[part]["kernel"].T for part in ("input", "recurrent")]
    fields = (*kernels, params["input"]["bias"])
    return eqx.tree_at(lambda c: (c.weight_ih, c.weight_hh, c.bias), cell, fields)


def _gru(cell, params):
    shared, candidate = gru_with_one_bias(params, "rzn")
    fields = (*(a.T for a in shared), candidate)
    return eqx.tree_at(
        lambda c: (c.weight_ih, c.weight_hh, c.bias, c.bias_n), cell, fields
    )


def _program(name, with_weights, features, hidden):
    make = partial(getattr(eqx.nn, name), features, hidden, key=jax.random.key(0))
    empty = eqx.filter_eval_shape(make)
    is_lstm = name == "LSTMCell"

    def one(cell, state, x):
        state = cell(x, state)
        return state, state[0] if is_lstm else state

    def step(cell, state, x):
        return jax.vmap(partial(one, cell))(state, x)

    def unroll(cell, xs):
        h = jnp.zeros(hidden)
        first = (h, h) if is_lstm else h

        def sequence(xs):
            return jax.lax.scan(lambda s, x: one(cell, s, x), first, xs)[1]

        return jax.vmap(sequence, 1, 1)(xs)

    def initial_carry(batch):
        h = jnp.zeros((batch, hidden))
        return (h, h) if is_lstm else h

    to_weights = partial(with_weights, empty)
    return Program(to_weights, unroll, step, initial_carry, note=f"eqx.nn.{name}")


PROGRAMS = {
    "equinox": {
        "lstm": partial(_program, "LSTMCell", _lstm),
        "gru_reset_after": partial(_program, "GRUCell", _gru),
    }
}
