"""Cells that are linear in their carry: they can run parallel in time.

``h_t = a_t * h_{t-1} + b_t``, where ``a_t`` and ``b_t`` depend on the input alone. The
carry accumulates, so it is float32 (complex64) at least.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax import initializers
from rnnjax._checks import positive
from rnnjax._wide import product, wide_type
from rnnjax.base import Array, Cell
from rnnjax.cells import _affine as affine
from rnnjax.initializers import Initializer


def lru(
    hidden_size: int,
    *,
    min_radius: float = 0.0,
    max_radius: float = 1.0,
    max_phase: float = 2 * math.pi,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """The linear recurrent unit: a complex diagonal recurrence between two products.

    ``lambda = exp(-exp(nu) + i exp(theta))``,
    ``h_t = lambda * h_{t-1} + exp(gamma) * (B x_t)``,
    ``y_t = Re(C h_t) + D * x_t``

    ``h`` is complex, ``y`` is real and has the ``F`` features of ``x``. ``lambda`` is
    drawn uniformly from a ring of the complex plane, and ``gamma`` such that ``h`` has
    the size of ``B x`` for white noise: ``exp(gamma) = sqrt(1 - |lambda|^2)``.

    Args:
      hidden_size: ``H``, complex numbers.
      min_radius: of the ring; the closer to 1, the longer the memory.
      max_radius: of the ring, 1 at most.
      max_phase: of ``lambda``, drawn uniformly from 0 to this.
      dtype: of the products; None is ``param_dtype``.
      param_dtype: of the parameters.

    Returns:
      A `Cell` with parameters ``input.kernel [F, 2H]`` (``B``, real parts then
      imaginary ones), ``input.gamma [H]``, ``recurrent.nu [H]``, ``recurrent.theta
      [H]``, ``output.kernel [2H, F]`` (``C`` as what the real and the imaginary parts
      of ``h`` are multiplied by) and ``output.skip [F]`` (``D``), and carry
      ``h [*batch, H]``, complex64 or complex128.

    Raises:
      ValueError: ``hidden_size`` is not a positive integer; radii out of order.

    Example:
      >>> import jax, rnnjax
      >>> rnn = rnnjax.lru(8, min_radius=0.9, max_radius=0.999)
      >>> xs = jax.numpy.ones((10, 2, 3))
      >>> params = rnn.init(jax.random.key(0), xs[0])
      >>> h, ys = rnn.unroll(params, None, xs)
      >>> h.shape, ys.shape
      ((2, 8), (10, 2, 3))

    Reference: Orvieto et al., "Resurrecting Recurrent Neural Networks for Long
    Sequences", ICML 2023.
    """
    hidden_size = positive("hidden_size", hidden_size)
    _check_range("lru", "radius", min_radius, max_radius)
    if not max_phase > 0:
        raise ValueError(
            f"max_phase: expected a positive angle, got {max_phase!r}. The default is "
            f"a full turn, 2 pi."
        )
    dtype = dtype or param_dtype
    wide = wide_type(dtype)

    def init(key, x):
        features = x.shape[-1]
        keys = jax.random.split(key, 5)
        square = _uniform(keys[0], hidden_size, min_radius**2, max_radius**2)
        phase = _uniform(keys[1], hidden_size, 0.0, max_phase)
        params = {
            "input": {
                "kernel": jax.random.normal(keys[2], (features, 2 * hidden_size))
                / math.sqrt(2 * features),
                "gamma": jnp.log1p(-square) / 2,
            },
            "recurrent": {"nu": jnp.log(-jnp.log(square) / 2), "theta": jnp.log(phase)},
            "output": {
                "kernel": jax.random.normal(keys[3], (2 * hidden_size, features))
                / math.sqrt(hidden_size),
                "skip": jax.random.normal(keys[4], (features,)),
            },
        }
        return jax.tree.map(lambda p: p.astype(param_dtype), params)

    def initial_carry(params, batch_shape=()):
        del params
        return affine.zeros_carry(batch_shape, hidden_size, _complex(wide))

    def project(params, x, key=None):
        del key
        kernel, gamma = params["input"]["kernel"], params["input"]["gamma"]
        scaled = kernel * _per_unit(jnp.exp(jnp.tile(gamma, 2)), kernel)
        u = affine.project({"kernel": scaled}, x, dtype).astype(wide)
        return lax.complex(*jnp.split(u, 2, -1))

    def linear(w, u):
        nu, theta = w["nu"].astype(wide), w["theta"].astype(wide)
        return _per_unit(jnp.exp(lax.complex(-jnp.exp(nu), jnp.exp(theta))), u), u

    def readout(params, y, x, u):
        del u
        y = jnp.concatenate([y.real, y.imag], -1).astype(dtype)
        y = product(y, params["output"]["kernel"].astype(dtype))
        skip = _per_unit(params["output"]["skip"].astype(wide), x)
        return (y + skip * x.astype(wide)).astype(dtype)

    return Cell(init, initial_carry, project, _recur(linear), readout, linear)


def rg_lru(
    hidden_size: int,
    *,
    min_decay: float = 0.9,
    max_decay: float = 0.999,
    use_bias: bool = True,
    kernel_init: Initializer = affine.DEFAULT_KERNEL,
    bias_init: Initializer = initializers.zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """The real-gated linear recurrent unit of Griffin.

    ``r_t = sigmoid(x_t W_r + b_r)``, ``i_t = sigmoid(x_t W_i + b_i)``,
    ``v_t = x_t W_v + b_v``,
    ``a_t = exp(-8 softplus(Lambda) * r_t)``,
    ``h_t = a_t * h_{t-1} + sqrt(1 - a_t^2) * (i_t * v_t)``, ``y_t = h_t``

    ``v`` is the projection that stands before the unit in Griffin, so that ``H`` need
    not be ``F``. ``Lambda`` is drawn such that ``a_t``, where the recurrence gate is
    open (``r_t = 1``), is uniform from ``min_decay`` to ``max_decay``.

    Args:
      hidden_size: ``H``.
      min_decay: above 0; the closer to 1, the longer the memory.
      max_decay: below 1.
      use_bias: False leaves all biases out.
      kernel_init: of ``W``, gate by gate.
      bias_init: of ``b``, shape ``[3, H]``, rows r, i, v.
      dtype: of the products; None is ``param_dtype``.
      param_dtype: of the parameters.

    Returns:
      A `Cell` with parameters ``input.kernel [F, 3H]`` and ``input.bias [3H]``, in the
      order r, i, v, and ``recurrent.decay [H]`` (``Lambda``), and carry
      ``h [*batch, H]``, float32 at least.

    Raises:
      ValueError: ``hidden_size`` is not a positive integer; decays out of order.

    Example:
      >>> import jax, rnnjax
      >>> rnn = rnnjax.rg_lru(4)
      >>> xs = jax.numpy.ones((10, 2, 3))
      >>> params = rnn.init(jax.random.key(0), xs[0])
      >>> h, hs = rnn.unroll(params, None, xs)
      >>> h.shape, hs.shape
      ((2, 4), (10, 2, 4))

    Reference: De et al., "Griffin: Mixing Gated Linear Recurrences with Local Attention
    for Efficient Language Models", 2024.
    """
    hidden_size = positive("hidden_size", hidden_size)
    _check_range("rg_lru", "decay", min_decay, max_decay)
    dtype = dtype or param_dtype
    wide = wide_type(dtype)

    def init(key, x):
        input_key, decay_key = jax.random.split(key)
        decay = _uniform(decay_key, hidden_size, min_decay, max_decay)
        return {
            "input": affine.input_params(
                input_key,
                x.shape[-1],
                3,
                hidden_size,
                kernel_init=kernel_init,
                bias_init=bias_init if use_bias else None,
                norms=False,
                dtype=param_dtype,
            ),
            # The inverse of exp(-8 softplus(.)).
            "recurrent": {
                "decay": jnp.log(jnp.expm1(-jnp.log(decay) / 8)).astype(param_dtype)
            },
        }

    def initial_carry(params, batch_shape=()):
        del params
        return affine.zeros_carry(batch_shape, hidden_size, wide)

    def project(params, x, key=None):
        del key
        u = affine.project(params["input"], x, dtype).astype(wide)
        r, i, v = jnp.split(u, 3, -1)
        rate = 8 * jax.nn.softplus(params["recurrent"]["decay"].astype(wide))
        log_a = -_per_unit(rate, u) * jax.nn.sigmoid(r)
        # 1 - a^2 without its cancellation, and no infinite slope where r underflows.
        square = jnp.maximum(-jnp.expm1(2 * log_a), jnp.finfo(wide).tiny)
        return jnp.exp(log_a), jnp.sqrt(square) * jax.nn.sigmoid(i) * v

    return _gated(init, initial_carry, project, dtype)


def min_gru(
    hidden_size: int,
    *,
    use_bias: bool = True,
    kernel_init: Initializer = affine.DEFAULT_KERNEL,
    bias_init: Initializer = initializers.zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """The minimal GRU: its gate and its candidate see the input alone.

    ``z_t = sigmoid(x_t W_z + b_z)``, ``n_t = x_t W_n + b_n``,
    ``h_t = (1 - z_t) * h_{t-1} + z_t * n_t``, ``y_t = h_t``

    Args:
      hidden_size: ``H``.
      use_bias: False leaves all biases out.
      kernel_init: of ``W``, gate by gate.
      bias_init: of ``b``, shape ``[2, H]``, rows z, n.
      dtype: of the products; None is ``param_dtype``.
      param_dtype: of the parameters.

    Returns:
      A `Cell` with parameters ``input.kernel [F, 2H]`` and ``input.bias [2H]``, in the
      order z, n, none in ``recurrent``, and carry ``h [*batch, H]``, float32 at least.

    Raises:
      ValueError: ``hidden_size`` is not a positive integer.

    Example:
      >>> import jax, rnnjax
      >>> rnn = rnnjax.min_gru(4)
      >>> xs = jax.numpy.ones((10, 2, 3))
      >>> params = rnn.init(jax.random.key(0), xs[0])
      >>> h, hs = rnn.unroll(params, None, xs)
      >>> h.shape, hs.shape
      ((2, 4), (10, 2, 4))

    Reference: Feng et al., "Were RNNs All We Needed?", 2024.
    """
    hidden_size = positive("hidden_size", hidden_size)
    dtype = dtype or param_dtype
    wide = wide_type(dtype)

    def init(key, x):
        return {
            "input": affine.input_params(
                key,
                x.shape[-1],
                2,
                hidden_size,
                kernel_init=kernel_init,
                bias_init=bias_init if use_bias else None,
                norms=False,
                dtype=param_dtype,
            ),
            "recurrent": {},
        }

    def initial_carry(params, batch_shape=()):
        del params
        return affine.zeros_carry(batch_shape, hidden_size, wide)

    def project(params, x, key=None):
        del key
        u = affine.project(params["input"], x, dtype).astype(wide)
        z, n = jnp.split(u, 2, -1)
        return jax.nn.sigmoid(-z), jax.nn.sigmoid(z) * n

    return _gated(init, initial_carry, project, dtype)


def _gated(init, initial_carry, project, dtype: Any) -> Cell:
    """The cell whose projection is ``(a, b)``, with outputs in the dtype asked for."""

    def linear(w, u):
        del w
        return u

    def readout(params, y, x, u):
        del params, x, u
        return y.astype(dtype)

    narrow = readout if wide_type(dtype) != dtype else None
    return Cell(init, initial_carry, project, _recur(linear), narrow, linear)


def _recur(linear):
    """One step of the recurrence that ``linear`` gives the coefficients of."""

    def recur(w, h, u):
        a, b = linear(w, u)
        h = a * h + b
        return h, h

    return recur


def _per_unit(vector: Array, like: Array) -> Array:
    """A vector ``[H]`` with the rank of ``like [..., H]``."""
    return vector.reshape((1,) * (like.ndim - 1) + vector.shape)


def _uniform(key: Array, size: int, low: float, high: float) -> Array:
    """Uniform between the two, and neither of them: logarithms are taken."""
    draw = jax.random.uniform(key, (size,), minval=low, maxval=high)
    ends = np.asarray([low, high], np.float32)
    low, high = np.nextafter(ends, ends[::-1])
    # Devices flush denormal numbers to 0.
    return jnp.clip(draw, max(low, np.finfo(np.float32).tiny), high)


def _complex(dtype: Any) -> Any:
    """The complex type of that real type."""
    return jnp.complex128 if jnp.finfo(dtype).bits == 64 else jnp.complex64


def _check_range(cell: str, name: str, low: float, high: float) -> None:
    if not 0 <= low < high <= 1:
        raise ValueError(
            f"{cell}(min_{name}, max_{name}): expected 0 <= min_{name} < max_{name} <= "
            f"1, got {low} and {high}."
        )
