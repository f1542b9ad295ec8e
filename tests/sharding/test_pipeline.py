"""Layers on different devices: the results of a stack, one hand-over a tick."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

import rnnjax
from rnnjax import sharding
from tests.sharding.programs import assert_close, count, program
from tests.structure import hlo

T, B, F, L = 12, 4, 4, 4
FLAGS = {
    "lengths": jnp.array([12, 3, 0, 9]),
    "resets": jax.random.bernoulli(jax.random.key(3), 0.15, (T, B)),
}


def layer():
    return rnnjax.residual(rnnjax.stack(rnnjax.dropout(0.2), rnnjax.gru(F)))


def given(rnn):
    xs = jax.random.normal(jax.random.key(0), (T, B, F))
    params = rnn.init(jax.random.key(1), xs[0])
    carry = jax.tree.map(lambda c: c + 0.5, rnn.initial_carry(params, (B,)))
    return params, carry, xs


@pytest.fixture(scope="module")
def expected():
    """Of the stack, in the form of the pipeline."""
    alone = rnnjax.stack(*[layer()] * L)
    mesh = sharding.mesh("stage=1")
    params, carry, xs = given(sharding.pipeline(layer(), L, mesh=mesh))
    carries = tuple(jax.tree.map(lambda c, i=i: c[:, i], carry) for i in range(L))
    params = sharding.unstack_layers(params)

    def run(options):
        def loss(params, carries, xs):
            last, ys = alone.unroll(params, carries, xs, **options)
            last = jnp.stack([leaf for c in last for leaf in jax.tree.leaves(c)], 1)
            weights = 1 + 0.1 * jnp.arange(F)
            return jnp.sum(jnp.sin(ys)) + jnp.sum(last * weights[None, None])

        value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(
            params, carries, xs
        )
        of_params, of_carries, of_xs = gradients
        of_params = sharding.stack_layers(of_params)
        of_carry = jax.tree.map(lambda *c: jnp.stack(c, 1), *of_carries)
        return jax.device_get((value, (of_params, of_carry, of_xs)))

    return run


@pytest.mark.parametrize(
    ("spec", "explicit", "reverse", "random"),
    [
        ("stage=4", False, False, True),
        ("data=2,stage=2", True, True, False),
        pytest.param("stage=2", True, True, True, marks=pytest.mark.slow),
        pytest.param("data=2,stage=4", False, False, False, marks=pytest.mark.slow),
    ],
)
def test_value_and_gradients(expected, spec, explicit, reverse, random):
    """With resets, lengths and a carry; dropout masks too are those of the stack."""
    mesh = sharding.mesh(spec, explicit=explicit)
    data = "data" if "data" in spec else None
    rnn = sharding.pipeline(layer(), L, mesh=mesh, data=data, num_chunks=4)
    params, *rest = given(rnn)
    params = sharding.shard(params, mesh, P("stage"))
    options = {**FLAGS, "reverse": reverse}
    if random:
        options["key"] = jax.random.key(7)

    def weighted(params, carry, xs):
        carry, ys = rnn.unroll(params, carry, xs, **options)
        (last,) = jax.tree.leaves(carry)
        weights = 1 + 0.1 * jnp.arange(F)
        return jnp.sum(jnp.sin(ys)) + jnp.sum(last * weights[None, None])

    gradient = jax.value_and_grad(weighted, (0, 1, 2))
    got = program(gradient, params, *sharding.replicate(rest, mesh), mesh=mesh)
    assert_close(got.result, expected(options))
    assert got.in_loops == []  # none in the loops over steps
    ticks = [count(loop.instructions) for loop in hlo.loops(got.text) if loop.has_loop]
    assert [c for c in ticks if c] == [{"collective-permute": 1}] * 2


def test_a_step_equals_that_of_the_stack():
    mesh = sharding.mesh("stage=2")
    rnn = sharding.pipeline(layer(), L, mesh=mesh)
    params, carry, xs = given(rnn)
    alone = rnnjax.stack(*[layer()] * L)
    carries = tuple(jax.tree.map(lambda c, i=i: c[:, i], carry) for i in range(L))
    key = rnnjax.step_keys(jax.random.key(0), 1)[0]
    _, y = alone.step(sharding.unstack_layers(params), carries, xs[0], key=key)
    new, got = rnn.step(params, carry, xs[0], key=key)
    assert_close(got, y)
    assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, carry)


def test_explain_counts_the_ticks():
    mesh = sharding.mesh("stage=2")
    rnn = sharding.pipeline(rnnjax.lstm(F), L, mesh=mesh, num_chunks=3)
    params, _, xs = given(rnn)
    found = rnnjax.explain(rnn, params, xs)
    assert "2 of 4 layers on each of 2 devices, 3 chunks of time in 4 ticks" in str(
        found
    )
    assert found.output.shape == xs.shape


def test_what_cannot_be_is_named():
    mesh = sharding.mesh("stage=4")
    with pytest.raises(TypeError, match="rnnjax.layer"):
        sharding.pipeline(rnnjax.cells.lstm(F), L, mesh=mesh)
    with pytest.raises(
        ValueError, match="num_layers: expected a multiple of 4, .*got 3"
    ):
        sharding.pipeline(rnnjax.lstm(F), 3, mesh=mesh)
    wide = sharding.pipeline(rnnjax.lstm(F + 1), L, mesh=mesh)
    with pytest.raises(ValueError, match="expected outputs like its inputs"):
        wide.init(jax.random.key(0), jnp.ones(F))
    rnn = sharding.pipeline(rnnjax.lstm(F), L, mesh=mesh, num_chunks=5)
    params = rnn.init(jax.random.key(0), jnp.ones(F))
    with pytest.raises(ValueError, match="num_chunks=5 divides, got 12"):
        rnn.unroll(params, None, jnp.ones((T, B, F)))


def test_no_examples():
    rnn = sharding.pipeline(layer(), L, mesh=sharding.mesh("stage=4"))
    params, _, _ = given(rnn)
    _, ys = rnn.unroll(params, None, jnp.ones((2 * L, 0, F)))
    assert ys.shape == (2 * L, 0, F)
