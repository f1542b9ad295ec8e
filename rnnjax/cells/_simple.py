"""The simple (Elman) recurrence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import initializers
from rnnjax._by_hand import HandSchedule, schedule_by_hand
from rnnjax._checks import positive
from rnnjax._norm import normalise
from rnnjax._wide import wide_sum
from rnnjax.base import Array, Cell
from rnnjax.cells import _affine as affine
from rnnjax.initializers import Initializer


def simple(
    hidden_size: int,
    *,
    activation: Callable[[Array], Array] = jnp.tanh,
    use_bias: bool = True,
    layer_norm: bool = False,
    kernel_init: Initializer = affine.DEFAULT_KERNEL,
    recurrent_init: Initializer = affine.DEFAULT_RECURRENT,
    bias_init: Initializer = initializers.zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """The simple recurrent cell.

    ``h_t = f(x_t W_xh + h_{t-1} W_hh + b_h)``, ``y_t = h_t``

    With ``layer_norm`` each of the two products is normalised (Ba et al. 2016).

    Args:
      hidden_size: ``H``.
      activation: ``f``: tanh, `jax.nn.relu`, identity or any callable.
      use_bias: False leaves ``b_h`` out.
      layer_norm: normalise ``x W_xh`` and ``h W_hh``, each with a scale.
      kernel_init: of ``W_xh``.
      recurrent_init: of ``W_hh``.
      bias_init: of ``b_h``, shape ``[1, H]``.
      dtype: of the computation; None is ``param_dtype``.
      param_dtype: of the parameters.

    Returns:
      A `Cell` with parameters ``input.kernel [F, H]``, ``input.bias [H]`` and
      ``recurrent.kernel [H, H]`` (with ``layer_norm`` a ``scale [H]``
      in both) and carry ``h [*batch, H]``.

    Raises:
      ValueError: ``hidden_size`` is not a positive integer.

    Example:
      >>> import jax, rnnjax
      >>> rnn = rnnjax.simple(4, activation=jax.nn.relu)
      >>> xs = jax.numpy.ones((10, 2, 3))
      >>> params = rnn.init(jax.random.key(0), xs[0])
      >>> h, hs = rnn.unroll(params, None, xs)
      >>> h.shape, hs.shape
      ((2, 4), (10, 2, 4))

    Reference: Elman, "Finding Structure in Time", Cognitive Science 1990.
    """
    hidden_size = positive("hidden_size", hidden_size)
    dtype = dtype or param_dtype
    norm = (hidden_size,) if layer_norm else None

    def init(key, x):
        input_key, recurrent_key = jax.random.split(key)
        shared = {"norms": layer_norm, "dtype": param_dtype}
        return {
            "input": affine.input_params(
                input_key,
                x.shape[-1],
                1,
                hidden_size,
                kernel_init=kernel_init,
                bias_init=bias_init if use_bias else None,
                **shared,
            ),
            "recurrent": affine.recurrent_params(
                recurrent_key, 1, hidden_size, kernel_init=recurrent_init, **shared
            ),
        }

    def initial_carry(params, batch_shape=()):
        del params
        return affine.zeros_carry(batch_shape, hidden_size, dtype)

    def project(params, x, key=None):
        del key
        return affine.project(params["input"], x, dtype, norm)

    def recur(w, h, u):
        product = affine.recurrent_product(w, h, dtype)
        if norm:
            product = normalise(product, w["scale"])
        h = activation(wide_sum(u, product))
        return h, h

    if activation in _SLOPES and not norm:
        schedule_by_hand(recur, _by_hand(activation), project)
    return Cell(init, initial_carry, project, recur)


# The derivative of an activation as a function of its value.
_SLOPES = {
    jnp.tanh: lambda h: 1 - h * h,
    jax.nn.relu: lambda h: (h > 0).astype(h.dtype),
}


def _by_hand(activation: Callable[[Array], Array]) -> HandSchedule:
    def step(product, carry, u):
        h = activation(u + product(0, carry[0]))
        return (h,), {"z": _SLOPES[activation](h)}

    return HandSchedule(
        gates=(1,),
        scales=(1.0,),
        step=step,
        operands=lambda factors, h: (h,),
        operand=lambda factors, k, dcarry, dv: dcarry[0],
        update=lambda factors, dcarry, dv: (dv[0][0],),
        slopes=("z",),
    )
