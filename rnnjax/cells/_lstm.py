"""Long short-term memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax import initializers
from rnnjax._by_hand import HandSchedule, schedule_by_hand
from rnnjax._checks import positive
from rnnjax._norm import normalise
from rnnjax._wide import add_bias, wide_sum, wide_type
from rnnjax.base import Array, Cell
from rnnjax.cells import _affine as affine
from rnnjax.initializers import Initializer


class LSTMCarry(NamedTuple):
    """What an LSTM passes on.

    Attributes:
      h: hidden state ``[*batch, H]``.
      c: cell state ``[*batch, H]``, float32 at least.
    """

    h: Array
    c: Array


def lstm(
    hidden_size: int,
    *,
    use_bias: bool = True,
    layer_norm: bool = False,
    kernel_init: Initializer = affine.DEFAULT_KERNEL,
    recurrent_init: Initializer = affine.DEFAULT_RECURRENT,
    bias_init: Initializer | None = None,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """The LSTM cell.

    ``i, f, g, o = split(x_t W_x + h_{t-1} W_h + b)``,
    ``c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)``,
    ``h_t = sigmoid(o) * tanh(c_t)``, ``y_t = h_t``

    With ``layer_norm`` the two products and ``c_t`` in ``tanh(c_t)`` are normalised
    (Ba et al. 2016).

    Args:
      hidden_size: ``H``.
      use_bias: False leaves ``b`` out.
      layer_norm: normalise ``x W_x``, ``h W_h`` and ``c_t``.
      kernel_init: of ``W_x``, gate by gate.
      recurrent_init: of ``W_h``, gate by gate.
      bias_init: of ``b``, shape ``[4, H]``, rows i, f, g, o; None is
        ``initializers.forget_gate_bias(1.0)``. See also `initializers.chrono_lstm`.
      dtype: of the computation; None is ``param_dtype``. ``c`` is float32 at least.
      param_dtype: of the parameters.

    Returns:
      A `Cell` with parameters ``input.kernel [F, 4H]``, ``input.bias [4H]`` and
      ``recurrent.kernel [H, 4H]``, gates in the order i, f, g, o, and carry
      `LSTMCarry`. ``layer_norm`` adds ``input.scale [4H]``, ``recurrent.scale [4H]``,
      ``recurrent.cell_scale [H]`` and ``recurrent.cell_bias [H]``.

    Raises:
      ValueError: ``hidden_size`` is not a positive integer.

    Example:
      >>> import jax, rnnjax
      >>> rnn = rnnjax.lstm(4)
      >>> xs = jax.numpy.ones((10, 2, 3))
      >>> params = rnn.init(jax.random.key(0), xs[0])
      >>> carry, hs = rnn.unroll(params, None, xs)
      >>> carry.c.shape, hs.shape
      ((2, 4), (10, 2, 4))

    References: Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation
    1997; Gers, Schmidhuber and Cummins, "Learning to Forget", 2000 (the forget gate).
    """
    hidden_size = positive("hidden_size", hidden_size)
    dtype = dtype or param_dtype
    bias_init = bias_init or initializers.forget_gate_bias(1.0)
    norm = (4 * hidden_size,) if layer_norm else None

    def init(key, x):
        input_key, recurrent_key = jax.random.split(key)
        shared = {"norms": layer_norm, "dtype": param_dtype}
        params = {
            "input": affine.input_params(
                input_key,
                x.shape[-1],
                4,
                hidden_size,
                kernel_init=kernel_init,
                bias_init=bias_init if use_bias else None,
                **shared,
            ),
            "recurrent": affine.recurrent_params(
                recurrent_key, 4, hidden_size, kernel_init=recurrent_init, **shared
            ),
        }
        if norm:
            params["recurrent"]["cell_scale"] = jnp.ones(hidden_size, param_dtype)
            params["recurrent"]["cell_bias"] = jnp.zeros(hidden_size, param_dtype)
        return params

    def initial_carry(params, batch_shape=()):
        del params
        return LSTMCarry(
            affine.zeros_carry(batch_shape, hidden_size, dtype),
            affine.zeros_carry(batch_shape, hidden_size, wide_type(dtype)),
        )

    def project(params, x, key=None):
        del key
        return affine.project(params["input"], x, dtype, norm)

    def recur(w, carry, u):
        product = affine.recurrent_product(w, carry.h, dtype)
        if norm:
            product = normalise(product, w["scale"])
        i, f, g, o = jnp.split(wide_sum(u, product), 4, axis=-1)
        c = jax.nn.sigmoid(f) * carry.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        seen = c
        if norm:
            seen = add_bias(normalise(c, w["cell_scale"]), w["cell_bias"])
        h = (jax.nn.sigmoid(o) * jnp.tanh(seen)).astype(dtype)
        return LSTMCarry(h, c), h

    if not norm:
        schedule_by_hand(recur, _BY_HAND, project)
    return Cell(init, initial_carry, project, recur)


def _step(product, carry, u):
    h, c = carry
    i, f, g, o = jnp.split(jnp.tanh(u + product(0, h)), 4, -1)
    i, f, o = (gate / 2 + 0.5 for gate in (i, f, o))
    new_c = f * c + i * g
    seen = jnp.tanh(new_c)
    factors = {  # derivatives of the carry; 2 s (1 - s) is that of a scaled sigmoid s
        "i": 2 * g * (i - i * i),
        "f": 2 * c * (f - f * f),
        "g": i * (1 - g * g),
        "o": 2 * seen * (o - o * o),
        "c": f,
        "h": o * (1 - seen * seen),
    }
    return (o * seen, new_c), factors


def _update(factors, dcarry, dv):
    ((i, f, g, o),) = dv
    dc = factors["c"] * dcarry[1] + i + f + g
    return factors["h"] * dc + o, dc


_BY_HAND = HandSchedule(
    gates=(4,),
    scales=(0.5, 0.5, 1.0, 0.5),
    step=_step,
    operands=lambda factors, h: (h,),
    operand=lambda factors, k, dcarry, dv: dcarry[0],
    update=_update,
    slopes=("i", "f", "g", "o"),
)
