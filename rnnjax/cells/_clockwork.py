"""Clockwork recurrence: modules that tick at their own periods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import initializers
from rnnjax._checks import positive
from rnnjax._wide import product, wide_sum
from rnnjax.base import Array, Cell
from rnnjax.cells import _affine as affine
from rnnjax.initializers import Initializer
from rnnjax.unroll import select


class ClockworkCarry(NamedTuple):
    """What a clockwork layer passes on.

    Attributes:
      h: hidden state ``[*batch, H]``.
      t: index of the next step since the start or the last reset, int32 ``[*batch]``.
    """

    h: Array
    t: Array


def clockwork(
    hidden_size: int,
    periods: Sequence[int] = (1, 2, 4, 8),
    *,
    activation: Callable[[Array], Array] = jnp.tanh,
    use_bias: bool = True,
    kernel_init: Initializer = affine.DEFAULT_KERNEL,
    recurrent_init: Initializer = affine.DEFAULT_RECURRENT,
    bias_init: Initializer = initializers.zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """The clockwork cell: slow modules remember, fast ones follow the input.

    The hidden units form as many modules as there are periods. At step ``t``, counted
    from 0, the units of module ``i`` become

    ``h_t = f(x_t W_xh + h_{t-1} W_hh + b_h)`` if ``t % periods[i] == 0``, else
    ``h_t = h_{t-1}``; ``y_t = h_t``

    ``W_hh`` is block-triangular: a module receives from itself and from slower ones.

    Args:
      hidden_size: ``H``, a multiple of the number of modules.
      periods: of the modules, in the order of their units.
      activation: ``f``.
      use_bias: False leaves ``b_h`` out.
      kernel_init: of ``W_xh``.
      recurrent_init: of ``W_hh`` before its zero blocks are cut out.
      bias_init: of ``b_h``, shape ``[1, H]``.
      dtype: of the computation; None is ``param_dtype``.
      param_dtype: of the parameters.

    Returns:
      A `Cell` with parameters ``input.kernel [F, H]``, ``input.bias [H]`` and
      ``recurrent.kernel [H, H]``, and carry `ClockworkCarry`. The zero blocks of the
      recurrent kernel are never used and have a zero gradient.

    Raises:
      ValueError: ``hidden_size`` or a period is not a positive integer, or the units
        cannot be split evenly.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.clockwork(4, periods=(1, 2))
      >>> params = rnn.init(jax.random.key(0), jnp.ones(3))
      >>> carry, hs = rnn.unroll(params, None, jnp.ones((10, 2, 3)))
      >>> carry.t.tolist(), hs.shape
      ([10, 10], (10, 2, 4))

    Reference: Koutnik et al., "A Clockwork RNN", ICML 2014.
    """
    hidden_size = positive("hidden_size", hidden_size)
    periods = tuple(positive("periods", period) for period in periods)
    if not periods or hidden_size % len(periods):
        raise ValueError(
            f"clockwork(hidden_size, periods): expected a hidden_size that is a "
            f"multiple of the number of periods, got {hidden_size} and {len(periods)} "
            f"periods."
        )
    dtype = dtype or param_dtype
    # Period of each unit; and from which units (rows) each unit (column) receives.
    period = np.repeat(np.array(periods, np.int32), hidden_size // len(periods))
    receives = period[:, None] >= period[None, :]

    def init(key, x):
        input_key, recurrent_key = jax.random.split(key)
        params = {
            "input": affine.input_params(
                input_key,
                x.shape[-1],
                1,
                hidden_size,
                kernel_init=kernel_init,
                bias_init=bias_init if use_bias else None,
                norms=0,
                dtype=param_dtype,
            ),
            "recurrent": affine.recurrent_params(
                recurrent_key,
                1,
                hidden_size,
                kernel_init=recurrent_init,
                norms=0,
                dtype=param_dtype,
            ),
        }
        params["recurrent"]["kernel"] *= receives.astype(param_dtype)
        return params

    def initial_carry(params, batch_shape=()):
        del params
        return ClockworkCarry(
            affine.zeros_carry(batch_shape, hidden_size, dtype),
            jnp.zeros(batch_shape, jnp.int32),
        )

    def project(params, x, key=None):
        del key
        return affine.project(params["input"], x, dtype)

    def recur(w, carry, u):
        kernel = jnp.where(receives, w["kernel"].astype(dtype), 0)
        new = activation(wide_sum(u, product(affine.masked(w, carry.h), kernel)))
        time = carry.t[..., None]
        ticks = time % period.reshape((1,) * carry.t.ndim + (-1,)) == 0
        h = select(ticks, new, carry.h)
        return ClockworkCarry(h, carry.t + 1), h

    return Cell(init, initial_carry, project, recur)
