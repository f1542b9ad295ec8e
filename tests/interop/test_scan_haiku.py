"""`rnnjax.scan` of unmodified Haiku cores, inside and outside of `hk.transform`."""

import jax
import jax.numpy as jnp
import pytest

from tests.interop.problems import peer, random_like
from tests.interop.scans import XS, B, F, H, check_raises_the_same, check_same

pytestmark = pytest.mark.interop
hk = peer("haiku")


def transformed_loss(scan, name):
    """The loss of a network that makes its parameters before the loop."""

    def loss(xs):
        core = getattr(hk, name)(H)
        state = core.initial_state(xs.shape[1])
        if hk.running_init():
            core(xs[0], state)

        def step(state, x):
            y, state = core(x, state)
            return state, y

        _, ys = scan(step, state, hk.dropout(hk.next_rng_key(), 0.2, xs))
        return jnp.mean(hk.Linear(1)(ys) ** 2)

    return hk.transform(loss)


@pytest.mark.parametrize("name", ["VanillaRNN", "LSTM", "GRU"])
def test_transformed_loss(name):
    def program(scan, key, xs):
        network = transformed_loss(scan, name)
        shapes = jax.eval_shape(network.init, key, xs)
        weights = random_like(1, shapes, 0.5)
        return jax.value_and_grad(network.apply)(weights, key, xs)

    check_same(program, jax.random.key(0), XS)


def test_init():
    def program(scan, key):
        return transformed_loss(scan, "LSTM").init(key, XS)

    check_same(program, jax.random.key(0))


def test_apply_inside_of_the_step():
    """A transformed core, its weights closed over."""

    def core(x, state):
        return hk.GRU(H)(x, state)

    network = hk.without_apply_rng(hk.transform(core))
    first = jnp.zeros((B, H))
    shapes = jax.eval_shape(network.init, jax.random.key(0), XS[0], first)

    def program(scan, weights, xs):
        def loss(weights, xs):
            def step(state, x):
                return network.apply(weights, x, state)[::-1]

            state, ys = scan(step, first, xs, reverse=True)
            return jnp.sum(jnp.sin(ys)) + jnp.sum(state), ys

        return jax.grad(loss, (0, 1), has_aux=True)(weights, xs)

    check_same(program, random_like(1, shapes, 0.5), XS)


def test_key_taken_in_the_step():
    """Haiku draws from its own state: it may be asked once only, as by `lax.scan`."""

    def program(scan, key):
        def loss(xs):
            def step(h, x):
                h = jnp.tanh(h + hk.dropout(hk.next_rng_key(), 0.5, x))
                return h, h

            return jnp.sum(scan(step, jnp.zeros((B, F)), xs)[1])

        return hk.transform(loss).apply({}, key, XS)

    check_same(program, jax.random.key(0))


def test_parameters_made_in_the_step_raise_the_same():
    def program(scan):
        def loss(xs):
            core = hk.LSTM(H)
            return scan(lambda s, x: core(x, s)[::-1], core.initial_state(B), xs)[1]

        network = hk.transform(loss)
        return network.apply(network.init(jax.random.key(0), XS), None, XS)

    check_raises_the_same(program)
