"""Gated recurrent unit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import initializers
from rnnjax._by_hand import HandSchedule, schedule_by_hand
from rnnjax._checks import positive
from rnnjax._norm import normalise, normalise_groups
from rnnjax._wide import add_bias, product, wide_sum
from rnnjax.base import Cell
from rnnjax.cells import _affine as affine
from rnnjax.initializers import Initializer


def gru(
    hidden_size: int,
    *,
    reset_after: bool = False,
    use_bias: bool = True,
    layer_norm: bool = False,
    kernel_init: Initializer = affine.DEFAULT_KERNEL,
    recurrent_init: Initializer = affine.DEFAULT_RECURRENT,
    bias_init: Initializer = initializers.zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """The GRU cell.

    ``z = sigmoid(x_t W_z + h_{t-1} U_z + b_z)``,
    ``r = sigmoid(x_t W_r + h_{t-1} U_r + b_r)``,
    ``n = tanh(x_t W_n + (r * h_{t-1}) U_n + b_n)``,
    ``h_t = (1 - z) * h_{t-1} + z * n``, ``y_t = h_t``

    With ``reset_after`` the reset comes after the product,
    ``n = tanh(x_t W_n + b_n + r * (h_{t-1} U_n + c_n))``: the variant of Keras, PyTorch
    and cuDNN. With ``layer_norm`` the products of z and r together, and that of n, are
    normalised (Ba et al. 2016).

    Args:
      hidden_size: ``H``.
      reset_after: reset after the product; adds a recurrent bias.
      use_bias: False leaves all biases out.
      layer_norm: normalise the products with ``x`` and with ``h``.
      kernel_init: of ``W``, gate by gate.
      recurrent_init: of ``U``, gate by gate.
      bias_init: of ``b``, shape ``[3, H]``, rows z, r, n. See also
        `initializers.chrono_gru`.
      dtype: of the computation; None is ``param_dtype``.
      param_dtype: of the parameters.

    Returns:
      A `Cell` with parameters ``input.kernel [F, 3H]``, ``input.bias [3H]`` and
      ``recurrent.kernel [H, 3H]``, gates in the order z, r, n, and carry
      ``h [*batch, H]``. ``reset_after`` adds ``recurrent.bias [3H]``, ``layer_norm`` a
      ``scale [3H]`` in both.

    Raises:
      ValueError: ``hidden_size`` is not a positive integer.

    Example:
      >>> import jax, rnnjax
      >>> rnn = rnnjax.gru(4)
      >>> xs = jax.numpy.ones((10, 2, 3))
      >>> params = rnn.init(jax.random.key(0), xs[0])
      >>> h, hs = rnn.unroll(params, None, xs)
      >>> h.shape, hs.shape
      ((2, 4), (10, 2, 4))

    Reference: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder
    for Statistical Machine Translation", EMNLP 2014.
    """
    hidden_size = positive("hidden_size", hidden_size)
    dtype = dtype or param_dtype
    norm = (2 * hidden_size, hidden_size) if layer_norm else None

    def init(key, x):
        input_key, recurrent_key = jax.random.split(key)
        shared = {"norms": layer_norm, "dtype": param_dtype}
        params = {
            "input": affine.input_params(
                input_key,
                x.shape[-1],
                3,
                hidden_size,
                kernel_init=kernel_init,
                bias_init=bias_init if use_bias else None,
                **shared,
            ),
            "recurrent": affine.recurrent_params(
                recurrent_key, 3, hidden_size, kernel_init=recurrent_init, **shared
            ),
        }
        if reset_after and use_bias:
            params["recurrent"]["bias"] = jnp.zeros(3 * hidden_size, param_dtype)
        return params

    def initial_carry(params, batch_shape=()):
        del params
        return affine.zeros_carry(batch_shape, hidden_size, dtype)

    def project(params, x, key=None):
        del key
        return affine.project(params["input"], x, dtype, norm)

    def recur_before(w, h, u):
        kernel = w["kernel"].astype(dtype)
        zr = product(affine.masked(w, h), kernel[:, : 2 * hidden_size])
        if norm:
            zr = normalise(zr, w["scale"][: 2 * hidden_size])
        zr = jax.nn.sigmoid(wide_sum(u[..., : 2 * hidden_size], zr))
        z, r = jnp.split(zr, 2, -1)
        n = product(r * affine.masked(w, h), kernel[:, 2 * hidden_size :])
        if norm:
            n = normalise(n, w["scale"][2 * hidden_size :])
        n = jnp.tanh(wide_sum(u[..., 2 * hidden_size :], n))
        h = (1 - z) * h + z * n
        return h, h

    def recur_after(w, h, u):
        seen = affine.recurrent_product(w, h, dtype)
        if norm:
            seen = normalise_groups(seen, w["scale"], norm)
        seen = add_bias(seen, w.get("bias")).astype(dtype)
        u_z, u_r, u_n = jnp.split(u, 3, -1)
        z, r, n = jnp.split(seen, 3, -1)
        z, r = jax.nn.sigmoid(u_z + z), jax.nn.sigmoid(u_r + r)
        n = jnp.tanh(u_n + r * n)
        h = (1 - z) * h + z * n
        return h, h

    recur = recur_after if reset_after else recur_before
    if not norm:
        by_hand = _RESET_AFTER if reset_after else _RESET_BEFORE
        schedule_by_hand(recur, by_hand, project)
    return Cell(init, initial_carry, project, recur)


def _step_before(product, carry, u):
    (h,) = carry
    u_zr, u_n = jnp.split(u, [2 * h.shape[-1]], -1)
    z, r = jnp.split(jnp.tanh(u_zr + product(0, h)) / 2 + 0.5, 2, -1)
    n = jnp.tanh(u_n + product(1, r * h))
    factors = {
        "h": 1 - z,
        "r h": r,
        "z": 2 * (n - h) * (z - z * z),
        "r": 2 * h * (r - r * r),
        "n": z * (1 - n * n),
    }
    return (h + z * (n - h),), factors


def _operand_before(factors, k, dcarry, dv):
    if k == 0:
        return dcarry[0]
    _, r = dv[0]
    return factors["r h"] * dcarry[0] + r


def _update_before(factors, dcarry, dv):
    (z, _), (n,) = dv
    return (factors["h"] * dcarry[0] + z + n,)


def _step_after(product, carry, u):
    (h,) = carry
    recurrent = product(0, h)
    u_zr, u_n = jnp.split(u, [2 * h.shape[-1]], -1)
    zr, seen = jnp.split(recurrent, [2 * h.shape[-1]], -1)
    z, r = jnp.split(jnp.tanh(u_zr + zr) / 2 + 0.5, 2, -1)
    n = jnp.tanh(u_n + r * seen)
    of_n = z * (1 - n * n)
    factors = {
        "h": 1 - z,
        "r seen": r,
        "z": 2 * (n - h) * (z - z * z),
        "r": 2 * of_n * seen * (r - r * r),
        "n": of_n,
    }
    return (h + z * (n - h),), factors


def _update_after(factors, dcarry, dv):
    ((z, r, n),) = dv
    return (factors["h"] * dcarry[0] + z + r + n,)


def _product_scale_after(factors):
    one = jnp.ones_like(factors["r seen"])
    return (jnp.concatenate([one, one, factors["r seen"]], -1),)


_RESET_BEFORE = HandSchedule(
    gates=(2, 1),
    scales=(0.5, 0.5, 1.0),
    step=_step_before,
    operands=lambda factors, h: (h, factors["r h"] * h),
    operand=_operand_before,
    update=_update_before,
    slopes=("z", "r", "n"),
)
_RESET_AFTER = HandSchedule(
    gates=(3,),
    scales=(0.5, 0.5, 1.0),
    step=_step_after,
    operands=lambda factors, h: (h,),
    operand=lambda factors, k, dcarry, dv: dcarry[0],
    update=_update_after,
    slopes=("z", "r", "n"),
    product_scale=_product_scale_after,
    apart=("h", "r seen"),
)
