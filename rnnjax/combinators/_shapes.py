"""What the combinators ask of the layers inside them: shapes, types, explanations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax._checks import as_arrays, batch_shape_of, check_carry
from rnnjax.base import RNN, Carry, Explanation, Params, PyTree, Shape


def sequence(rnn: RNN, xs: PyTree) -> tuple[PyTree, int, Shape]:
    """``xs`` as arrays, its number of steps and its batch axes, checked."""
    xs = as_arrays("xs", xs)
    length, *batch = batch_shape_of("xs", xs, rnn.event_ndim, time=True)
    return xs, length, tuple(batch)


def one_step(rnn: RNN, x: PyTree) -> tuple[PyTree, Shape]:
    """``x`` as arrays and its batch axes, checked."""
    x = as_arrays("x", x)
    return x, batch_shape_of("x", x, rnn.event_ndim, time=False)


def given_carry(rnn: RNN, params: Params, carry: Carry | None, batch: Shape) -> Carry:
    """``carry`` checked; None is the initial one."""
    first = rnn.initial_carry(params, batch)
    if carry is None:
        return first
    check_carry(carry, first)
    return jax.tree.map(jnp.asarray, carry)


def step_output(rnn: RNN, params: Params, x: PyTree) -> PyTree:
    """Shapes of the output at one step ``x``; also of a layer that cannot `step`."""

    def output(params, x):
        xs = jax.tree.map(lambda a: jnp.asarray(a)[None], x)
        return jax.tree.map(lambda a: a[0], rnn.unroll(params, None, xs)[1])

    return jax.eval_shape(output, params, x)


def explained(
    explanation: Explanation, unroll: Callable[..., Any], params: Params, xs: PyTree
) -> Explanation:
    """``explanation`` with the output's shapes and the number of parameters."""
    output = jax.eval_shape(lambda p, x: unroll(p, None, x)[1], params, xs)
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    return explanation._replace(output=output, parameters=count)
