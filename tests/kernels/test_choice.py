"""What fits where, what "auto" takes, and what the record says."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

import rnnjax
from benchmarks import kernels as bundles
from rnnjax import cells, kernels, linear_scan
from rnnjax._by_hand import hand_schedule
from rnnjax.kernels import _plan

PROGRAM = """
= control target key start
     0   :  { %1 = smov 0 }
   0x1 LB: > { %2 = sadd 1 }
   0x2   : > { %3 = sadd 1 }
   0x3 LB: >> { %4 = vld }
base_bounds: (2, 2)
   0x4   : >> { %5 = vst }
   0x5   : > { %6 = sadd 1 }
   0x6 LB: >> { %7 = vld }
   0x7   : > { %8 = sbr }
   0x8   :  { %9 = sbr }
"""


def plan(hidden, batch, dtype=jnp.float32, length=256, make=cells.lstm):
    cell = make(hidden, dtype=dtype)
    first = jax.eval_shape(lambda: cell.initial_carry({}, (batch,)))
    with kernels.interpret():
        return _plan.plan(hand_schedule(cell), first, length)


@pytest.mark.parametrize("batch", [1, 5, 32, 1000, 20000])
@pytest.mark.parametrize("hidden", [1, 256, 1024])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_what_is_planned_fits(batch, hidden, dtype):
    found = plan(hidden, batch, dtype)
    tiles = found.tiles
    assert found.bytes <= 0.75 * 128 * 2**20
    assert tiles.rows % (8 if dtype == jnp.float32 else 16) == 0
    assert tiles.chunk % found.side == 0 and tiles.chunk <= 256
    # Each block of rows loads the kernel again: they are large.
    assert tiles.rows >= min(batch, 32)


def test_chunks_divide_the_sequence_where_some_can():
    assert plan(8, 4, length=100).tiles.chunk == 20
    assert plan(8, 4, length=7).tiles.chunk == 7
    assert plan(8, 4, length=257).tiles.chunk == 32


def test_a_small_memory_is_the_reason(monkeypatch):
    monkeypatch.setattr(_plan, "tpu_memory", lambda: (16 * 2**20, 2))
    assert plan(256, 32).tiles.rows == 16  # one half of the batch a core
    assert "MiB of VMEM, of which the recurrent kernel is 16" in plan(1024, 32)
    assert plan(1024, 32, jnp.bfloat16, make=cells.simple).tiles.rows == 16


def traced_for(kind, platform="tpu", devices=1):
    """As if for such a device, of which none need be here."""
    device = jax.sharding.AbstractDevice(kind, 1, platform)
    mesh = jax.sharding.AbstractMesh(
        (devices,),
        ("data",),
        axis_types=(jax.sharding.AxisType.Auto,),
        abstract_device=device,
    )
    return jax.sharding.use_abstract_mesh(mesh)


@pytest.fixture
def passed(monkeypatch):
    """As if a passed run on a v5e were on record."""
    monkeypatch.setattr("rnnjax.kernels._device.PASSED", frozenset({"TPU v5 lite"}))


def explained(rnn, kind="TPU v5 lite", **device):
    xs = jax.ShapeDtypeStruct((10, 4, 3), jnp.float32)
    params = jax.eval_shape(rnn.init, jax.random.key(0), xs)
    with traced_for(kind, **device):
        # What is said is what is done.
        jax.eval_shape(lambda p, xs: rnn.unroll(p, None, xs), params, xs)
        return rnn.explain(params, xs)


@pytest.mark.parametrize("make", [rnnjax.simple, rnnjax.lstm, rnnjax.gru, rnnjax.lru])
def test_auto_takes_a_kernel_where_a_passed_run_is_on_record(make, passed):
    found = explained(make(4))
    assert found.backend == "pallas"
    assert "asked for" not in str(found)
    # Of another kind; on several devices.
    assert "passed run of the kernels on a TPU v4" in str(explained(make(4), "TPU v4"))
    assert "XLA splits no kernel over dev" in str(explained(make(4), devices=2))


def test_inside_shard_map_the_axes_that_arrays_vary_over_are_known():
    """And checked, which the interpreter cannot do; weights are on all devices."""
    rnn = rnnjax.lstm(4, schedule=rnnjax.Schedule(backend="pallas"))
    xs = jax.ShapeDtypeStruct((10, 4, 3), jnp.float32)
    params = jax.eval_shape(rnn.init, jax.random.key(0), xs)
    resets = jax.ShapeDtypeStruct((10, 4), bool)

    def local(params, xs, resets):
        run = lambda p, xs: jnp.sum(rnn.unroll(p, None, xs, resets=resets)[1])  # noqa: E731
        of_params, of_xs = jax.grad(run, (0, 1))(params, xs)
        return of_params, of_xs

    over = P(None, "data")
    specs = {"in_specs": (P(), over, over), "out_specs": (P(), over)}
    with traced_for("TPU v5 lite", devices=2):
        f = jax.shard_map(local, **specs)
        assert jax.eval_shape(f, params, xs, resets) == (params, xs)


def matrices(size):
    """A user's cell, linear in a carry that it turns by a matrix."""

    def linear(w, u):
        return jnp.broadcast_to(w, (*u.shape, size)), u

    def recur(w, h, u):
        h = jnp.einsum("ij,...j->...i", w, h) + u
        return h, h

    cell = rnnjax.base.Cell(
        init=lambda key, x: {"recurrent": jnp.eye(size)},
        initial_carry=lambda params, batch=(): jnp.zeros((*batch, size)),
        project=lambda params, x, key=None: x,
        recur=recur,
        linear=linear,
    )
    return rnnjax.layer(cell)


@pytest.mark.parametrize(
    ("rnn", "backend", "why"),
    [
        (rnnjax.lstm(2048), "scan", "minutes to compile"),
        (rnnjax.lstm(4, dtype=jnp.float16), "scan", "and not ['float16']"),
        (rnnjax.lstm(4, layer_norm=True), "scan", "no hand-written schedule"),
        (
            rnnjax.min_gru(4, param_dtype=jnp.float64),
            "associative",
            "and not float64",
        ),
        (matrices(3), "associative", "a has matrices"),
    ],
)
@pytest.mark.usefixtures("x64")
def test_auto_falls_back_and_says_why(rnn, backend, why, passed):
    """From what a kernel cannot run, on a device where it would be taken."""
    found = explained(rnn)
    assert found.backend == backend
    assert why in found.reasons[0]


@pytest.mark.usefixtures("x64")
def test_linear_scan_falls_back_too(passed):
    """And with it Newton's method, whose Jacobians are matrices."""
    a = jax.ShapeDtypeStruct((5, 2), jnp.float32)
    matrix = jax.ShapeDtypeStruct((5, 2, 2), jnp.float32)
    rnn = rnnjax.gru(2, schedule=rnnjax.Schedule(backend="newton"))
    params = jax.eval_shape(rnn.init, jax.random.key(0), a)
    with traced_for("TPU v5 lite"):
        kernel = str(jax.make_jaxpr(linear_scan)(a, a))
        others = [
            str(jax.make_jaxpr(linear_scan)(matrix, a)),
            str(jax.make_jaxpr(linear_scan)(*[a.update(dtype=jnp.float64)] * 2)),
        ]

        def loss(params, xs):
            return jnp.sum(rnn.unroll(params, None, xs)[1])

        jax.eval_shape(jax.grad(loss), params, a)
    assert "pallas_call" in kernel
    assert not any("pallas_call" in other for other in others)


@pytest.mark.parametrize(
    ("kind", "platform"), [("TPU v6 lite", "tpu"), ("NVIDIA H100 80GB HBM3", "gpu")]
)
@pytest.mark.parametrize("make", [rnnjax.lstm, rnnjax.gru, rnnjax.lru])
def test_explain_says_that_auto_was_measured_nowhere_else(make, kind, platform):
    said = "auto rests on estimates of compilers alone: nothing was measured on a "
    found = explained(make(4), kind, platform=platform)
    assert f"{said}{platform}" in str(found)
    assert found.backend != "pallas"


def test_bundles_are_counted_by_innermost_loop():
    assert bundles.loops(PROGRAM) == [2, 1]
