"""Compiled programs: what they return, and what they communicate where."""

from collections import Counter
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from tests.structure import hlo


class Program(NamedTuple):
    """A function compiled for its arguments, run once."""

    result: Any
    text: str

    @property
    def collectives(self):
        """How many of each are in the program."""
        lines = hlo.computations(self.text).values()
        return count(i for instructions in lines for i in instructions)

    @property
    def in_loops(self):
        """How many of each are in the body of each innermost loop, the busiest first.

        Loops without any are left out.
        """
        found = [count(loop.instructions) for loop in hlo.innermost_loops(self.text)]
        return sorted(filter(None, found), key=str)


def count(instructions):
    names = (i.opcode.removesuffix("-start") for i in instructions)
    return dict(Counter(name for name in names if name in hlo.COLLECTIVES))


def program(function, *args, mesh=None):
    """Runs a function under a mesh, and keeps its HLO."""
    if mesh is None:
        compiled = jax.jit(function).lower(*args).compile()
        return Program(jax.device_get(compiled(*args)), compiled.as_text())
    with jax.set_mesh(mesh):
        return program(function, *args)


def loss_of(rnn, weights=None, **options):
    """``(params, carry, xs) -> scalar`` of the outputs and of the last carry."""

    def loss(params, carry, xs):
        carry, ys = rnn.unroll(params, carry, xs, **options)
        total = jnp.sum(jnp.sin(ys))
        for leaf in jax.tree.leaves(carry):
            total += jnp.real(
                jnp.sum(leaf * (1 + 0.1 * jnp.arange(leaf.shape[-1]))[None])
            )
        return total

    return jax.value_and_grad(loss, (0, 1, 2))


def assert_close(got, expected):
    """Equal to 1e-5, relative to the largest number of each leaf."""

    def scaled(leaf, like):
        return np.asarray(leaf) / max(1, np.abs(like).max(initial=0))

    chex.assert_trees_all_equal_structs(got, expected)
    chex.assert_trees_all_close(
        jax.tree.map(scaled, got, expected),
        jax.tree.map(scaled, expected, expected),
        rtol=0,
        atol=1e-5,
    )
