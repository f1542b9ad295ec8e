"""What no schedule can undercut, and the products without the rest of the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ._problem import Shape
from ._tasks import Task, compiled


def products_only(gates: int, shape: Shape, *, gradient: bool) -> Task:
    """`products` as a contender; it has no results to compare."""
    f, args = products(gates, shape, gradient=gradient)
    made = compiled(f, *args)
    return Task(
        lambda: jax.block_until_ready(made.call(*args)),
        lambda: None,
        made.seconds,
        made.temporary_bytes,
    )


def products(
    gates: int, shape: Shape, *, gradient: bool
) -> tuple[Callable[..., Any], tuple[jax.Array, ...]]:
    """The matrix products of one run in the same loops, and nothing else.

    The input product stands before the loop. With ``gradient`` a second loop multiplies
    by the transposed recurrent kernel, and the products of the weight and input
    gradients stand behind it.

    Returns:
      The function and its arguments.
    """
    steps, batch, features, hidden = shape
    wide = (steps, batch, gates * hidden)
    args = (
        jnp.full((steps, batch, features), 0.5),
        jnp.full((steps, batch, hidden), 0.5),
        jnp.full(wide, 0.5),
        jnp.full((features, gates * hidden), 1e-3),
        jnp.full((hidden, gates * hidden), 1 / (gates * hidden)),  # h stays 0.5
    )

    def forward(xs, hs, zs, kernel, recurrent):
        def step(h, _):
            return sum(jnp.split(h @ recurrent, gates, -1)), None

        return xs @ kernel, lax.scan(step, hs[0], None, steps)[0]

    def backward(xs, hs, zs, kernel, recurrent):
        def step(h, _):
            return jnp.tile(h, gates) @ recurrent.T, None

        rows = lambda a: a.reshape(-1, a.shape[-1])  # noqa: E731
        return (
            lax.scan(step, hs[0], None, steps)[0],
            rows(xs).T @ rows(zs),
            rows(hs).T @ rows(zs),
            zs @ kernel.T,
        )

    def both(*args):
        return forward(*args), backward(*args)

    return both if gradient else forward, args
