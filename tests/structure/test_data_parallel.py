"""Data parallel on 8 devices: no collective in the time loop, read off the HLO."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import rnnjax
from rnnjax import Schedule
from tests.structure import hlo

T, B, F, H = 16, 32, 24, 40


def compiled_gradient(how, gradient, backend="scan"):
    schedule = Schedule(gradient=gradient, backend=backend)
    rnn, xs = rnnjax.lstm(H, schedule=schedule), jnp.ones((T, B, F))
    params = rnn.init(jax.random.key(0), xs[0])

    def loss(params, xs):
        return jnp.sum(rnn.unroll(params, None, xs)[1] ** 2)

    function = jax.grad(loss, (0, 1))
    kind = AxisType.Explicit if how == "explicit" else AxisType.Auto
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    specs = P(), P(None, "data")
    replicated, split = (NamedSharding(mesh, spec) for spec in specs)
    params, xs = jax.device_put(params, replicated), jax.device_put(xs, split)
    if how == "shard_map":
        function = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=specs)
        return hlo.optimised(function, params, xs)
    if how == "explicit":
        with jax.set_mesh(mesh):
            return hlo.optimised(function, params, xs)
    return hlo.optimised(function, params, xs, out_shardings=(replicated, split))


def collectives_of(text):
    everything = (i for lines in hlo.computations(text).values() for i in lines)
    return [i for i in everything if i.opcode.startswith(hlo.COLLECTIVES)]


@pytest.mark.parametrize("how", ["jit", "shard_map"])
def test_so_it_is_under_the_schedule_written_by_hand(how):
    loops = hlo.innermost_loops(compiled_gradient(how, "auto", "fused"))
    assert not any(loop.collectives for loop in loops)
    assert [len(loop.products) for loop in loops] == [1, 1]


@pytest.mark.parametrize("how", ["jit", "shard_map", "explicit"])
def test_the_weight_gradient_is_summed_once_after_the_loop(how):
    text = compiled_gradient(how, "deferred")
    loops = hlo.innermost_loops(text)
    assert len(loops) == 2
    assert not any(loop.collectives for loop in loops)
    assert collectives_of(text)
    assert [len(loop.products) for loop in loops] == [1, 1]


@pytest.mark.parametrize("how", ["jit", "shard_map", "explicit"])
def test_under_autodiff_it_is_summed_at_every_step(how):
    """The control."""
    loops = hlo.innermost_loops(compiled_gradient(how, "autodiff"))
    assert any(loop.collectives for loop in loops)
