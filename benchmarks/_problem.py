"""What every contender is given: a cell, a size, weights, a sequence; and its work."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax
from rnnjax import RNN, Schedule

CELLS = {
    "lstm": rnnjax.lstm,
    "gru": rnnjax.gru,
    "gru_reset_after": partial(rnnjax.gru, reset_after=True),
    "simple": rnnjax.simple,
}
GATES = {"lstm": 4, "gru": 3, "gru_reset_after": 3, "simple": 1}
SHAPES = ("64,1,64,512", "64,8,64,512", "100,32,128,256", "128,64,256,512")
TINY = "3,2,4,8"


class Shape(NamedTuple):
    """Steps, batch, input features, hidden size; on the command line ``T,B,D,H``."""

    steps: int
    batch: int
    features: int
    hidden: int

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Reads ``"64,8,64,512"``."""
        parts = text.split(",")
        if len(parts) != 4 or not all(p.isdigit() and int(p) > 0 for p in parts):
            raise ValueError(
                f"Expected a shape T,B,D,H of four positive integers, got {text!r}."
            )
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return ",".join(map(str, self))


class Work(NamedTuple):
    """What a run cannot do without; rates and limits follow from it."""

    flops: float
    """Of all matrix products."""
    bytes: float
    """Recurrent kernel once a step; input, output and other weights once."""
    tokens: int
    """Steps times batch."""


def layer(cell: str, hidden: int, schedule: Schedule | None = None) -> RNN:
    """Our layer of that cell; the default `Schedule` where none is given."""
    return CELLS[cell](hidden, schedule=schedule or Schedule())


def weights(rnn: RNN, features: int, seed: int = 0) -> Any:
    """Normal weights that keep the gates off their ends, in the layer's own tree."""
    x = jax.ShapeDtypeStruct((1, features), jnp.float32)
    shapes = jax.eval_shape(rnn.init, jax.random.key(0), x)
    draw = np.random.default_rng(seed).normal

    def leaf(like):
        scale = like.shape[0] ** -0.5 if like.ndim > 1 else 0.1
        return jnp.asarray(draw(scale=scale, size=like.shape), like.dtype)

    return jax.tree.map(leaf, shapes)


def inputs(shape: Shape, seed: int = 1) -> jax.Array:
    """A normal sequence ``[T, B, D]``."""
    draw = np.random.default_rng(seed).normal
    size = (shape.steps, shape.batch, shape.features)
    return jnp.asarray(draw(size=size), jnp.float32)


def given(cell: str, shape: Shape) -> tuple[Any, jax.Array]:
    """The weights and the sequence of one comparison.

    The candidate of a GRU gets no recurrent bias: the cell of Flax NNX has none.
    """
    params = weights(layer(cell, shape.hidden), shape.features)
    if cell == "gru_reset_after":
        bias = params["recurrent"]["bias"]
        params["recurrent"]["bias"] = bias.at[2 * shape.hidden :].set(0)
    return params, inputs(shape)


def work(gates: int, shape: Shape, *, gradient: bool) -> Work:
    """The work of one run: the gradient repeats each product twice, transposed."""
    rows, width = shape.steps * shape.batch, gates * shape.hidden
    passes = 3 if gradient else 1
    flops = 2.0 * rows * width * (shape.features + shape.hidden) * passes
    kernels = width * (shape.features + shape.steps * shape.hidden)
    sequences = rows * (shape.features + shape.hidden)
    return Work(flops, 4.0 * (kernels + sequences) * (2 if gradient else 1), rows)
