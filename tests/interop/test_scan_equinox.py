"""`rnnjax.scan` of unmodified Equinox cells, under `filter_grad` and `filter_jit`."""

import jax
import jax.numpy as jnp
import pytest

from tests.interop.problems import peer, random_like
from tests.interop.scans import XS, F, H, check_raises_the_same, check_same

pytestmark = pytest.mark.interop
eqx = peer("equinox")


class Network(eqx.Module):
    """The network of Equinox's own example of a recurrent network, scan swapped."""

    cell: eqx.Module
    linear: eqx.nn.Linear
    is_lstm: bool = eqx.field(static=True)

    def __init__(self, name, key):
        cell_key, linear_key = jax.random.split(key)
        self.cell = getattr(eqx.nn, name)(F, H, key=cell_key)
        self.linear = eqx.nn.Linear(H, 1, use_bias=False, key=linear_key)
        self.is_lstm = name == "LSTMCell"

    def step(self, state, x):
        state = self.cell(x, state)
        return state, self.linear(state[0] if self.is_lstm else state)

    def __call__(self, scan, xs):
        state = (jnp.zeros(H), jnp.zeros(H)) if self.is_lstm else jnp.zeros(H)
        return scan(lambda state, x: self.step(state, x), state, xs)


def made(name):
    """A network with random weights."""
    shapes = eqx.filter_eval_shape(Network, name, jax.random.key(0))
    return jax.tree.map(jnp.asarray, random_like(1, shapes, 0.5))


@pytest.mark.parametrize("name", ["GRUCell", "LSTMCell"])
def test_filter_grad_and_jit_over_a_vmapped_batch(name):
    def program(scan, network, xs):
        def loss(network):
            last, ys = jax.vmap(lambda xs: network(scan, xs), 1)(xs)
            return jnp.sum(jnp.sin(ys)), (last, ys)

        return eqx.filter_value_and_grad(loss, has_aux=True)(network)

    check_same(program, made(name), XS, jit=eqx.filter_jit)


@pytest.mark.parametrize("bound", [False, True], ids=["module", "method"])
def test_a_module_or_its_method_as_the_step_raises_the_same(bound):
    """Neither is hashable, and `lax.scan` wants a step that is."""
    network = made("GRUCell")

    class Step(eqx.Module):
        network: Network

        def __call__(self, state, x):
            return self.network.step(state, x)

    step = network.step if bound else Step(network)
    check_raises_the_same(
        lambda scan: jax.jit(lambda h: scan(step, h, XS[:, 0]))(jnp.zeros(H))
    )


def test_checkpoint_and_jvp_of_filtered_weights():
    weights, rest = eqx.partition(made("LSTMCell"), eqx.is_array)

    def program(scan, weights):
        def loss(weights):
            network = eqx.combine(weights, rest)
            return jnp.sum(network(scan, XS[:, 0])[1] ** 2)

        return (
            jax.grad(eqx.filter_checkpoint(loss))(weights),
            jax.jvp(jax.grad(loss), (weights,), (weights,)),
        )

    check_same(program, weights, jit=eqx.filter_jit)
