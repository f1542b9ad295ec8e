"""Time split over devices: the results of one device, and two collectives in all."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import rnnjax
from rnnjax import sharding
from tests.sharding.programs import assert_close, loss_of, program

T, B, F, H = 16, 4, 3, 4
FLAGS = {
    "lengths": jnp.array([16, 3, 0, 9]),
    "resets": jax.random.bernoulli(jax.random.key(3), 0.15, (T, B)),
}


def given(cell):
    alone = rnnjax.layer(cell)
    xs = jax.random.normal(jax.random.key(0), (T, B, F))
    params = alone.init(jax.random.key(1), xs[0])
    carry = jax.tree.map(lambda c: c + 0.5, alone.initial_carry(params, (B,)))
    return alone, (params, carry, xs)


@pytest.mark.parametrize(
    ("name", "spec", "explicit", "reverse"),
    [
        ("lru", "sequence=8", False, False),
        ("rg_lru", "data=2,sequence=4", True, True),
        ("min_gru", "sequence=8", False, True),
        pytest.param("min_gru", "sequence=8", True, False, marks=pytest.mark.slow),
        pytest.param("rg_lru", "sequence=8", False, False, marks=pytest.mark.slow),
        pytest.param("lru", "data=2,sequence=4", True, True, marks=pytest.mark.slow),
    ],
)
def test_value_and_gradients(name, spec, explicit, reverse):
    """With resets, lengths, a carry, the padding full of NaN."""
    mesh = sharding.mesh(spec, explicit=explicit)
    cell = getattr(rnnjax.cells, name)(H)
    data = "data" if "data" in spec else None
    rnn = sharding.sequence_parallel(cell, mesh=mesh, data=data)
    alone, (params, carry, xs) = given(cell)
    padding = jnp.arange(T)[:, None, None] >= FLAGS["lengths"][None, :, None]
    args = params, carry, jnp.where(padding, jnp.nan, xs)
    expected = program(loss_of(alone, **FLAGS, reverse=reverse), *args)
    got = program(loss_of(rnn, **FLAGS, reverse=reverse), *args, mesh=mesh)
    assert_close(got.result, expected.result)
    assert got.in_loops == []
    found = got.collectives
    assert found["all-gather"] == found["reduce-scatter"] == 1
    assert set(found) == {"all-gather", "reduce-scatter", "all-reduce"}


def test_the_forward_pass_has_one_collective():
    mesh = sharding.mesh("sequence=8")
    rnn = sharding.sequence_parallel(rnnjax.cells.min_gru(H), mesh=mesh)
    alone, (params, _, xs) = given(rnnjax.cells.min_gru(H))
    got = program(lambda p, xs: rnn.unroll(p, None, xs)[1], params, xs)
    assert got.collectives == {"all-gather": 1}
    assert_close(got.result, alone.unroll(params, None, xs)[1])


def noisy(hidden_size):
    """A cell whose projection draws, to see that every step has its own key."""
    cell = rnnjax.cells.min_gru(hidden_size)

    def project(params, x, key=None):
        if key is not None:
            x = x + jax.random.normal(key.step, x.shape)
            x = x + jax.random.normal(key.sequence, x.shape)
        return cell.project(params, x)

    return cell._replace(project=project)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_randomness_of_a_step_does_not_depend_on_the_devices(reverse):
    mesh = sharding.mesh("sequence=4")
    rnn = sharding.sequence_parallel(noisy(H), mesh=mesh)
    alone, (params, _, xs) = given(noisy(H))
    options = {"key": jax.random.key(5), "reverse": reverse}
    expected = alone.unroll(params, None, xs, **options)
    got = jax.jit(partial(rnn.unroll, **options))(params, None, xs)
    assert_close(jax.device_get(got), jax.device_get(expected))


def test_linear_scan_forward_mode_and_second_order():
    mesh = sharding.mesh("time=4")
    specs = {"in_specs": (P("time"), P("time"), P()), "out_specs": (P(), P("time"))}
    scan = jax.shard_map(
        lambda a, b, h0: sharding.linear_scan(a, b, h0, axis="time"), mesh=mesh, **specs
    )
    keys = jax.random.split(jax.random.key(0), 6)
    args = tuple(
        jax.random.uniform(k, s)
        for k, s in zip(keys[:3], [(8, 2)] * 2 + [(2,)], strict=True)
    )
    tangents = tuple(
        jax.random.normal(k, a.shape) for k, a in zip(keys[3:], args, strict=True)
    )

    def derivatives(scan):
        def loss(*args):
            last, hs = scan(*args)
            return jnp.sum(jnp.sin(hs)) + jnp.sum(last**2)

        def both(args, tangents):
            gradient = jax.grad(loss, (0, 1, 2))
            return jax.jvp(lambda *a: gradient(*a), args, tangents)

        return jax.device_get(jax.jit(both)(args, tangents))

    assert_close(derivatives(scan), derivatives(rnnjax.linear_scan))


def test_what_cannot_be_split_is_named():
    mesh = sharding.mesh("sequence=8")
    with pytest.raises(ValueError, match="expected one that is linear in its carry"):
        sharding.sequence_parallel(rnnjax.cells.lstm(H), mesh=mesh)
    with pytest.raises(ValueError, match="axis: expected an axis of the mesh"):
        sharding.sequence_parallel(rnnjax.cells.lru(H), mesh=mesh, axis="time")
    rnn = sharding.sequence_parallel(rnnjax.cells.lru(H), mesh=mesh)
    params = rnn.init(jax.random.key(0), jnp.ones(F))
    with pytest.raises(ValueError, match="time axis.*multiple of 8.*got 12"):
        rnn.unroll(params, None, jnp.ones((12, B, F)))
    with pytest.raises(ValueError, match="expected an elementwise factor"):
        sharding.linear_scan(np.ones((4, 2, 2)), np.ones((4, 2)), axis="sequence")


def test_explain_and_the_single_step():
    mesh = sharding.mesh("sequence=8")
    rnn = sharding.sequence_parallel(rnnjax.cells.rg_lru(H), mesh=mesh)
    alone, (params, _, xs) = given(rnnjax.cells.rg_lru(H))
    assert "the steps on 8 devices" in str(rnnjax.explain(rnn, params, xs))
    assert_close(rnn.step(params, None, xs[0]), alone.step(params, None, xs[0]))


def test_no_steps_and_no_examples():
    mesh = sharding.mesh("sequence=8")
    rnn = sharding.sequence_parallel(rnnjax.cells.min_gru(4), mesh=mesh)
    params = rnn.init(jax.random.key(0), jnp.ones(3))
    for length, batch in ((0, 2), (8, 0)):
        carry, ys = rnn.unroll(params, None, jnp.ones((length, batch, 3)))
        assert ys.shape == (length, batch, 4) and carry.shape == (batch, 4)
