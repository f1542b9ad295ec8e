"""A cell as a user writes one: the minimal gated unit, its equations and no more."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import rnnjax


def mgu(hidden):
    """``f = sigmoid(u_f + h W_f)``, ``h' = (1 - f) h + f tanh(u_n + (f h) W_n)``.

    Reference: Zhou et al., "Minimal Gated Unit for Recurrent Neural Networks", 2016.
    """

    def init(key, x):
        kernels = rnnjax.cells.simple(2 * hidden, use_bias=False).init(key, x)
        kernels["recurrent"]["kernel"] = kernels["recurrent"]["kernel"][:hidden]
        return kernels

    def recur(w, h, u):
        (u_f, u_n), (w_f, w_n) = jnp.split(u, 2, -1), jnp.split(w["kernel"], 2, -1)
        f = jax.nn.sigmoid(u_f + h @ w_f)
        h = (1 - f) * h + f * jnp.tanh(u_n + (f * h) @ w_n)
        return h, h

    return rnnjax.Cell(
        init,
        lambda params, batch=(): jnp.zeros((*batch, hidden)),
        lambda params, x, key=None: x @ params["input"]["kernel"],
        recur,
    )
