"""`rnnjax.scan` of unmodified Flax cells, under the transformations of Flax.

Each program is written once with the scan as its argument and gives the same with
`jax.lax.scan`; in the optimised program the weight gradients have left the loop.
"""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests.interop.problems import CLOSE, peer, random_like
from tests.interop.scans import SCANS, XS, B, F, H, check_raises_the_same, check_same
from tests.structure import hlo

pytestmark = pytest.mark.interop
nn = peer("flax.linen")
nnx = peer("flax.nnx")

# Sizes at which each product is known by the number of elements of its result.
LONG = {"T": 16, "B": 8, "F": 24, "H": 40}


# NNX


def nnx_cell(name, features=F, hidden=H):
    """A cell with random weights; its own initialisation takes long to compile."""

    def make():
        return getattr(nnx, name)(features, hidden, rngs=nnx.Rngs(0))

    graph, state = nnx.split(nnx.eval_shape(make))
    return nnx.merge(graph, random_like(1, state, 0.5))


def run_nnx(scan, cell, xs, **options):
    """The loop that users write; the weights are closed over."""
    first = cell.initialize_carry(xs.shape[1:], rngs=nnx.Rngs(0))

    def step(carry, x):
        return cell(carry, x)

    return scan(step, first, xs, **options)


def weighted(tree):
    return sum(jnp.sum(jnp.sin(a + i)) for i, a in enumerate(jax.tree.leaves(tree)))


NNX_CELLS = ["SimpleCell", "GRUCell", "LSTMCell", "OptimizedLSTMCell"]


@pytest.mark.parametrize("name", NNX_CELLS)
def test_nnx_grad_and_jit(name):
    def program(scan, cell, xs):
        def loss(cell):
            return weighted(run_nnx(scan, cell, xs))

        return run_nnx(scan, cell, xs), nnx.grad(loss)(cell)

    check_same(program, nnx_cell(name), jnp.asarray(XS), jit=nnx.jit)


class Network(nnx.Module):
    """Two cells, dropout before and a layer after: what a user's module looks like."""

    def __init__(self, scan, rngs):
        self.scan = scan
        self.lower = nnx_cell("LSTMCell")
        self.upper = nnx_cell("GRUCell", H)
        self.dropout = nnx.Dropout(0.25, rngs=rngs)
        self.out = nnx.Linear(H, 1, rngs=rngs)

    def __call__(self, xs):
        shape = (xs.shape[1], H)
        zeros = jnp.zeros(shape)
        first = {"lower": (zeros, zeros), "upper": zeros, "steps": 0}

        def step(carry, x):
            lower, h = self.lower(carry["lower"], x)
            upper, y = self.upper(carry["upper"], h)
            carry = {"lower": lower, "upper": upper, "steps": carry["steps"] + 1}
            return carry, y

        carry, ys = self.scan(step, first, self.dropout(xs))
        return self.out(ys), carry["steps"]


def test_nnx_training_step_in_place():
    """Weights change between calls of one compiled step: none is remembered."""

    @nnx.jit
    def train_step(network, rate):
        def loss(network):
            ys, steps = network(XS)
            return jnp.mean((ys - XS[..., :1]) ** 2), steps

        (value, _), gradient = nnx.value_and_grad(loss, has_aux=True)(network)
        weights = nnx.state(network, nnx.Param)
        new = jax.tree.map(lambda p, g: p - rate * g, weights, gradient)
        nnx.update(network, new)
        return value

    losses, weights = [], []
    for scan in SCANS:
        network = Network(scan, nnx.Rngs(0))
        losses.append([float(train_step(network, 0.1)) for _ in range(3)])
        weights.append(nnx.to_pure_dict(nnx.state(network, nnx.Param)))
    assert len(set(losses[0])) == 3
    chex.assert_trees_all_close(losses[1], losses[0], **CLOSE)
    chex.assert_trees_all_close(weights[1], weights[0], **CLOSE)


def test_nnx_state_changed_in_the_step_raises_the_same():
    def program(scan):
        cell, count = nnx_cell("SimpleCell"), nnx.Variable(jnp.zeros(()))

        def step(carry, x):
            count[...] += 1
            return cell(carry, x)

        return scan(step, jnp.zeros((B, H)), XS)

    check_raises_the_same(program)


def test_nnx_carries_from_init_edge_options_and_ensembles():
    graph, weights = nnx.split(nnx_cell("GRUCell"))
    ensemble = jax.tree.map(lambda w: np.stack([w, 2 * w]), weights)

    def program(scan, weights, ensemble):
        def loss(weights, xs=XS, **options):
            return weighted(run_nnx(scan, nnx.merge(graph, weights), xs, **options))

        tangents = (weights,), (weights,)
        return {
            "reverse": jax.grad(lambda w: loss(w, reverse=True))(weights),
            "unroll": loss(weights, unroll=2),
            "empty": jax.grad(lambda w: loss(w, XS[:0]))(weights),
            "jvp": jax.jvp(loss, *tangents),
            "second": jax.jvp(jax.grad(loss), *tangents)[1],
            "vmap": jax.vmap(jax.grad(loss))(ensemble),
            "checkpoint": jax.grad(jax.checkpoint(loss))(weights),
        }

    check_same(program, weights, ensemble)


# Linen


class LinenNetwork(nn.Module):
    """A cell whose parameters are made before the loop, as under `lax.scan`."""

    scan: object
    features: int = H

    @nn.compact
    def __call__(self, xs):
        cell = nn.OptimizedLSTMCell(self.features)
        first = cell.initialize_carry(jax.random.key(0), xs[0].shape)
        if self.is_initializing():
            cell(first, xs[0])
        _, ys = self.scan(lambda carry, x: cell(carry, x), first, xs)
        return nn.Dense(1)(ys)


def linen_gradient(scan, weights, xs, features=H):
    def loss(weights):
        return jnp.mean(LinenNetwork(scan, features).apply(weights, xs) ** 2)

    return jax.value_and_grad(loss)(weights)


def linen_weights(network, *args):
    """Random weights in the shapes of the network's own."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), *args)
    return random_like(1, shapes, 0.5)


def test_linen_module():
    weights = linen_weights(LinenNetwork(jax.lax.scan), XS)
    check_same(linen_gradient, weights, XS)


@pytest.mark.parametrize("name", ["SimpleCell", "GRUCell", "LSTMCell", "MGUCell"])
def test_linen_apply(name):
    cell = getattr(nn, name)(H)
    first = cell.initialize_carry(jax.random.key(0), (B, F))

    def program(scan, weights, xs):
        def loss(weights, xs):
            out = scan(lambda c, x: cell.apply(weights, c, x), first, xs)
            return weighted(out), out

        return jax.grad(loss, (0, 1), has_aux=True)(weights, xs)

    check_same(program, linen_weights(cell, first, XS[0]), XS)


def test_linen_init_of_a_module_that_scans():
    def program(scan, key):
        return LinenNetwork(scan).init(key, XS)

    check_same(program, jax.random.key(0))


def kernels_in_the_loops(gradient, weights):
    """Sizes of the products in the loops that are as large as a kernel, or several."""
    text = hlo.optimised(gradient, weights)
    products = [p for loop in hlo.innermost_loops(text) for p in loop.products]
    kernels = [math.prod(a.shape) for a in jax.tree.leaves(weights) if a.ndim == 2]
    sizes = {gates * size for size in kernels for gates in (1, 2, 3, 4)}
    return sizes & {size for product in products for size in product.sizes}


def test_deferral_of_a_linen_cell():
    xs = jnp.ones((LONG["T"], LONG["B"], LONG["F"]))
    weights = linen_weights(LinenNetwork(jax.lax.scan, LONG["H"]), xs)

    def found(scan):
        def gradient(weights):
            return linen_gradient(scan, weights, xs, LONG["H"])

        return kernels_in_the_loops(gradient, weights)

    assert found(jax.lax.scan)
    assert not found(rnnjax.scan)


def test_deferral_of_an_nnx_cell():
    xs = jnp.ones((LONG["T"], LONG["B"], LONG["F"]))
    graph, weights = nnx.split(nnx_cell("GRUCell", LONG["F"], LONG["H"]))

    def found(scan):
        def gradient(weights):
            def loss(cell):
                return weighted(run_nnx(scan, cell, xs))

            return nnx.grad(loss)(nnx.merge(graph, weights))

        return kernels_in_the_loops(gradient, weights)

    assert found(jax.lax.scan)
    assert not found(rnnjax.scan)
