"""What the gated cells share: products, biases, layer normalisation, dtypes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import initializers
from rnnjax._checks import check_features, check_recurrent
from rnnjax._norm import normalise_groups
from rnnjax._wide import add_bias, product
from rnnjax.base import Array, Params
from rnnjax.initializers import Initializer, gate_kernels


def input_params(
    key: Array,
    features: int,
    gates: int,
    hidden_size: int,
    *,
    kernel_init: Initializer,
    bias_init: Initializer | None,
    norms: int,
    dtype: Any,
) -> Params:
    """Kernel ``[F, gates * H]``, bias and (with ``norms``) the layer norm's scale."""
    kernel_key, bias_key = jax.random.split(key)
    shape = (gates, hidden_size)
    params = {
        "kernel": gate_kernels(
            kernel_init, kernel_key, gates, features, hidden_size, dtype
        )
    }
    if bias_init is not None:
        params["bias"] = bias_init(bias_key, shape, dtype).reshape(-1)
    if norms:
        params["scale"] = jnp.ones(gates * hidden_size, dtype)
    return params


def recurrent_params(
    key: Array,
    gates: int,
    hidden_size: int,
    *,
    kernel_init: Initializer,
    norms: int,
    dtype: Any,
) -> Params:
    """Recurrent kernel ``[H, gates * H]`` and (with ``norms``) the scale."""
    params = {
        "kernel": gate_kernels(kernel_init, key, gates, hidden_size, hidden_size, dtype)
    }
    if norms:
        params["scale"] = jnp.ones(gates * hidden_size, dtype)
    return params


def project(
    params: Params, x: Array, dtype: Any, norm_sizes: tuple[int, ...] | None = None
) -> Array:
    """``x W + b`` in ``dtype``, ``x W`` normalised in groups of ``norm_sizes``."""
    check_features("x (one step of xs)", x, params["kernel"].shape[0])
    u = product(x.astype(dtype), params["kernel"].astype(dtype))
    if norm_sizes is not None:
        u = normalise_groups(u, params["scale"], norm_sizes)
    return add_bias(u, params.get("bias")).astype(dtype)


def recurrent_product(w: Params, h: Array, dtype: Any) -> Array:
    """``h W`` of ``h`` as `masked`, wide."""
    return product(masked(w, h), w["kernel"].astype(dtype))


def masked(w: Params, h: Array) -> Array:
    """``h`` as it enters the recurrent product.

    That is ``h`` times the mask that `rnnjax.variational_dropout` bound into the
    recurrent parameters, where it did.

    Raises:
      ValueError: the recurrent kernel is that of another hidden size.
    """
    check_recurrent(w["kernel"], h)
    return h * w["mask"].astype(h.dtype) if "mask" in w else h


def zeros_carry(batch_shape: tuple[int, ...], hidden_size: int, dtype: Any) -> Array:
    """Zeros ``[*batch, H]``."""
    return jnp.zeros((*batch_shape, hidden_size), dtype)


DEFAULT_KERNEL = initializers.glorot_uniform()
DEFAULT_RECURRENT = initializers.orthogonal()
