"""Our gates in the order and with the signs of others."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def gates(array: jax.Array, count: int) -> list[jax.Array]:
    """The gates along the last axis."""
    return jnp.split(array, count, -1)


def update_gate_keeps(array: jax.Array, order: str = "zrn") -> jax.Array:
    """A GRU's weights for a library in which z keeps the state, where ours renews it.

    ``1 - sigmoid(a) = sigmoid(-a)``, so z changes its sign. Ours are in the order zrn;
    ``order`` is that of the library.
    """
    z, r, n = gates(array, 3)
    parts = {"z": -z, "r": r, "n": n}
    return jnp.concatenate([parts[name] for name in order], -1)


def gru_with_one_bias(params, order: str) -> tuple[list[jax.Array], jax.Array]:
    """A GRU's kernels and input bias, and the recurrent bias of its candidate.

    The recurrent biases of z and r are added to those of the input, for libraries that
    have one bias there.
    """
    inputs, recurrent = params["input"], params["recurrent"]
    *_, candidate = gates(recurrent["bias"], 3)
    shared = recurrent["bias"].at[-candidate.size :].set(0)
    given = (inputs["kernel"], recurrent["kernel"], inputs["bias"] + shared)
    return [update_gate_keeps(a, order) for a in given], candidate
