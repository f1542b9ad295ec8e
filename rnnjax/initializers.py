"""Initial weights: JAX's own initialisers, and those that only recurrences have.

An initialiser is ``(key, shape, dtype) -> array``, as in `jax.nn.initializers`. A bias
initialiser of a gated cell is given the shape ``[gates, H]``, one row a gate in the
order of the cell (lstm: i, f, g, o; gru: z, r, n).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import constant, glorot_uniform, normal, zeros

from rnnjax.base import Array

__all__ = [
    "Initializer",
    "chrono_gru",
    "chrono_lstm",
    "constant",
    "forget_gate_bias",
    "gate_kernels",
    "glorot_uniform",
    "normal",
    "orthogonal",
    "zeros",
]

Initializer = Callable[..., Array]


def orthogonal(scale: float = 1.0) -> Initializer:
    """Orthonormal columns, or rows where there are fewer of them.

    `jax.nn.initializers.orthogonal` for any floating point type: the decomposition
    needs float32 at least, so narrower types are drawn in it and rounded.

    Args:
      scale: factor on the matrix.

    Reference: Saxe, McClelland and Ganguli, "Exact Solutions to the Nonlinear Dynamics
    of Learning in Deep Linear Neural Networks", ICLR 2014.
    """
    draw = jax.nn.initializers.orthogonal(scale)

    def init(key, shape, dtype=jnp.float32):
        return draw(key, shape, jnp.promote_types(dtype, jnp.float32)).astype(dtype)

    return init


def gate_kernels(
    init: Initializer, key: Array, gates: int, rows: int, columns: int, dtype: Any
) -> Array:
    """``gates`` kernels ``[rows, columns]``, each drawn by itself, side by side.

    An orthogonal or Glorot kernel is one for each gate, not for all of them together.

    Returns:
      ``[rows, gates * columns]``.
    """
    keys = jax.random.split(key, gates)
    kernels = [init(k, (rows, columns), dtype) for k in keys]
    return jnp.concatenate(kernels, axis=1)


def forget_gate_bias(value: float = 1.0) -> Initializer:
    """LSTM biases: ``value`` for the forget gate, zero for i, g and o.

    Example:
      >>> import jax, rnnjax
      >>> init = rnnjax.initializers.forget_gate_bias(1.0)
      >>> init(jax.random.key(0), (4, 2)).tolist()
      [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]

    Reference: Jozefowicz, Zaremba and Sutskever, "An Empirical Exploration of Recurrent
    Network Architectures", ICML 2015.
    """

    def init(key, shape, dtype=jnp.float32):
        del key
        _check_gates("forget_gate_bias", shape, 4)
        return jnp.zeros(shape, dtype).at[1].set(value)

    return init


def chrono_lstm(longest: float) -> Initializer:
    """LSTM biases for dependencies of up to ``longest`` steps.

    ``b_f = log(uniform(1, longest - 1))``, ``b_i = -b_f``, zero for g and o.

    Example:
      >>> import rnnjax
      >>> rnn = rnnjax.lstm(8, bias_init=rnnjax.initializers.chrono_lstm(longest=200))

    Reference: Tallec and Ollivier, "Can Recurrent Neural Networks Warp Time?", ICLR
    2018.
    """
    return _chrono("chrono_lstm", longest, gates=4, rows=((1, 1.0), (0, -1.0)))


def chrono_gru(longest: float) -> Initializer:
    """GRU biases for dependencies of up to ``longest`` steps.

    The update gate z here is the share that is replaced, so
    ``b_z = -log(uniform(1, longest - 1))``; zero for r and n.

    Example:
      >>> import rnnjax
      >>> rnn = rnnjax.gru(8, bias_init=rnnjax.initializers.chrono_gru(longest=200))

    Reference: Tallec and Ollivier, "Can Recurrent Neural Networks Warp Time?", ICLR
    2018.
    """
    return _chrono("chrono_gru", longest, gates=3, rows=((0, -1.0),))


def _chrono(name, longest, gates, rows):
    if longest <= 2:
        raise ValueError(f"{name}(longest): expected more than 2 steps, got {longest}.")

    def init(key, shape, dtype=jnp.float32):
        _check_gates(name, shape, gates)
        log = jnp.log(jax.random.uniform(key, shape[1:], dtype, 1.0, longest - 1.0))
        bias = jnp.zeros(shape, dtype)
        for row, sign in rows:
            bias = bias.at[row].set(sign * log)
        return bias

    return init


def _check_gates(name, shape, gates):
    if len(shape) != 2 or shape[0] != gates:
        raise ValueError(
            f"{name}: expected the shape [{gates}, H], one row a gate, got {shape}. It "
            f"belongs to another cell."
        )
