"""The core claim, read off the optimised HLO: what is not in the time loop.

One compilation of the gradient with respect to parameters and inputs shows the forward
and the backward loop. Sizes are chosen so that every product is known by the number of
elements of its result.
"""

import functools

import jax
import jax.numpy as jnp
import pytest

import rnnjax
from rnnjax import Schedule
from tests.conformance.cells import mgu
from tests.structure import hlo

T, B, F, H = 16, 32, 24, 40
FORWARD, BACKWARD = 0, 1


def simple(schedule):
    return rnnjax.simple(H, schedule=schedule)


def lstm(schedule):
    return rnnjax.lstm(H, schedule=schedule)


def gru(schedule):
    return rnnjax.gru(H, schedule=schedule)


def gru_reset_after(schedule):
    return rnnjax.gru(H, reset_after=True, schedule=schedule)


def user_mgu(schedule):
    return rnnjax.layer(mgu(H, jnp.float32), schedule)


# The results of the products of one step, forward and backward, and the weights.
PRODUCTS = {
    simple: ([H], [H], [H]),
    lstm: ([4 * H], [H], [4 * H]),
    gru: ([2 * H, H], [H, H], [2 * H, H]),
    gru_reset_after: ([3 * H], [H], [3 * H]),
    user_mgu: ([H, H], [H, H], [H, H]),
}
every_cell = pytest.mark.parametrize("cell", PRODUCTS)


def gradient_of(rnn, **options):
    def loss(params, xs):
        return jnp.sum(rnn.unroll(params, None, xs, **options)[1] ** 2)

    return jax.grad(loss, (0, 1))


@functools.cache
def compiled_gradient(cell, gradient, backend="scan"):
    rnn, xs = cell(Schedule(gradient=gradient, backend=backend)), jnp.ones((T, B, F))
    params = rnn.init(jax.random.key(0), xs[0])
    return hlo.optimised(gradient_of(rnn), params, xs)


def results(loop):
    return sorted(size for product in loop.products for size in product.sizes)


def sizes(rows, columns):
    return sorted(rows * n for n in columns)


@every_cell
def test_the_loops_have_the_recurrent_products_alone(cell):
    """So neither the input product nor that of a weight gradient is among them."""
    forward, backward, _ = PRODUCTS[cell]
    loops = hlo.innermost_loops(compiled_gradient(cell, "deferred"))
    assert [results(loop) for loop in loops] == [sizes(B, forward), sizes(B, backward)]


@pytest.mark.parametrize("cell", [simple, lstm, gru, gru_reset_after])
def test_so_have_those_of_the_schedule_written_by_hand(cell):
    forward, backward, _ = PRODUCTS[cell]
    loops = hlo.innermost_loops(compiled_gradient(cell, "auto", "fused"))
    assert [results(loop) for loop in loops] == [sizes(B, forward), sizes(B, backward)]


@every_cell
def test_under_autodiff_the_weight_gradient_is_in_the_loop(cell):
    """The control: the same reading of the same program finds what it looks for."""
    forward, backward, weights = PRODUCTS[cell]
    loops = hlo.innermost_loops(compiled_gradient(cell, "autodiff"))
    expected = sorted(sizes(B, backward) + sizes(H, weights))
    assert [results(loop) for loop in loops] == [sizes(B, forward), expected]


def test_an_input_product_in_the_loop_is_seen():
    """The control for the other claim: `with_carries` runs whole steps in its loop."""
    rnn, xs = rnnjax.with_carries(rnnjax.lstm(H)), jnp.ones((T, B, F))
    params = rnn.init(jax.random.key(0), xs[0])
    (loop,) = hlo.innermost_loops(
        hlo.optimised(lambda p, xs: rnn.unroll(p, None, xs)[1][0], params, xs)
    )
    assert results(loop) == [B * 4 * H, B * 4 * H]


def test_resets_mask_and_reverse_add_no_product():
    rnn, xs = lstm(Schedule(gradient="deferred", backend="scan")), jnp.ones((T, B, F))
    params = rnn.init(jax.random.key(0), xs[0])

    def gradient(params, xs, resets, mask):
        options = {"resets": resets, "mask": mask, "reverse": True}
        return gradient_of(rnn, **options)(params, xs)

    flags = jnp.ones((T, B), bool)
    loops = hlo.innermost_loops(hlo.optimised(gradient, params, xs, flags, flags))
    assert [results(loop) for loop in loops] == [[B * 4 * H], [B * H]]


@pytest.mark.parametrize("layers", [2])
def test_each_layer_of_a_stack_has_its_own_two_loops(layers):
    rnn = rnnjax.stack(*[lstm(Schedule(gradient="deferred", backend="scan"))] * layers)
    xs = jnp.ones((T, B, F))
    params = rnn.init(jax.random.key(0), xs[0])
    loops = hlo.innermost_loops(hlo.optimised(gradient_of(rnn), params, xs))
    found = [results(loop) for loop in loops]
    assert sorted(found) == [[B * H]] * layers + [[B * 4 * H]] * layers


@pytest.mark.parametrize("remat", ["none", "step"])
def test_no_weight_gradient_in_the_innermost_loop_of_blocks(remat):
    schedule = Schedule("deferred", "scan", remat, block=T // 4)
    rnn, xs = lstm(schedule), jnp.ones((T, B, F))
    params = rnn.init(jax.random.key(0), xs[0])
    loops = hlo.innermost_loops(hlo.optimised(gradient_of(rnn), params, xs))
    found = [size for loop in loops for size in results(loop)]
    assert loops
    assert H * 4 * H not in found  # that of the recurrent kernel
    assert F * 4 * H not in found  # and of the input kernel


def test_scan_defers_what_the_step_closes_over():
    xs = jnp.ones((T, B, H))

    def gradient(scan):
        def loss(w):
            def step(h, x):
                h = jnp.tanh(h @ w + x)
                return h, h

            return jnp.sum(scan(step, jnp.zeros((B, H)), xs)[1] ** 2)

        text = hlo.optimised(jax.grad(loss), jnp.ones((H, H)))
        return results(hlo.innermost_loops(text)[BACKWARD])

    assert gradient(rnnjax.scan) == [B * H]
    assert gradient(jax.lax.scan) == [B * H, H * H]
