"""What JAX does to a program may be done to every row: the dear properties.

A few rows always, the others with `-m slow`.
"""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import rnnjax
from tests.conformance.harness import (
    AUTODIFF,
    DEFERRED,
    Arguments,
    Result,
    arguments,
    assert_close,
    compiled,
    cotangents,
    differentiated,
    floats,
    layer,
    random_like,
    unroll,
    with_floats,
)
from tests.conformance.registry import BY_NAME, B, F, T, rows

few_rows = rows(few=True, where=lambda row: not row.batch_coupled)
IN = Arguments(P(), P("data"), *[P(None, "data")] * 3, P())
OUT = P("data"), P(None, "data")


@pytest.fixture(autouse=True)
def _float64(x64):
    """All of this file in float64, the chex variants as well."""


def specs_of(named):
    """Of gradients or cotangents: by the argument or output that they belong to."""
    known = {"params": P(), "carry": IN.carry, "xs": IN.xs}
    known = {f"['{name}']": spec for name, spec in known.items()}
    known |= {"[0]": OUT[0], "[1]": OUT[1]}

    def spec(name):
        return next(s for prefix, s in known.items() if name.startswith(prefix))

    return {name: spec(name) for name in named}


@functools.cache
def evaluation(name):
    """Arguments, cotangents, function and result of a row without a key.

    A key would draw masks of the local shape on every device.
    """
    row = dataclasses.replace(BY_NAME[name], has_key=False)
    function = differentiated(unroll(row, layer(name)))
    a, weights = arguments(name).padded([np.nan]), cotangents(name)
    return a, weights, function, compiled(function)(a, weights)


def mesh_of(kind):
    devices = jax.devices()[:B]
    return jax.make_mesh((B,), ("data",), axis_types=(kind,), devices=devices)


@few_rows
def test_shard_map(row):
    a, weights, function, expected = evaluation(row.name)
    gradients = specs_of(expected.gradients)
    sharded = jax.shard_map(
        function,
        mesh=mesh_of(AxisType.Auto),
        in_specs=(IN, specs_of(weights)),
        out_specs=Result(OUT, gradients),
    )
    assert_close(compiled(sharded)(a, weights), expected)


@few_rows
def test_explicit_sharding(row):
    a, weights, function, expected = evaluation(row.name)
    mesh = mesh_of(AxisType.Explicit)

    def put(tree, spec):
        return jax.device_put(tree, NamedSharding(mesh, spec))

    with jax.set_mesh(mesh):
        a = Arguments(*map(put, a, IN))
        specs = specs_of(weights)
        weights = {name: put(w, specs[name]) for name, w in weights.items()}
        result = compiled(function)(a, weights)
    assert_close(result, expected)


@few_rows
def test_explicit_sharding_without_a_carry(row):
    """The initial carry takes on the sharding of the loop."""
    a, _, _, _ = evaluation(row.name)
    without_key = unroll(dataclasses.replace(row, has_key=False), layer(row.name))
    run = compiled(lambda a: without_key(a._replace(carry=None)), traces=2)
    expected = run(a)
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        given = [
            jax.device_put(tree, NamedSharding(mesh, spec))
            for tree, spec in zip(a, IN, strict=True)
        ]
        assert_close(run(Arguments(*given)), expected)


@pytest.mark.filterwarnings("ignore:.*pmap.*")
@few_rows
def test_pmap(row):
    """One example a device, so also without a batch axis."""
    a, weights, function, expected = evaluation(row.name)
    axes = Arguments(None, 0, 1, 1, 1, None)

    def axes_of(named):
        to_axis = {P(): None, P("data"): 0, P(None, "data"): 1}
        return {name: to_axis[spec] for name, spec in specs_of(named).items()}

    def summed(a, weights):
        outputs, gradients = function(a, weights)
        specs = specs_of(gradients)
        return outputs, {
            name: jax.lax.psum(g, "data") if specs[name] == P() else g
            for name, g in gradients.items()
        }

    mapped = jax.pmap(
        summed,
        axis_name="data",
        in_axes=(axes, axes_of(weights)),
        out_axes=((0, 1), axes_of(expected.gradients)),
        devices=jax.devices()[:B],
    )
    assert_close(mapped(a, weights), tuple(expected))


@rows(few=True, where=lambda row: row.schedules)
def test_second_order(row):
    """Reverse over reverse and forward over reverse, deferred and autodiff."""
    a = arguments(row.name).padded([np.nan])
    given = floats(a._asdict())
    directions = random_like(np.random.default_rng(6), given)

    def second(schedule, both_ways=False):
        run = unroll(row, layer(row.name, schedule))

        def twice(a, directions):
            def loss(new):
                outputs = floats(run(a._replace(**with_floats(a._asdict(), new))))
                total = sum(jnp.sum(jnp.sin(leaf)) for leaf in outputs.values())
                return jnp.real(total)

            def along(new):
                gradient = jax.grad(loss)(new)
                return jnp.real(
                    sum((gradient[k] * directions[k]).sum() for k in gradient)
                )

            given = floats(a._asdict())
            reverse = jax.grad(along)(given)
            if not both_ways:
                return reverse
            return reverse, jax.jvp(jax.grad(loss), (given,), (directions,))[1]

        return compiled(twice)(a, directions)

    reverse, forward = second(DEFERRED, both_ways=True)
    assert_close(forward, reverse)
    if row.cut is None:  # where it is cut, the second derivative is not symmetric
        assert_close(reverse, second(AUTODIFF))


@few_rows
def test_no_steps_and_no_examples_change_nothing(row):
    a = arguments(row.name)
    for time, batch in ((0, B), (T, 0)):

        def cut(tree, time=time, batch=batch):
            return jax.tree.map(lambda leaf: leaf[:time, :batch], tree)

        carry = jax.tree.map(lambda leaf, batch=batch: leaf[:batch], a.carry)
        empty = Arguments(a.params, carry, cut(a.xs), cut(a.resets), cut(a.mask), a.key)
        run = unroll(row, layer(row.name))
        weights = jax.tree.map(jnp.zeros_like, floats(jax.eval_shape(run, empty)))
        outputs, gradients = compiled(differentiated(run))(empty, weights)
        if time == 0:
            assert_close(outputs[0], carry)
        assert not any(np.any(g) for g in gradients.values())


def gru_and_inputs():
    rnn = rnnjax.residual(rnnjax.gru(F, param_dtype=jnp.float64, schedule=DEFERRED))
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(T, B, F)))
    keys = jax.random.split(jax.random.key(0), 3)
    return rnn, xs, jax.vmap(lambda key: rnn.init(key, xs[0]))(keys)


def test_scan_over_layers():
    """The parameters of equal layers stacked: one compiled layer for all."""
    rnn, xs, stacked = gru_and_inputs()

    def scanned(stacked):
        def one(xs, params):
            carry, ys = rnn.unroll(params, None, xs)
            return ys, carry

        return jnp.sum(jnp.sin(jax.lax.scan(one, xs, stacked)[0]))

    def looped(stacked):
        ys = xs
        for i in range(3):
            ys = rnn.unroll(jax.tree.map(lambda p, i=i: p[i], stacked), None, ys)[1]
        return jnp.sum(jnp.sin(ys))

    assert_close(
        compiled(jax.value_and_grad(scanned))(stacked),
        compiled(jax.value_and_grad(looped))(stacked),
    )


def test_an_ensemble_by_vmap_over_parameters():
    rnn, xs, stacked = gru_and_inputs()

    def loss(params):
        return jnp.sum(jnp.sin(rnn.unroll(params, None, xs)[1]))

    together = compiled(jax.vmap(jax.value_and_grad(loss)))(stacked)
    alone = compiled(jax.value_and_grad(loss))
    parts = [alone(jax.tree.map(lambda p, i=i: p[i], stacked)) for i in range(3)]
    assert_close(together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts))


def test_checkpoint():
    rnn, xs, stacked = gru_and_inputs()
    params = jax.tree.map(lambda p: p[0], stacked)

    def gradient(unroll):
        def loss(params):
            return jnp.sum(jnp.sin(unroll(params, None, xs)[1]))

        return compiled(jax.value_and_grad(loss))(params)

    assert_close(gradient(jax.checkpoint(rnn.unroll)), gradient(rnn.unroll))


@pytest.mark.filterwarnings("ignore:.*pmap.*")
class TestVariants(chex.TestCase):
    """The same call with jit, without, and under pmap."""

    @chex.variants(with_jit=True, without_jit=True, with_pmap=True)
    def test_lstm(self):
        a = arguments("lstm").blank()
        run = unroll(BY_NAME["lstm"], layer("lstm"))
        outputs = self.variant(run)(a._replace(key=None))
        expected = run(a)
        chex.assert_trees_all_close(outputs, expected, rtol=1e-9)
