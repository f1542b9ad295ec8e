"""Cells that a user might write: the registry takes them beside the built-in ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp

import rnnjax


def mgu(hidden_size, dtype):
    """Minimal gated unit (Zhou et al. 2016), in the 12 lines of the README."""

    def init(key, x):
        return rnnjax.cells.simple(2 * hidden_size, param_dtype=dtype).init(key, x) | {
            "recurrent": jax.random.normal(key, (hidden_size, 2 * hidden_size), dtype)
        }

    def initial_carry(params, batch_shape=()):
        return jnp.zeros((*batch_shape, hidden_size), dtype)

    def project(params, x, key=None):
        return x @ params["input"]["kernel"]

    def recur(w, h, u):
        (u_f, u_n), (w_f, w_n) = jnp.split(u, 2, -1), jnp.split(w, 2, -1)
        f = jax.nn.sigmoid(u_f + h @ w_f)
        h = (1 - f) * h + f * jnp.tanh(u_n + (f * h) @ w_n)
        return h, h

    return rnnjax.Cell(init, initial_carry, project, recur)


def decaying(hidden_size, dtype):
    """Input ``(x, dt)``: the state decays over the time ``dt`` between observations.

    It has a readout, which sees the input again, and a learned initial carry.
    """

    def init(key, x):
        simple = rnnjax.cells.simple(hidden_size, param_dtype=dtype).init(key, x[0])
        simple["recurrent"]["rate"] = jnp.ones(hidden_size, dtype)
        return simple | {"initial": jnp.full(hidden_size, 0.5, dtype)}

    def initial_carry(params, batch_shape=()):
        return jnp.broadcast_to(params["initial"], (*batch_shape, hidden_size))

    def project(params, inputs, key=None):
        x, dt = inputs
        return x @ params["input"]["kernel"], dt

    def recur(w, h, inputs):
        u, dt = inputs
        rate = jnp.broadcast_to(jax.nn.softplus(w["rate"]), h.shape)
        h = jnp.tanh(u + (h * jnp.exp(-rate * dt[..., None])) @ w["kernel"])
        return h, {"h": h, "dt": dt}

    def readout(params, y, x, u):
        return {"gated": y["h"] * jax.nn.sigmoid(u[0]), "later": y["dt"] + x[1]}

    return rnnjax.Cell(init, initial_carry, project, recur, readout)


def clocked(hidden_size, dtype):
    """A carry of every kind: float, bool, an int32 time index, a PRNG key and None."""

    def init(key, x):
        return rnnjax.cells.simple(hidden_size, param_dtype=dtype).init(key, x)

    def initial_carry(params, batch_shape=()):
        return {
            "h": jnp.zeros((*batch_shape, hidden_size), dtype),
            "time": jnp.zeros(batch_shape, jnp.int32),
            "even": jnp.ones(batch_shape, bool),
            "key": jnp.broadcast_to(jax.random.key(7), batch_shape),
            "nothing": None,
        }

    def project(params, x, key=None):
        return x @ params["input"]["kernel"]

    def recur(w, carry, u):
        def draw(key, time):
            noise = jax.random.normal(key, (hidden_size,), dtype)
            return jax.random.fold_in(key, time), noise

        for _ in carry["time"].shape:
            draw = jax.vmap(draw)
        key, noise = draw(carry["key"], carry["time"])
        phase = 1.0 + jnp.cos(carry["time"].astype(dtype))[..., None]
        phase = jnp.where(carry["even"][..., None], phase, 0.5)
        h = jnp.tanh(u + carry["h"] @ w["kernel"] * phase + 0.1 * noise)
        new = {"h": h, "time": carry["time"] + 1, "even": ~carry["even"], "key": key}
        return new | {"nothing": None}, (h, carry["time"])

    return rnnjax.Cell(init, initial_carry, project, recur)


def branching(hidden_size, dtype):
    """A `cond`, a `custom_jvp` and an inner loop inside the step."""

    def init(key, x):
        return rnnjax.cells.simple(hidden_size, param_dtype=dtype).init(key, x)

    def initial_carry(params, batch_shape=()):
        return jnp.zeros((*batch_shape, hidden_size), dtype)

    def project(params, x, key=None):
        return x @ params["input"]["kernel"]

    def recur(w, h, u):
        product = h @ w["kernel"]
        h = jax.lax.cond(u.sum() > 0, lambda: u + product, lambda: u - 2 * product)
        h = jax.lax.fori_loop(0, 2, lambda i, h: jnp.tanh(h @ w["kernel"] + u), h)
        return h, jax.nn.relu(h) + jax.nn.logsumexp(h, -1, keepdims=True)

    return rnnjax.Cell(init, initial_carry, project, recur)
