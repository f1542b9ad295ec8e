"""The kernel of diagonal linear recurrences, interpreted, against the plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.experimental.pallas import tpu
from jax.sharding import PartitionSpec as P

import rnnjax
from rnnjax import Schedule, kernels, linear_scan
from rnnjax.kernels import _linear

TOLERANCE = {"float32": 1e-5, "complex64": 1e-5, "bfloat16": 2e-2}


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(_linear, "_CHUNK", 4)


def operands(length, shape, dtype, constant=False):
    draw = np.random.default_rng(0)

    def normal(*shape):
        x = draw.normal(size=shape) + 1j * draw.normal(size=shape)
        return jnp.asarray(x if dtype == "complex64" else x.real, dtype)

    a = normal(1 if constant else length, *shape) * jnp.asarray(0.5, dtype)
    return a, normal(length, *shape), normal(*shape)


def assert_equals_loop(args, dtype, **options):
    """The loop in float32, or in complex64."""
    exact = dtype if dtype == "complex64" else "float32"

    def results(backend, args):
        def loss(a, b, h0):
            last, hs = linear_scan(a, b, h0, backend=backend, **options)
            size = jnp.abs(hs.astype(exact)) ** 2
            total = jnp.sum(size) + jnp.sum(jnp.sin(jnp.abs(last.astype(exact))))
            return total, (last, hs)

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(*args)

    with kernels.interpret():
        (_, have), have_gradients = results("pallas", args)
    (_, want), want_gradients = results("sequential", [x.astype(exact) for x in args])
    have, want = (have, have_gradients), (want, want_gradients)
    for a, b in zip(jax.tree.leaves(have), jax.tree.leaves(want), strict=True):
        assert a.shape == b.shape and a.dtype == dtype
        a, b = (np.asarray(x, np.complex128) for x in (a, b))
        scale = max(1.0, np.abs(b).max(initial=0))
        assert np.abs(a - b).max(initial=0) / scale <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("constant", [False, True])
def test_equals_the_loop(dtype, constant):
    """With resets; in reverse; chunks of which the last is shorter."""
    args = operands(11, (3, 2), dtype, constant)
    resets = np.random.default_rng(1).random((11, 3)) < 0.3
    assert_equals_loop(args, dtype, resets=jnp.asarray(resets), reverse=constant)


@pytest.mark.parametrize(
    ("length", "shape"), [(1, ()), (0, (2,)), (3, (0,)), (2, (70 * 128,))]
)
def test_little_nothing_and_several_blocks(length, shape):
    assert_equals_loop(operands(length, shape, "float32"), "float32")


def test_no_step_of_a_constant_is_read_but_its_only_one(monkeypatch):
    """Another interpreter says so; the usual one takes the nearest there is."""
    checking = tpu.InterpretParams(out_of_bounds_reads="raise")
    monkeypatch.setattr(_linear, "interpreted", lambda: checking)
    a, b, h0 = operands(5, (2,), "float32", constant=True)
    with kernels.interpret():
        have = linear_scan(a, b, h0, backend="pallas")[1]
    want = linear_scan(a, b, h0, backend="sequential")[1]
    np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-5)


def test_forward_mode_and_second_order():
    """The rule is that of all backends: no derivative is missing."""
    a, b, h0 = operands(5, (2,), "float32")

    def total(backend):
        return lambda a: jnp.sum(linear_scan(a, b, h0, backend=backend)[1] ** 2)

    with kernels.interpret():
        have = jax.jit(jax.hessian(total("pallas")))(a)
    want = jax.jit(jax.hessian(total("sequential")))(a)
    np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [rnnjax.lru, rnnjax.rg_lru])
def test_cells(make):
    """By `Schedule`, complex and real, with lengths and resets."""
    draw = np.random.default_rng(0)
    xs = jnp.asarray(draw.normal(size=(6, 2, 3)), jnp.float32)
    options = {
        "lengths": jnp.array([6, 3]),
        "resets": jnp.asarray(draw.random((6, 2)) < 0.4),
    }

    def gradient(schedule):
        rnn = make(4, schedule=schedule)
        params = rnn.init(jax.random.key(0), xs[0])
        loss = lambda p: jnp.sum(rnn.unroll(p, None, xs, **options)[1] ** 2)  # noqa: E731
        return jax.jit(jax.grad(loss))(params), str(rnn.explain(params, xs))

    with kernels.interpret():
        have, how = gradient(Schedule(backend="pallas"))
    want, _ = gradient(Schedule(gradient="autodiff", backend="scan"))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)  # noqa: E731
    jax.tree.map(close, have, want)
    assert "backend pallas" in how and "linear in its carry" in how


def test_vmap_and_shard_map():
    """Over recurrences beside one another; and over devices, which share the rows."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    a, b, h0 = operands(9, (4, 2), "float32")

    def gradient(backend):
        def loss(a, b, h0):
            return jnp.sum(jnp.sin(linear_scan(a, b, h0, backend=backend)[1]))

        return jax.grad(loss, (0, 1, 2))

    over, rows = P(None, "data"), P("data")
    # The interpreter does not know over which axes of a mesh arrays vary.
    specs = {"in_specs": (over, over, rows), "out_specs": (over, over, rows)}
    with kernels.interpret():
        mapped = jax.jit(jax.vmap(gradient("pallas"), (1, 1, 0), (1, 1, 0)))(a, b, h0)
        sharded = jax.shard_map(gradient("pallas"), mesh=mesh, check_vma=False, **specs)
        have = mapped, jax.jit(sharded)(a, b, h0)
    want = (gradient("sequential")(a, b, h0),) * 2
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)  # noqa: E731
    jax.tree.map(close, have, want)


def test_what_it_cannot_run():
    a, b, h0 = operands(3, (2,), "float32")
    with pytest.raises(ValueError, match="for TPUs and this is a cpu"):
        linear_scan(a, b, h0, backend="pallas")
    with kernels.interpret():
        with pytest.raises(ValueError, match="a has matrices"):
            linear_scan(jnp.ones((3, 2, 2)), b, h0, backend="pallas")
        with pytest.raises(ValueError, match="not float16"):
            half = (x.astype(jnp.float16) for x in (a, b, h0))
            linear_scan(*half, backend="pallas")


@pytest.mark.slow
@settings(max_examples=60)
@given(data=st.data())
def test_any_shape(data):
    draw = data.draw
    dtype = draw(st.sampled_from(sorted(TOLERANCE)))
    length = draw(st.integers(0, 14))
    shape = tuple(draw(st.lists(st.integers(1, 40), max_size=3)))
    args = operands(length, shape, dtype, draw(st.booleans()) and length > 0)
    options = {"reverse": draw(st.booleans())}
    if shape and draw(st.booleans()):
        resets = np.random.default_rng(1).random((length, shape[0])) < 0.3
        options["resets"] = jnp.asarray(resets)
    assert_equals_loop(args, dtype, **options)
