"""Steps that do more than compute: what they do, `rnnjax.scan` does once as well."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import io_callback

import rnnjax

XS = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
W = jnp.eye(3) / 2
both_scans = pytest.mark.parametrize("scan", [lax.scan, rnnjax.scan])


def loss_of(scan, effect):
    """A loss of ``W`` whose step has an effect on the way."""

    def loss(w):
        def step(h, x):
            extra = effect(lax.stop_gradient(x))
            h = jnp.tanh(h @ w + x)
            return h, h if extra is None else h * extra

        h, ys = scan(step, jnp.zeros(3), XS)
        return jnp.sum(h) + jnp.sum(ys)

    return loss


def gradient(scan, effect):
    """The gradient of the loss, once all effects have happened."""
    value = jax.jit(jax.grad(loss_of(scan, effect)))(W)
    jax.effects_barrier()
    return value


@functools.cache
def plain_gradient():
    return jax.jit(jax.grad(loss_of(lax.scan, lambda x: None)))(W)


def ordered_print(seen):
    return lambda x: jax.debug.callback(seen, x, ordered=True)


def ordered_io(seen):
    return lambda x: io_callback(seen, None, x, ordered=True)


def unordered_io(seen):
    return lambda x: io_callback(seen, None, x)


@pytest.mark.parametrize("kind", [ordered_print, ordered_io, unordered_io])
def test_callback_runs_as_often_as_under_lax_scan(kind):
    """Once a step, in order, and under grad as often as it does there."""
    calls = []
    for scan in (lax.scan, rnnjax.scan):
        seen = []
        effect = kind(lambda x, seen=seen: seen.append(float(x[0])))
        value = jax.jit(loss_of(scan, effect))(W)
        jax.effects_barrier()
        assert sorted(seen) == XS[:, 0].tolist()
        assert kind is unordered_io or seen == sorted(seen)
        chex.assert_trees_all_close(
            gradient(scan, effect), plain_gradient(), rtol=1e-5, atol=1e-6
        )
        calls.append((value, sorted(seen)))
    assert calls[0] == calls[1]


@both_scans
def test_print_is_seen_at_every_step(scan):
    """More often under differentiation, as documented, and never less."""
    seen = []

    def effect(x):
        jax.debug.callback(lambda x: seen.append(float(x[0])), x)

    loss = jax.jit(loss_of(scan, effect))
    loss(W)
    jax.effects_barrier()
    assert sorted(seen) == XS[:, 0].tolist()
    chex.assert_trees_all_close(
        gradient(scan, effect), plain_gradient(), rtol=1e-5, atol=1e-6
    )
    assert set(seen) == set(XS[:, 0].tolist())


@both_scans
def test_pure_callback_needs_no_rule_for_vmap(scan):
    def effect(x):
        like = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(lambda x: np.ones_like(x), like, x)

    chex.assert_trees_all_close(
        gradient(scan, effect), plain_gradient(), rtol=1e-5, atol=1e-6
    )


@both_scans
def test_reference_is_written_once_a_step(scan):
    def loss(w):
        count = jax.new_ref(jnp.zeros(()))

        def effect(x):
            count[...] += 1

        return loss_of(scan, effect)(w), count[...]

    value, count = jax.jit(jax.grad(loss, has_aux=True))(W)
    assert count == len(XS)
    chex.assert_trees_all_close(value, plain_gradient(), rtol=1e-5, atol=1e-6)


@both_scans
@pytest.mark.parametrize("init, traces", [(jnp.float32(0), 1), (0.0, 1), (0, 2)])
def test_traced_as_often_as_by_lax_scan(scan, init, traces):
    """So that a step with side effects on Python objects behaves as it did."""
    count = []

    def step(c, x):
        count.append(None)
        return c + x[0], c

    jax.make_jaxpr(lambda: scan(step, init, XS))()
    if scan is lax.scan:
        assert len(count) == traces
    else:  # the first carry 0 is asked of lax.scan, which traces twice itself
        assert len(count) == {1: 1, 2: 4}[traces]


@both_scans
def test_without_jit_the_step_sees_values(scan):
    seen = []

    def step(h, x):
        seen.append(float(x[0]))
        return h + x, h

    with jax.disable_jit():
        scan(step, jnp.zeros(3), XS)
    assert seen == XS[:, 0].tolist()


def test_leaks_no_tracer():
    with jax.checking_leaks():

        def loss(w):
            return loss_of(rnnjax.scan, lambda x: None)(w)

        jax.jit(jax.vmap(jax.grad(loss)))(jnp.stack([W, 2 * W]))


def loop_products(function, *args):
    """Shapes of the products inside of the loops of a jaxpr."""

    def walk(jaxpr, inside):
        for eqn in jaxpr.eqns:
            if inside and eqn.primitive.name == "dot_general":
                yield eqn.outvars[0].aval.shape
            inner = inside or eqn.primitive.name in ("scan", "while")
            for value in eqn.params.values():
                for part in value if isinstance(value, tuple | list) else (value,):
                    part = getattr(part, "jaxpr", part)
                    if hasattr(part, "eqns"):
                        yield from walk(part, inner)

    return list(walk(jax.make_jaxpr(function)(*args).jaxpr, False))


def printing(x):
    jax.debug.print("{}", x)


def communicating(x):
    return 1 + jax.lax.psum(x, "rows")


@pytest.mark.parametrize("effect", [lambda x: None, printing, communicating])
def test_prints_and_collectives_do_not_keep_it_from_deferring(effect):
    def gradient(scan):
        def loss(w):
            def row(i):
                return i * loss_of(scan, effect)(w)

            return jnp.sum(jax.vmap(row, axis_name="rows")(jnp.ones(2)))

        return jax.grad(loss)

    assert W.shape in loop_products(gradient(lax.scan), W)
    assert W.shape not in loop_products(gradient(rnnjax.scan), W)


def test_a_layer_that_calls_back_says_that_its_gradient_is_not_deferred():
    plain = rnnjax.cells.simple(2)

    def recur(w, h, u):
        shape = jax.ShapeDtypeStruct(h.shape, h.dtype)
        return plain.recur(w, jax.pure_callback(lambda h: h, shape, h), u)

    cell = plain._replace(recur=recur)
    rnn = rnnjax.layer(cell, rnnjax.Schedule(gradient="deferred"))
    params = rnn.init(jax.random.key(0), jnp.ones(3))
    warns = functools.partial(
        pytest.warns, UserWarning, match="gradient autodiff: the step calls back"
    )
    with warns():
        rnn.unroll(params, None, jnp.ones((4, 3)))
    with warns():
        explanation = rnn.explain(params, jnp.ones((4, 3)))
    assert explanation.gradient == "autodiff"
    assert "calls back into Python" in str(explanation)
