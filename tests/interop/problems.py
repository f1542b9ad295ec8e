"""One problem for two libraries: weights, a first carry, a sequence, cotangents.

A peer is run on `to_peer(params)`, where `to_peer` is linear in our parameters. So its
gradients are compared with ours in our layout, all of them: those of a peer in JAX are
taken through `to_peer`, those of another are pulled back by its transpose.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import Schedule

T, B, F, H = 6, 3, 4, 5
LENGTHS = [4, 6, 1]
DEFERRED = Schedule(gradient="deferred")
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def peer(name: str) -> Any:
    """Imports another library, or skips the test module where it is absent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return pytest.importorskip(name, reason=f"{name} is not installed")


class Problem(NamedTuple):
    """What both sides are given; the cotangents make a scalar of what they return."""

    params: Any
    carry: Any
    xs: jax.Array
    cotangents: Any


def random_like(seed: int, tree: Any, scale: float = 1.0) -> Any:
    """Normal numbers in the shapes of a tree; nothing of it is computed."""
    draw = np.random.default_rng(seed).normal
    return jax.tree.map(lambda a: draw(scale=scale, size=a.shape).astype(a.dtype), tree)


def problem(rnn: Any, batch_shape: tuple[int, ...] = (B,)) -> Problem:
    """A problem for a layer: every weight, bias and carry is random."""
    xs = jax.ShapeDtypeStruct((T, *batch_shape, F), jnp.float32)
    params = jax.eval_shape(lambda xs: rnn.init(jax.random.key(0), xs[0]), xs)
    carry = jax.eval_shape(lambda p: rnn.initial_carry(p, batch_shape), params)
    out = jax.eval_shape(rnn.unroll, params, carry, xs)
    return Problem(
        params=random_like(1, params, 0.5),
        carry=random_like(2, carry, 0.5),
        xs=random_like(3, xs),
        cotangents=random_like(4, out),
    )


def scalar(tree: Any, cotangents: Any) -> jax.Array:
    """The inner product of outputs with their cotangents."""
    return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, tree, cotangents)))


def results(run: Callable[..., Any], given: Problem) -> Any:
    """``(carry, ys)`` of ``run(params, carry, xs)`` and all gradients."""

    def loss(*args):
        out = run(*args)
        return scalar(out, given.cotangents), out

    gradient = jax.grad(loss, (0, 1, 2), has_aux=True)
    gradients, out = gradient(given.params, given.carry, given.xs)
    return out, gradients


def check_peer(rnn: Any, run: Callable[..., Any], given: Problem, **options) -> None:
    """A peer in JAX, ``run(params, carry, xs)``, gives our outputs and gradients."""

    def ours(params, carry, xs):
        return rnn.unroll(params, carry, xs, **options)

    def both(given):
        return results(ours, given), results(run, given)

    got, expected = jax.jit(both)(given)
    chex.assert_trees_all_close(got, expected, **CLOSE)


def gates(array: jax.Array, count: int) -> list[jax.Array]:
    """The gates along the last axis."""
    return jnp.split(array, count, -1)


def update_gate_keeps(array: jax.Array, order: str = "zrn") -> jax.Array:
    """A GRU's weights for a peer in which z keeps the state, where ours renews it.

    ``1 - sigmoid(a) = sigmoid(-a)``, so z changes its sign. Ours are in the order zrn;
    ``order`` is that of the peer.
    """
    z, r, n = gates(array, 3)
    parts = {"z": -z, "r": r, "n": n}
    return jnp.concatenate([parts[name] for name in order], -1)
