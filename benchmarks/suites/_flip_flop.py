"""A GRU trained to remember: what Newton's method is measured on.

Pulses of -1 and 1 come now and then on each channel; the output is the last pulse of
each. Between pulses the network holds its state, so that its Jacobians are near the
identity: an untrained network forgets, and is an easier case.

Sussillo and Barak, "Opening the Black Box", Neural Computation 2013.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import rnnjax

CHANNELS = 3
_PULSES_PER_STEP = 0.05
_STEPS, _BATCH = 100, 32


class Trained(NamedTuple):
    """A cell, its parameters, and the mean square errors first and last."""

    cell: rnnjax.Cell
    params: Any
    errors: tuple[float, float]


def sequence(steps: int, batch: int, seed: int = 0) -> tuple[jax.Array, jax.Array]:
    """Pulses and what is to be remembered of them, both ``[T, B, 3]``."""
    draw = np.random.default_rng(seed)
    size = (steps, batch, CHANNELS)
    pulses = draw.choice([-1, 1], size) * (draw.random(size) < _PULSES_PER_STEP)
    pulses[0] = 1
    memory = pulses.copy()
    for t in range(1, steps):
        memory[t] = np.where(pulses[t] == 0, memory[t - 1], pulses[t])
    return jnp.asarray(pulses, jnp.float32), jnp.asarray(memory, jnp.float32)


def trained_gru(hidden: int, updates: int = 400) -> Trained:
    """Trains on ``updates`` batches of 32 sequences of 100 steps, by Adam."""
    cell = rnnjax.cells.gru(hidden)
    rnn = rnnjax.stack(rnnjax.layer(cell), rnnjax.dense(CHANNELS))
    batches = [sequence(_STEPS, _BATCH, seed) for seed in range(20)]
    params = rnn.init(jax.random.key(0), batches[0][0][0])
    optimizer = optax.adam(1e-2)
    state = optimizer.init(params)

    def loss(params, xs, targets):
        return jnp.mean((rnn.unroll(params, None, xs)[1] - targets) ** 2)

    @jax.jit
    def update(params, state, xs, targets):
        error, gradient = jax.value_and_grad(loss)(params, xs, targets)
        change, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, change), state, error

    errors = []
    for i in range(updates):
        params, state, error = update(params, state, *batches[i % len(batches)])
        errors.append(float(error))
    return Trained(cell, params["0"], (errors[0], errors[-1]))
