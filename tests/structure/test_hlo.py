"""The reader of HLO itself: products behind calls, branches and inner loops."""

import jax.numpy as jnp
from jax import lax

from tests.structure import hlo

SIZE = 24


def test_products_in_called_computations_and_branches_are_found():
    def step(h, x):
        h = jnp.tanh(h @ x)
        h = lax.cond(h[0, 0] > 0, lambda h: h @ x.T, lambda h: h + 1, h)
        return h, None

    xs = jnp.ones((5, SIZE, SIZE))
    text = hlo.optimised(lambda h: lax.scan(step, h, xs)[0], xs[0])
    (loop,) = hlo.innermost_loops(text)
    assert [product.sizes for product in loop.products] == [[SIZE**2]] * 2


def test_only_the_inner_of_two_loops_is_innermost():
    def outer(h, x):
        def inner(h, _):
            return jnp.sin(h @ x), None

        return lax.scan(inner, jnp.cos(h @ x), length=7)[0], None

    xs = jnp.ones((5, SIZE, SIZE))
    text = hlo.optimised(lambda h: lax.scan(outer, h, xs)[0], xs[0])
    assert len(hlo.loops(text)) == 2
    (loop,) = hlo.innermost_loops(text)
    assert len(loop.products) == 1


def test_a_product_outside_the_loop_is_not_in_it():
    def run(h):
        return lax.fori_loop(0, 9, lambda i, h: jnp.sin(h), h @ h) @ h

    text = hlo.optimised(run, jnp.ones((SIZE, SIZE)))
    assert not [p for loop in hlo.loops(text) for p in loop.products]
