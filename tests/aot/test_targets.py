"""The XLA path, compiled for real devices: what is not in the time loop.

Nothing is run. Where the compilers are not installed these tests are skipped.
"""

import math

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

import rnnjax
from rnnjax import Schedule, aot
from tests.aot.programs import (
    ALONE,
    CELLS,
    DATA_PARALLEL,
    GATES,
    TARGETS,
    B,
    F,
    H,
    T,
    forward,
    on,
    value_and_grad,
)

PLACES = {"alone": ALONE, "data-parallel": DATA_PARALLEL}
every_cell = pytest.mark.parametrize("cell", CELLS)
both_places = pytest.mark.parametrize("place", PLACES)

# Arrays [T, B, H] of float32 that a gradient of each cell may hold beside arguments and
# results, recorded with jax 0.10.2 (libtpu 0.0.42) and rounded up.
BOUND = {"lstm": 20, "gru": 20, "simple": 10}


def sizes(part):
    return [math.prod(shape) for shape in part.products]


@on(*TARGETS)
@every_cell
@both_places
def test_the_gradient(target, cell, place):
    """No weight gradient and no collective in a loop, memory within the bound."""
    devices = 4 if place == "data-parallel" else 1
    report = aot.compile_for(
        *value_and_grad(CELLS[cell](H)), target, **PLACES[place]
    ).report
    loops = report.loops
    assert [loop.trips for loop in loops] == [T, T]
    weights = {n * GATES[cell] * H for n in (F, F + 1, H, H + 1)}
    for loop in loops:
        assert not weights & set(sizes(loop))
        assert len(loop.products) == (2 if cell == "gru" else 1)
    assert not [c for c in report.collectives if c.loop]
    assert bool(report.collectives) == (place == "data-parallel")
    assert report.memory.fits
    assert report.memory.temporary <= BOUND[cell] * 4 * T * B * H / devices
    product = 2 * T * B * GATES[cell] * H / devices
    # On a GPU the steps are formed once more, all at once; the input's product is not.
    again = product * H if target == "h100" else 0
    exact = 3 * product * (F + H) + again
    # A bias may be the kernel of one more input.
    assert exact <= report.flops <= exact + 3 * product


@on(*TARGETS)
@every_cell
@both_places
def test_the_forward_pass(target, cell, place):
    report = aot.compile_for(*forward(CELLS[cell](H)), target, **PLACES[place]).report
    (loop,) = report.loops
    assert loop.trips == T
    assert len(loop.products) == (2 if cell == "gru" else 1)
    assert report.collectives == ()
    assert report.custom_calls == ()


@on("v5e:2x2", "h100")
def test_under_autodiff_the_weight_gradient_is_in_the_loop(target):
    """The control: the same reading finds what it looks for."""
    rnn = rnnjax.lstm(H, schedule=Schedule("autodiff", "scan"))
    backward = aot.compile_for(*value_and_grad(rnn), target).report.loops[1]
    assert H * 4 * H in sizes(backward)


@on("v5e:2x2", "h100")
def test_a_collective_in_a_loop_is_seen(target):
    """The control for the other claim: a sum over devices at every step."""

    def step(h, x):
        h = jnp.tanh(h + jax.lax.psum(x, "data"))
        return h, h

    def run(xs):
        return jax.lax.scan(step, jnp.zeros_like(xs[0]), xs)[1]

    def f(xs):
        split = P(None, "data")
        return jax.shard_map(run, in_specs=split, out_specs=split)(xs)

    xs = jax.ShapeDtypeStruct((T, B, F), jnp.float32)
    report = aot.compile_for(f, (xs,), target, {"data": 4}, P(None, "data")).report
    inside = [c for c in report.collectives if c.loop]
    assert [c.kind for c in inside] == ["all-reduce"]
    assert "all-reduce" in str(report)


@on("v5e:2x2")
@every_cell
def test_the_default_is_estimated_no_dearer_than_the_others(target, cell):
    """In cycles of the whole program; `benchmarks aot` has the table.

    Of differences of a few percent the estimates say nothing.
    """

    def cycles(schedule):
        program = value_and_grad(CELLS[cell](H, schedule=schedule))
        return aot.compile_for(*program, target).report.cycles

    default = cycles(Schedule())
    assert 0 < default
    for gradient in ("deferred", "autodiff"):
        assert default <= 1.03 * cycles(Schedule(gradient, "scan"))


@on("v5e:2x2")
def test_the_schedule_is_chosen_for_the_target(target):
    chosen = []
    rnn = rnnjax.lstm(H)
    run, args = forward(rnn)

    def f(params, xs):
        chosen.append(rnnjax.explain(rnn, params, xs))
        return run(params, xs)

    aot.compile_for(f, args, target)
    assert chosen[0].backend == "scan"
    assert "auto rests on estimates of compilers alone" in str(chosen[0])
    assert rnnjax.explain(rnn, *args).backend == "fused"


@on("v5e:2x2")
def test_what_does_not_fit(target):
    report, executable = aot.compile_for(
        *value_and_grad(rnnjax.lstm(8 * H), steps=2**18), target
    )
    assert executable is None
    assert not report.memory.fits
    assert report.memory.total > report.memory.capacity
    assert "does NOT fit in 17.2 GB" in str(report)
    assert "RESOURCE_EXHAUSTED" in report.error


@on("v5e:2x2")
def test_errors_of_topologies(target):
    f, x = jnp.sin, jax.ShapeDtypeStruct((8,), jnp.float32)
    with pytest.raises(ValueError, match="mesh: expected at most 4 devices"):
        aot.compile_for(f, (x,), target, {"data": 8})
    with pytest.raises(ValueError, match="specs: expected PartitionSpecs in a tree"):
        aot.compile_for(f, (x,), target, {"data": 4}, (P(), P()))
    with pytest.raises(RuntimeError, match="target: expected a device that the ins"):
        aot.compile_for(f, (x,), "v5p:7x1x1")
