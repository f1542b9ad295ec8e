"""Shapes, dtypes and traces of every row. Traced alone: nothing here compiles."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests.conformance.harness import (
    DEFERRED,
    arguments,
    cotangents,
    differentiated,
    floats,
    is_float,
    layer,
    unroll,
)
from tests.conformance.registry import BY_NAME, B, H, T, rows

DTYPES = ["bfloat16", "float32"]


def types(tree):
    return jax.tree.map(lambda a: (a.shape, a.dtype), tree)


@functools.cache
def shape_of(name, dtype, length=T, batch=(B,)):
    """Types of parameters, first carry, last carry, outputs and gradients of a row."""
    row, rnn = BY_NAME[name], layer(name, DEFERRED, dtype)
    generator = np.random.default_rng(0)
    xs = jax.tree.map(jnp.asarray, row.inputs(generator, (length, *batch), dtype))
    x = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), xs)

    def run(key, xs):
        params = rnn.init(key, x)
        options = {"key": key} if row.has_key else {}

        def loss(new):
            own = {"params": params, "xs": xs}
            own = jax.tree_util.tree_map_with_path(
                lambda path, leaf: new.get(jax.tree_util.keystr(path), leaf), own
            )
            outputs = rnn.unroll(own["params"], None, own["xs"], **options)
            total = sum(jnp.sum(leaf) for leaf in floats(outputs).values())
            return jnp.real(total), outputs

        given = floats({"params": params, "xs": xs})
        gradients, outputs = jax.grad(loss, has_aux=True)(given)
        return given, rnn.initial_carry(params, batch), outputs, gradients

    return jax.eval_shape(run, jax.random.key(0), xs)


@pytest.mark.parametrize("dtype", DTYPES)
@rows()
def test_the_carry_keeps_its_type_and_outputs_have_the_dtype(row, dtype):
    given, first, (last, ys), gradients = shape_of(row.name, dtype)
    assert types(last) == types(first)
    assert types(gradients) == types(given)
    for leaf in jax.tree.leaves(ys if row.zeros else ys[0]):
        assert leaf.shape[:2] == (T, B)
        assert not is_float(leaf) or leaf.dtype == dtype


@rows(main=True, where=lambda row: row.can_step)
def test_a_step_has_the_types_of_unroll(row):
    for dtype in DTYPES:
        rnn = layer(row.name, DEFERRED, dtype)
        generator = np.random.default_rng(0)
        x = jax.tree.map(jnp.asarray, row.inputs(generator, (B,), dtype))
        _, first, (_, ys), _ = shape_of(row.name, dtype)

        def step(x, rnn=rnn):
            params = rnn.init(jax.random.key(0), x)
            return rnn.step(params, None, x)

        carry, y = jax.eval_shape(step, x)
        assert types(carry) == types(first)
        assert types(y) == types(jax.eval_shape(first_of, ys))


def first_of(tree):
    return jax.tree.map(lambda a: a[0], tree)


@rows(main=True)
def test_no_steps_and_no_examples(row):
    """T = 0 and B = 0: types here, values in test_transformations.py."""
    _, _, (_, ys), _ = shape_of(row.name, "float32")
    for length, batch in ((0, (B,)), (T, (0,)), (0, (0,)), (0, ())):
        given, first, (last, empty), gradients = shape_of(
            row.name, "float32", length, batch
        )
        assert types(last) == types(first)
        assert types(gradients) == types(given)
        for leaf, full in zip(jax.tree.leaves(empty), jax.tree.leaves(ys), strict=True):
            lead = (length, *batch)
            assert leaf.shape == (*lead, *full.shape[2:])
            assert leaf.dtype == full.dtype


@pytest.mark.usefixtures("x64")
@rows(main=True)
def test_no_tracer_leaks(row):
    run = differentiated(unroll(row, row.make(DEFERRED, jnp.dtype("float64"))))
    given = arguments(row.name), cotangents(row.name)
    with jax.checking_leaks():
        jax.make_jaxpr(run)(*given)


@pytest.mark.parametrize("name", ["lstm", "gru", "simple"])
def test_compute_in_bfloat16_keeps_parameters_and_what_accumulates_wide(name):
    rnn = getattr(rnnjax, name)(H, dtype=jnp.bfloat16, schedule=DEFERRED)
    xs = jnp.ones((T, B, 3))

    def run(key):
        params = rnn.init(key, xs[0])
        gradient = jax.grad(lambda p: rnn.unroll(p, None, xs)[1].sum().astype(float))
        return params, gradient(params), rnn.unroll(params, None, xs)

    params, gradient, (carry, ys) = jax.eval_shape(run, jax.random.key(0))
    assert types(gradient) == types(params)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"float32"}
    assert ys.dtype == jnp.bfloat16
    if name == "lstm":
        assert (carry.h.dtype, carry.c.dtype) == (jnp.bfloat16, jnp.float32)
    else:
        assert carry.dtype == jnp.bfloat16


@rows()
def test_explain_names_a_gradient_and_a_reason(row):
    rnn, a = layer(row.name, DEFERRED, "float32"), arguments(row.name, "float32")
    xs = a.xs
    if row.name == "batch_major":
        xs = xs.swapaxes(0, 1)
    explanation = rnnjax.explain(rnn, a.params, xs)
    assert explanation.name in str(explanation)
    assert ("gradient deferred" in str(explanation)) == row.schedules
