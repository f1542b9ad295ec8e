"""The sequential `linear_scan` is the loop that one would write, and no more."""

import re

import jax
import jax.numpy as jnp

import rnnjax
from tests.structure import hlo

A, B, H0 = jnp.ones((6, 2, 3)), jnp.ones((6, 2, 3)), jnp.ones((2, 3))


def by_hand(a, b, h0):
    def step(h, inputs):
        a, b = inputs
        h = a * h + b
        return h, h

    return jax.lax.scan(step, h0, (a, b))


def ours(a, b, h0):
    return rnnjax.linear_scan(a, b, h0, backend="sequential")


def program(f):
    """The optimised computations, without where in the source they come from."""
    text = hlo.optimised(lambda *given: f(*given)[1], A, B, H0)
    return re.sub(r", metadata=\{[^}]*\}", "", text[text.index("\n%") :])


def test_forward_it_is_the_same_program():
    """Its time can only differ by noise."""
    assert program(ours) == program(by_hand)


def test_one_loop_each_way():
    """Nothing is run again in the backward pass: two loops, no product of matrices."""
    loss = jax.grad(lambda *given: jnp.sum(ours(*given)[1] ** 2), (0, 1, 2))
    loops = hlo.innermost_loops(hlo.optimised(loss, A, B, H0))
    assert [loop.products for loop in loops] == [[], []]
