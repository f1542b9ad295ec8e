"""The kernels of recurrences, interpreted, against `lax.scan` and autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import PartitionSpec as P

import rnnjax
from rnnjax import Schedule, kernels
from rnnjax._by_hand import hand_schedule
from rnnjax.kernels import _plan
from tests.jaxprs import equations
from tests.kernels.oracle import (
    CELLS,
    KERNELS,
    ORACLE,
    assert_equals_oracle,
    example,
    flags,
)

CHUNK = 4

on_cpu_or_tpu = pytest.mark.skipif(
    jax.default_backend() == "gpu", reason="the kernels are for TPUs"
)


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    """So that short sequences have several, the last of them shorter."""
    monkeypatch.setattr(_plan, "_CHUNK", CHUNK)


@pytest.mark.device
@on_cpu_or_tpu
@pytest.mark.parametrize("name", CELLS)
def test_all_options_at_once(name):
    """Resets, mask, reverse, two batch axes, a given carry, a learned initial one."""
    cell, length, batch = CELLS[name](3), 2 * CHUNK + 3, (2, 3)
    args = example(cell, length, batch, 3, mask=True)
    options = flags(length, batch, ("resets", "mask"))
    assert_equals_oracle(cell, args, reverse=True, **options)


@pytest.mark.device
@on_cpu_or_tpu
@pytest.mark.parametrize("name", ["lstm", "gru_after"])
def test_bfloat16(name):
    cell, length, batch = CELLS[name](5, dtype=jnp.bfloat16), CHUNK + 1, (3,)
    args, exact = example(cell, length, batch, 5), CELLS[name](5)
    assert_equals_oracle(cell, args, exact=exact, **flags(length, batch, ("lengths",)))


@pytest.mark.parametrize(
    ("length", "batch", "size"),
    [(CHUNK, (9,), 130), (1, (1,), 1), (2 * CHUNK, (), 2)],
)
def test_shapes(length, batch, size):
    """Whole chunks, more than a register of units and rows; one of all; no batch."""
    cell = CELLS["gru"](size)
    assert_equals_oracle(cell, example(cell, length, batch, size, carry=False))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_several_blocks_of_rows(dtype, monkeypatch):
    """Each with carries, flags and a mask of its own, one after another.

    And factors of two steps at a time, twice a chunk.
    """
    monkeypatch.setattr(_plan, "tpu_memory", lambda: (128 * 2**20, 3))
    monkeypatch.setattr(_plan, "_SIDE_ROWS", 32)
    cell, length, batch = CELLS["lstm"](3, dtype=jnp.dtype(dtype)), CHUNK + 1, (40,)
    first = jax.eval_shape(lambda: cell.initial_carry({}, batch))
    found = _plan.plan(hand_schedule(cell), first, length)
    assert (found.tiles.rows, found.side) == (16, 2)
    args = example(cell, length, batch, 3, mask=True)
    exact = None if dtype == "float32" else CELLS["lstm"](3)
    options = flags(length, batch, ("resets", "mask"))
    assert_equals_oracle(cell, args, exact=exact, **options)


def test_many_units():
    """2,048 of the simple network fit; of the others, `test_too_large`."""
    cell = CELLS["simple"](2048)
    assert_equals_oracle(cell, example(cell, 2, (2,), 2048, carry=False))


def test_products_have_the_precision_asked_for():
    """As far as kernels have it: one pass, or all of them."""
    rnn = rnnjax.gru(4, schedule=KERNELS)
    xs = jnp.ones((3, 1, 2))
    params = rnn.init(jax.random.key(0), xs[0])

    def gradient(params):
        loss = lambda p: jnp.sum(rnn.unroll(p, None, xs)[1])  # noqa: E731
        return jax.grad(loss)(params)["recurrent"]

    with kernels.interpret():
        one, all_passes = jax.lax.Precision.DEFAULT, jax.lax.Precision.HIGHEST
        for asked, passes in (("bfloat16", one), ("highest", all_passes), (None, one)):
            with jax.default_matmul_precision(asked):
                traced = jax.make_jaxpr(gradient)(params)
            calls = [e for e in equations(traced) if e.primitive.name == "pallas_call"]
            inside = [e for call in calls for e in equations(call.params["jaxpr"])]
            found = {e.params["precision"] for e in inside if "precision" in e.params}
            assert len(calls) == 2
            assert found == {(passes, passes)}


def test_blocks_that_are_computed_again():
    """`remat`: a kernel a block, the last of them shorter; with resets alone."""
    cell = CELLS["simple"](2)
    args = example(cell, 5, (2,), 2)
    schedule = Schedule(backend="pallas", remat=3)
    assert_equals_oracle(cell, args, schedule, **flags(5, (2,), ("resets",)))


def test_all_lengths_zero():
    cell, batch = CELLS["lstm"](2), (3,)
    args = example(cell, 5, batch, 2)
    assert_equals_oracle(cell, args, lengths=jnp.zeros(batch, int))
    rnn = rnnjax.layer(cell, KERNELS)
    with kernels.interpret():
        last, ys = rnn.unroll(*args, lengths=jnp.zeros(batch, int))
    np.testing.assert_array_equal(last.c, args[1].c)
    assert not ys.any()


@pytest.mark.parametrize(("length", "batch"), [(0, (2,)), (3, (0,))])
def test_nothing(length, batch):
    cell = CELLS["lstm"](2)
    assert_equals_oracle(cell, example(cell, length, batch, 2))


def test_nan_in_the_padding_reaches_nothing():
    cell, length, batch = CELLS["lstm"](2), 5, (2,)
    params, carry, xs = example(cell, length, batch, 2)
    options = flags(length, batch, ("lengths",))
    beyond = jnp.arange(length)[:, None] >= options["lengths"][None]
    dirty = jnp.where(beyond[..., None], jnp.nan, xs)
    rnn = rnnjax.layer(cell, KERNELS)

    def loss(params, carry, xs):
        return jnp.sum(rnn.unroll(params, carry, xs, **options)[1] ** 2)

    with kernels.interpret():
        gradient = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
        have, want = (gradient(params, carry, x) for x in (dirty, xs))
    jax.tree.map(np.testing.assert_array_equal, have, want)


def test_vmap_and_shard_map():
    """Over models; and over devices, the weights on all of them."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    cell = CELLS["simple"](3)
    params, _, xs = example(cell, 5, (4,), 3)

    def gradient(schedule):
        rnn = rnnjax.layer(cell, schedule)
        loss = lambda p, xs: jnp.sum(rnn.unroll(p, None, xs)[1] ** 2)  # noqa: E731
        return jax.grad(loss)

    def sharded(params, xs):
        local = gradient(KERNELS)(params, xs)
        return jax.lax.psum(local, "data")

    two = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
    with kernels.interpret():
        of_models = jax.jit(jax.vmap(gradient(KERNELS), (0, None)))(two, xs)
        # The interpreter does not know over which axes of a mesh arrays vary.
        of_devices = jax.jit(
            jax.shard_map(
                sharded,
                mesh=mesh,
                in_specs=(P(), P(None, "data")),
                out_specs=P(),
                check_vma=False,
            )
        )(params, xs)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)  # noqa: E731
    want = jax.vmap(gradient(ORACLE), (0, None))(two, xs)
    jax.tree.map(close, of_models, want)
    jax.tree.map(close, of_devices, jax.tree.map(lambda g: g[0], want))


def test_derivatives_that_there_are_not():
    rnn = rnnjax.gru(2, schedule=KERNELS)
    xs = jnp.ones((3, 1, 2))
    params = rnn.init(jax.random.key(0), xs[0])

    def run(x):
        return jnp.sum(rnn.unroll(params, None, x)[1])

    with kernels.interpret():
        for derivative in (
            lambda: jax.jvp(run, (xs,), (xs,)),
            lambda: jax.grad(lambda x: jnp.sum(jax.grad(run)(x)))(xs),
        ):
            with pytest.raises(TypeError, match="backend='pallas'.*reverse mode"):
                derivative()
        assert "reverse mode alone" in str(rnn.explain(params, xs))


def test_where_there_is_no_tpu():
    rnn = rnnjax.gru(2, schedule=KERNELS)
    xs = jnp.ones((3, 1, 2))
    params = rnn.init(jax.random.key(0), xs[0])
    for run in (rnn.explain, lambda params, xs: rnn.unroll(params, None, xs)):
        with pytest.raises(ValueError, match="for TPUs and this is a cpu"):
            run(params, xs)
    with kernels.interpret():
        assert "interpreted, slowly" in str(rnn.explain(params, xs))
    with pytest.raises(ValueError, match="for TPUs"):
        rnn.explain(params, xs)


@pytest.mark.parametrize(
    ("make", "options", "obstacle"),
    [
        (rnnjax.clockwork, {"periods": (1, 2)}, "no hand-written schedule"),
        (rnnjax.lstm, {"layer_norm": True}, "no hand-written schedule"),
        (rnnjax.lstm, {"schedule": {"remat": "step"}}, "remat 'step'"),
        (rnnjax.lstm, {"schedule": {"gradient": "autodiff"}}, "gradient 'autodiff'"),
        (rnnjax.gru, {"dtype": jnp.float16}, "float16"),
    ],
)
def test_what_they_cannot_run(make, options, obstacle):
    schedule = Schedule(backend="pallas", **options.pop("schedule", {}))
    rnn = make(4, schedule=schedule, **options)
    xs = jnp.ones((3, 2, 2))
    params = rnn.init(jax.random.key(0), xs[0])
    with kernels.interpret(), pytest.raises(ValueError, match=obstacle):
        rnn.unroll(params, None, xs)


@pytest.mark.parametrize("make", [rnnjax.lstm, rnnjax.gru])
def test_too_large(make):
    """Falls back to the XLA schedule, and says why."""
    rnn = make(2048, schedule=KERNELS)
    xs = jax.ShapeDtypeStruct((3, 2, 4), jnp.float32)
    params = jax.eval_shape(rnn.init, jax.random.key(0), xs)
    with kernels.interpret(), pytest.warns(UserWarning, match="minutes to compile"):
        assert "in place of the kernels" in str(rnn.explain(params, xs))
    with kernels.interpret(), pytest.warns(UserWarning, match="backend='pallas'"):
        jax.eval_shape(lambda p, xs: rnn.unroll(p, None, xs), params, xs)


@pytest.mark.slow
@settings(max_examples=60)
@given(data=st.data())
def test_any_shape_and_options(data):
    draw = data.draw
    dtype = draw(st.sampled_from(["float32", "bfloat16"]))
    # Rounded to bfloat16 a number near the kink of relu is on the other side of it.
    smooth = sorted(CELLS.keys() - {"relu"})
    name = draw(st.sampled_from(smooth if dtype == "bfloat16" else sorted(CELLS)))
    size, length = draw(st.integers(1, 150)), draw(st.integers(1, 14))
    batch = tuple(draw(st.lists(st.integers(1, 20), max_size=2)))
    kinds = draw(st.sets(st.sampled_from(["resets", "mask", "lengths"]), max_size=2))
    if {"mask", "lengths"} <= kinds:
        kinds = {"mask"}
    use_bias = draw(st.booleans())
    cell = CELLS[name](size, dtype=jnp.dtype(dtype), use_bias=use_bias)
    exact = CELLS[name](size, use_bias=use_bias) if dtype == "bfloat16" else None
    mask, carry = draw(st.booleans()), draw(st.booleans())
    args = example(cell, length, batch, size, mask=mask, carry=carry)
    options = flags(length, batch, kinds) | {"reverse": draw(st.booleans())}
    assert_equals_oracle(cell, args, exact=exact, **options)
