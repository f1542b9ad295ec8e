"""The equations under `jax.lax.scan`, as one writes them by hand; autodiff."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from .._tasks import Program


def _simple(w, h, u):
    h = jnp.tanh(u + h @ w["kernel"])
    return h, h


def _lstm(w, carry, u):
    h, c = carry
    i, f, g, o = jnp.split(u + h @ w["kernel"], 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def _gru(w, h, u):
    hidden = h.shape[-1]
    u_zr, u_n = jnp.split(u, [2 * hidden], -1)
    w_zr, w_n = jnp.split(w["kernel"], [2 * hidden], -1)
    z, r = jnp.split(jax.nn.sigmoid(u_zr + h @ w_zr), 2, -1)
    n = jnp.tanh(u_n + (r * h) @ w_n)
    h = (1 - z) * h + z * n
    return h, h


def _gru_reset_after(w, h, u):
    u_z, u_r, u_n = jnp.split(u, 3, -1)
    z, r, n = jnp.split(h @ w["kernel"] + w["bias"], 3, -1)
    z, r = jax.nn.sigmoid(u_z + z), jax.nn.sigmoid(u_r + r)
    h = (1 - z) * h + z * jnp.tanh(u_n + r * n)
    return h, h


def _program(recur: Callable, hoisted: bool, features: int, hidden: int) -> Program:
    def project(params, x):
        return x @ params["input"]["kernel"] + params["input"]["bias"]

    def initial_carry(batch):
        h = jnp.zeros((batch, hidden))
        return (h, h) if recur is _lstm else h

    def step(params, carry, x):
        return recur(params["recurrent"], carry, project(params, x))

    def unroll(params, xs):
        first = initial_carry(xs.shape[1])
        if hoisted:
            loop = lambda carry, u: recur(params["recurrent"], carry, u)  # noqa: E731
            return lax.scan(loop, first, project(params, xs))[1]
        return lax.scan(lambda carry, x: step(params, carry, x), first, xs)[1]

    return Program(lambda params: params, unroll, step, initial_carry)


_CELLS = {
    "simple": _simple,
    "lstm": _lstm,
    "gru": _gru,
    "gru_reset_after": _gru_reset_after,
}
PROGRAMS = {
    "lax": {c: partial(_program, f, False) for c, f in _CELLS.items()},
    "lax_hoisted": {c: partial(_program, f, True) for c, f in _CELLS.items()},
}
