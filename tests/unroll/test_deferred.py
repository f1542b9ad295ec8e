"""Deferral of steps that the registry does not have: complex, integer, custom rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax.unroll._deferred import deferred_scan
from tests.conformance.harness import EXACT, assert_close, compiled

pytestmark = pytest.mark.usefixtures("x64")
T, H = 5, 3
GENERATOR = np.random.default_rng(0)
# NumPy, because float64 is on inside the tests alone.
W, H0, XS = (GENERATOR.normal(size=shape) for shape in ((H, H), H, (T, H)))


@jax.custom_vjp
def doubled(x):
    return 2 * x


doubled.defvjp(lambda x: (2 * x, None), lambda _, g: (3 * g,))  # not its derivative


def with_custom_vjp(w, h, x):
    h = jnp.tanh(doubled(h) @ w + x)
    return h, h


def with_weights_of_every_kind(w, h, x):
    h = jnp.tanh(h @ w["kernel"] * w["count"] + x)
    return h, jnp.where(w["flag"], h, 0.0)


def complex_carry(w, z, x):
    z = (w["kernel"] @ z) * jnp.exp(1j * w["phase"]) + x
    return z, z.real * z.imag


def integers_alone(w, n, x):
    return n + 1, x @ w * n


def output_alone(w, h, x):
    return h, x @ w


def carry_alone(w, h, x):
    return jnp.sin(h @ w + x), None


def with_a_loop(w, h, x):
    h, _ = jax.lax.scan(lambda h, v: (jnp.tanh(h @ w + v), None), h, jnp.stack([x, x]))
    return h, h


def gated(w, carry, x):
    """Products of moving, of still and of mixed operands; sums before and after."""
    h, c = carry
    gate = jax.nn.sigmoid(x - h @ w["kernel"] + w["bias"] + x @ w["input"])
    c = gate * c * w["decay"] + jnp.tanh((gate * h) @ jnp.exp(w["kernel"])) * x
    scores = (w["memory"] @ c) + w["matrix"] @ h
    return (jnp.tanh(c + scores * w["bias"]), c), (scores @ w["memory"], h @ (c * h))


def still_outputs(w, carry, x):
    h, bias = carry
    return (jnp.sin(x @ w["kernel"]), w["bias"]), (w["bias"], x, h * bias)


def sums_of_one_value(w, h, x):
    z = h @ w + h
    h = jnp.tanh(z + z - h + x) - x
    return h, -(h + h)


def forgetful(w, h, x):
    return jnp.zeros_like(h), jax.lax.stop_gradient(h @ w) + h * 0


WEIGHTS = {
    "kernel": 0.3 * W,
    "input": W.T,
    "memory": W[::-1],
    "matrix": W @ W,
    "bias": H0,
    "decay": XS[0],
}
STEPS = {
    gated: (WEIGHTS, (H0, H0[::-1])),
    still_outputs: (WEIGHTS, (H0, H0[::-1])),
    sums_of_one_value: (W, H0),
    forgetful: (W, H0),
    with_custom_vjp: (W, H0),
    with_weights_of_every_kind: (
        {"kernel": W, "count": np.array(2), "flag": np.array(True), "none": None},
        H0,
    ),
    complex_carry: (
        {"kernel": 0.4 * W + 0.2j * W.T, "phase": H0},
        H0 + 1j * H0[::-1],
    ),
    integers_alone: (W, np.array(3)),
    output_alone: (W, H0),
    carry_alone: (W, H0),
    with_a_loop: (0.5 * W, H0),
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_outputs_and_gradients_are_those_of_lax_scan(step, reverse):
    w, carry, xs = jax.tree.map(jnp.asarray, (*STEPS[step], XS))

    def gradient(scan):
        def loss(w, carry, xs):
            last, ys = scan(w, carry, xs)
            leaves = [jnp.asarray(a) for a in jax.tree.leaves((last, ys))]
            total = sum(jnp.sum(jnp.abs(jnp.sin(a)) ** 2) for a in leaves)
            return total, (last, ys)

        run = jax.grad(loss, (0, 1, 2), has_aux=True, allow_int=True)
        gradients, outputs = compiled(run)(w, carry, xs)
        kept = [g for g in jax.tree.leaves(gradients) if g.dtype != jax.dtypes.float0]
        return kept, outputs

    def plain(w, carry, xs):
        return jax.lax.scan(lambda c, x: step(w, c, x), carry, xs, reverse=reverse)

    def deferred(w, carry, xs):
        return deferred_scan(step, w, carry, xs, length=T, reverse=reverse)

    assert_close(gradient(deferred), gradient(plain), **EXACT)


def test_what_depends_on_the_weights_alone_is_not_stacked_over_time():
    """Neither the kernel nor a function of it gets a copy for every step."""

    def step(w, h, x):
        h = jnp.tanh(h @ jnp.exp(w) + x)
        return h, h

    def loss(w, h, xs):
        return jnp.sum(deferred_scan(step, w, h, xs, length=T)[1])

    jaxpr = jax.make_jaxpr(jax.grad(loss))(W, H0, XS)
    shapes = {v.aval.shape for v in outputs_of(jaxpr.jaxpr)}
    assert (H, H) in shapes
    assert (T, H, H) not in shapes


def test_the_gradient_recomputes_no_product_and_accumulates_no_kernel():
    """A product a kernel in the forward loop, in the backward loop, and outside."""
    batch = 2

    def step(w, h, x):
        f = jax.nn.sigmoid(x + h @ w["f"])
        h = (1 - f) * h + f * jnp.tanh(x + (f * h) @ w["n"])
        return h, h

    def loss(w, h, xs):
        return jnp.sum(deferred_scan(step, w, h, xs, length=T)[1] ** 2)

    w = {"f": W, "n": W.T}
    args = w, np.ones((batch, H)), np.ones((T, batch, H))
    loop = backward_loop(jax.grad(loss), *args)
    names = [eqn.primitive.name for eqn in loop.params["jaxpr"].jaxpr.eqns]
    assert names.count("dot_general") == 2
    assert (H, H) not in [v.aval.shape for v in loop.outvars]  # no accumulator
    program = jax.jit(jax.grad(loss)).lower(*args).compile().as_text()
    assert str(program).count(" dot(") == 2 + 2 + 2


def test_chains_of_factors_are_multiplied_before_the_backward_loop():
    def step(w, h, x):
        h = jnp.tanh(jax.nn.sigmoid(2 * (h @ w + x)) * 3)
        return h, h

    def loss(w, h, xs):
        return jnp.sum(deferred_scan(step, w, h, xs, length=T)[0])

    loop = backward_loop(jax.grad(loss), W, H0, XS)
    assert [v.aval.shape for v in loop.invars].count((T, H)) == 1
    names = [eqn.primitive.name for eqn in loop.params["jaxpr"].jaxpr.eqns]
    assert names == ["mul", "dot_general"]


def backward_loop(f, *args):
    eqns = jax.make_jaxpr(f)(*args).jaxpr.eqns
    return [eqn for eqn in eqns if eqn.primitive.name == "scan"][-1]


def outputs_of(jaxpr):
    for eqn in jaxpr.eqns:
        yield from eqn.outvars
        for value in jax.tree.leaves(
            list(eqn.params.values()), is_leaf=lambda v: hasattr(v, "eqns")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from outputs_of(inner)
