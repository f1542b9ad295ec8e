"""`newton_scan` and backend "newton" against plain `lax.scan` and autodiff."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import rnnjax
from rnnjax import Schedule, newton_scan
from tests.conformance.harness import (
    AUTODIFF,
    arguments,
    assert_close,
    compiled,
    evaluate,
)
from tests.conformance.registry import rows

T, B, N = 12, 2, 3
JACOBIANS = ["full", "diagonal"]
NEWTON = Schedule(backend="newton")


def step(w, carry, x):
    """Two leaves that depend on each other, and an integer among the outputs."""
    h, c = carry
    c = c / 2 + jnp.tanh(h @ w["kernel"] + x)
    h = jnp.sin(c) * jax.nn.sigmoid(c @ w["gate"])
    return (h, c), {"y": h * c, "positive": (h > 0).astype(jnp.int32)}


def operands():
    draw = np.random.default_rng(0)
    w = {"kernel": draw.normal(size=(N, N)), "gate": draw.normal(size=(N, N))}
    carry = draw.normal(size=(B, N)), draw.normal(size=(B, N))
    return w, carry, draw.normal(size=(T, B, N))


def loss(last, ys):
    """Another slope everywhere."""
    return sum(jnp.sum(jnp.sin(h)) for h in last) + jnp.sum(ys["y"] ** 2)


def by_loop(w, carry, xs, reverse=False):
    return lax.scan(functools.partial(step, w), carry, xs, reverse=reverse)


def by_newton(w, carry, xs, **options):
    """No fall-back: what is tested are the iterations."""
    f = functools.partial(step, w)
    last, ys, info = newton_scan(f, carry, xs, fallback=False, **options)
    return last, ys | {"converged": info.converged}


def gradients(run):
    return jax.grad(lambda given: loss(*run(*given)))


def first_order(run):
    """Outputs, gradients, and the derivative in one direction."""

    def evaluate(*given):
        along = jax.tree.map(jnp.cos, given)
        forward = jax.jvp(lambda *given: loss(*run(*given)), given, along)
        return run(*given), gradients(run)(given), forward

    return compiled(evaluate)


def second_order(run):
    """Forward over reverse, and reverse over reverse."""

    def total(given):
        return sum(map(jnp.sum, jax.tree.leaves(gradients(run)(given))))

    def evaluate(*given):
        along = jax.tree.map(jnp.cos, given)
        return jax.jvp(gradients(run), (given,), (along,)), jax.grad(total)(given)

    return compiled(evaluate)


@functools.cache
def of_loop(derivatives, reverse=False):
    return derivatives(functools.partial(by_loop, reverse=reverse))(*operands())


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_values_and_derivatives_are_those_of_the_loop(jacobian, reverse):
    run = functools.partial(by_newton, jacobian=jacobian, reverse=reverse)
    actual = first_order(run)(*operands())
    assert actual[0][1].pop("converged")
    assert_close(actual, of_loop(first_order, reverse))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_second_order(jacobian):
    run = functools.partial(by_newton, jacobian=jacobian)
    assert_close(second_order(run)(*operands()), of_loop(second_order))


def test_linear_steps_take_one_iteration():
    """Whose Jacobian Newton's method has at once; the diagonal one, if it is that."""
    draw = np.random.default_rng(0)
    xs = jnp.asarray(draw.normal(size=(T, B, N)) / 9, jnp.float32)
    matrix = jnp.asarray(draw.normal(size=(N, N)) / 3, jnp.float32)

    def run(xs, matrix, jacobian, damping=0.0):
        f = lambda h, x: (h @ matrix + x,) * 2  # noqa: E731
        options = {"jacobian": jacobian, "damping": damping}
        return newton_scan(f, jnp.zeros((B, N)), xs, **options)[2].iterations

    run = jax.jit(run, static_argnums=(2, 3))
    assert run(xs, matrix, "full") == 1
    assert run(xs, jnp.diag(jnp.diag(matrix)), "diagonal") == 1
    assert run(xs, matrix, "diagonal") > 1
    assert 1 < run(xs, matrix, "full", 0.5) < run(xs, matrix, "full", 1.0) <= T


def gru(length, hidden, scale=1.0):
    """A step ``(params, h, x)`` of a GRU, its parameters and inputs."""
    cell = rnnjax.cells.gru(hidden)
    xs = jax.random.normal(jax.random.key(0), (length, 1, 4))
    params = cell.init(jax.random.key(1), xs[0])
    params = jax.tree.map(lambda a: scale * a, params)
    h = cell.initial_carry(params, (1,))
    f = lambda p, h, x: cell.recur(p["recurrent"], h, cell.project(p, x))  # noqa: E731
    return f, params, h, xs


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_a_long_gru_in_float32(jacobian):
    f, params, h, xs = gru(10_000, 4)

    def run(params, xs):
        step = functools.partial(f, params)
        return lax.scan(step, h, xs), newton_scan(
            step, h, xs, jacobian=jacobian, fallback=False
        )

    expected, (*actual, info) = compiled(run)(params, xs)
    assert info.converged
    assert 1 < info.iterations < 30
    assert info.residual < 2e-6
    assert_close(tuple(actual), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_a_trained_gru_over_10000_steps(jacobian):
    """Trained to hold bits, which is the hard case; by default options, `full`."""
    from benchmarks.suites import _flip_flop  # brings what the benchmarks need

    cell, params, errors = _flip_flop.trained_gru(16)
    assert errors[1] < 0.02 < errors[0]
    xs, _ = _flip_flop.sequence(10_000, 1, seed=99)
    h = cell.initial_carry(params, (1,))

    def run(params, xs):
        f = lambda h, x: cell.recur(params["recurrent"], h, cell.project(params, x))  # noqa: E731
        options = {} if jacobian == "full" else {"max_iterations": 200}
        newton = newton_scan(f, h, xs, jacobian=jacobian, fallback=False, **options)
        return lax.scan(f, h, xs), newton

    expected, (*actual, info) = compiled(run)(params, xs)
    assert info.converged
    assert_close(tuple(actual), expected, rtol=0, atol=1e-5)


def chaotic(fallback, **options):
    """``tanh`` with a recurrent gain of 4: errors grow until they saturate."""
    draw = np.random.default_rng(0)
    kernel = jnp.asarray(4 * draw.normal(size=(8, 8)) / np.sqrt(8), jnp.float32)
    xs = jnp.asarray(draw.normal(size=(500, 8)), jnp.float32)

    def run(kernel):
        f = lambda h, x: (jnp.tanh(h @ kernel + x),) * 2  # noqa: E731
        given = f, jnp.zeros(8), xs
        newton = newton_scan(*given, max_iterations=8, fallback=fallback, **options)
        return lax.scan(*given), newton

    def with_gradient(kernel):
        sums = lambda kernel: [jnp.sum(r[1][:4]) for r in run(kernel)]  # noqa: E731
        return run(kernel), jax.jacrev(sums)(kernel)

    return compiled(with_gradient)(kernel)


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_without_convergence_it_says_so_and_runs_the_loop(jacobian):
    (expected, (*actual, info)), gradients = chaotic(True, jacobian=jacobian)
    assert not info.converged
    assert info.iterations == 8
    assert info.residual > 0.1
    assert_close(tuple(actual), expected, rtol=1e-6, atol=1e-6)
    assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)


def test_without_fallback_the_last_iteration_is_returned():
    """Of which step ``i`` is exact after ``i`` iterations, and finite all of it."""
    ((_, expected), (_, ys, info)), _ = chaotic(False)
    assert not info.converged
    assert_close(ys[:8], expected[:8], rtol=1e-4, atol=1e-4)
    assert jnp.max(jnp.abs(ys - expected)) > 0.1
    assert jnp.all(jnp.isfinite(ys))


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_as_many_iterations_as_steps_are_enough(jacobian):
    """Also where products of Jacobians overflow on the way."""
    xs = jnp.linspace(-1, 1, 60)[:, None]

    def run(xs):
        f = lambda h, x: (jnp.tanh(40 * h + x),) * 2  # noqa: E731
        given = f, jnp.full(1, 1e-3), xs
        newton = newton_scan(*given, jacobian=jacobian, fallback=False)
        return lax.scan(*given), newton

    expected, (*actual, info) = compiled(run)(xs)
    assert info.converged
    assert_close(tuple(actual), expected, rtol=0, atol=1e-5)


def test_nan_does_not_converge_and_comes_out_as_of_the_loop():
    f, params, h, xs = gru(20, 3)
    xs = xs.at[10].set(jnp.nan)
    _, ys, info = newton_scan(functools.partial(f, params), h, xs, max_iterations=3)
    assert not info.converged
    assert jnp.isnan(ys[10:]).all() and not jnp.isnan(ys[:10]).any()


def test_vmap_has_one_flag_each():
    """One that converges in time and one that does not, and both are right."""
    draw = np.random.default_rng(0)
    kernel = jnp.asarray(draw.normal(size=(8, 8)) / np.sqrt(8), jnp.float32)
    xs = jnp.asarray(draw.normal(size=(100, 8)), jnp.float32)

    def run(gain):
        f = lambda h, x: (jnp.tanh(gain * h @ kernel + x),) * 2  # noqa: E731
        given = f, jnp.zeros(8), xs
        return lax.scan(*given), newton_scan(*given, max_iterations=8)

    gains = jnp.array([0.5, 4.0])
    expected, (*actual, info) = compiled(jax.vmap(run))(gains)
    assert info.converged.tolist() == [True, False]
    assert info.iterations[0] < info.iterations[1] == 8
    assert_close(tuple(actual), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
@pytest.mark.parametrize("hidden", [N, 40], ids=JACOBIANS)
def test_sharded_over_examples(kind, hidden):
    rnn = rnnjax.gru(hidden, schedule=NEWTON, param_dtype="float64")
    plain = rnnjax.gru(hidden, schedule=AUTODIFF, param_dtype="float64")
    xs = jax.random.normal(jax.random.key(0), (T, B, N))
    params = rnn.init(jax.random.key(1), xs[0])

    def gradient(rnn):
        def loss(params, xs):
            return jnp.sum(rnn.unroll(params, None, xs)[1] ** 2)

        return jax.grad(loss)

    expected = jax.jit(gradient(plain))(params, xs)
    run = gradient(rnn)
    mesh = jax.make_mesh((B,), ("data",), axis_types=(kind,), devices=jax.devices()[:B])
    specs = P(), P(None, "data")
    if kind == AxisType.Auto:
        run = jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=P())
        assert_close(jax.jit(run)(params, xs), expected)
        return
    with jax.set_mesh(mesh):
        put = lambda tree, spec: jax.device_put(tree, NamedSharding(mesh, spec))  # noqa: E731
        actual = jax.jit(run)(put(params, specs[0]), put(xs, specs[1]))
        assert_close(actual, expected)


by_schedule = rows(main=True, where=lambda row: row.name in ("simple", "lstm", "gru"))


@pytest.mark.usefixtures("x64")
@by_schedule
@pytest.mark.parametrize("reverse", [False, True])
def test_cells_with_resets_and_nan_padding(row, reverse):
    a = arguments(row.name)
    expected = evaluate(row.name, a.blank(), AUTODIFF, reverse=reverse)
    actual = evaluate(row.name, a.padded([np.nan]), NEWTON, reverse=reverse)
    assert_close(actual, expected)


def explained(rnn, xs):
    return rnnjax.explain(rnn, rnn.init(jax.random.key(0), xs[0]), xs)


def test_explain_says_what_it_is_and_auto_never_takes_it():
    xs = jnp.ones((T, B, N))
    explanation = explained(rnnjax.gru(4, schedule=NEWTON), xs)
    assert (explanation.backend, explanation.gradient) == ("newton", "deferred")
    assert "all steps at once, up to 100 iterations" in explanation.reasons[0]
    assert explained(rnnjax.gru(4), xs).backend != "newton"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient": "autodiff"}, "gradient 'autodiff' differentiates the loop"),
        ({"remat": "step"}, "remat 'step' recomputes the steps of a loop"),
    ],
)
def test_schedules_it_cannot_have(options, message):
    rnn = rnnjax.gru(4, schedule=Schedule(backend="newton", **options))
    with pytest.raises(ValueError, match=message):
        explained(rnn, jnp.ones((T, B, N)))


def test_a_carry_with_integers_is_refused():
    rnn = rnnjax.clockwork(4, (1, 2), schedule=NEWTON)
    with pytest.raises(ValueError, match="backend='newton'.*int32.*not real floating"):
        explained(rnn, jnp.ones((T, B, N)))


def test_no_steps_no_examples_and_numpy():
    f = lambda h, x: (jnp.tanh(h + x),) * 2  # noqa: E731
    last, ys, info = newton_scan(f, np.ones((B, N)), np.zeros((0, B, N)))
    assert (last.shape, ys.shape, bool(info.converged)) == ((B, N), (0, B, N), True)
    last, ys, info = newton_scan(f, np.ones((0, N)), np.zeros((T, 0, N)))
    assert (last.shape, ys.shape, int(info.iterations)) == ((0, N), (T, 0, N), 0)


def test_leaves_of_other_shapes_and_dtypes():
    """``batch_ndim`` leads all of them; each keeps its dtype."""
    init = {
        "scalar": jnp.zeros(B),
        "matrix": jnp.zeros((B, 2, N), jnp.bfloat16),
    }

    def f(carry, x):
        scalar = jnp.tanh(carry["scalar"] + carry["matrix"].sum((1, 2)) / 8 + x)
        matrix = jnp.sin(carry["matrix"] / 2 + scalar[:, None, None])
        return {"scalar": scalar, "matrix": matrix.astype(jnp.bfloat16)}, scalar

    xs = jnp.linspace(0, 1, T * B).reshape(T, B)
    expected = lax.scan(f, init, xs)
    for jacobian in JACOBIANS:
        last, ys, info = newton_scan(
            f, init, xs, batch_ndim=1, jacobian=jacobian, fallback=False
        )
        assert info.converged
        assert jax.tree.map(jnp.result_type, last) == jax.tree.map(
            jnp.result_type, init
        )
        assert_close((last, ys), expected, rtol=0.05, atol=0.05)


def test_bad_arguments():
    f = lambda h, x: (jnp.tanh(h + x),) * 2  # noqa: E731
    h, xs = jnp.zeros((B, N)), jnp.zeros((T, B, N))
    for options, message in (
        ({"jacobian": "dense"}, r"jacobian: expected one of \('auto'.*got 'dense'"),
        ({"damping": 1.5}, r"damping: expected 0 to 1, got 1.5"),
        ({"tolerance": -1.0}, r"tolerance: expected 0 to inf, got -1.0"),
        ({"max_iterations": 0}, r"max_iterations: expected a positive integer, got 0"),
        ({"batch_ndim": 3}, r"batch_ndim: expected .* share, got 3 for"),
    ):
        with pytest.raises(ValueError, match=message):
            newton_scan(f, h, xs, **options)
    with pytest.raises(TypeError, match=r"init: .*int32.*Use rnnjax.scan"):
        newton_scan(lambda h, x: (h, x), jnp.zeros(B, jnp.int32), xs)
    for bad in (None, jnp.float32(0), (xs, xs[1:])):
        with pytest.raises(ValueError, match=r"xs: expected leaves that share"):
            newton_scan(f, h, bad)
    with pytest.raises(ValueError, match=r"f: .* calls back into Python"):
        newton_scan(_calls_back, h, xs)


def _calls_back(h, x):
    h = jax.pure_callback(np.tanh, jax.typeof(h + x), h + x)
    return h, h
