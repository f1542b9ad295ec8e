"""`rnnjax.scan` returns what `jax.lax.scan` returns, under every transformation.

Each program is written once, with the scan as its argument, and runs with both.
"""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import rnnjax

T, H = 5, 3
pytestmark = pytest.mark.usefixtures("x64")


def arguments():
    """Weights ``[H, H]``, a first carry ``[H]`` and ``xs [T, H]``, float64."""
    w, h, xs = jax.random.split(jax.random.key(0), 3)
    return (
        jax.random.normal(w, (H, H)) / 2,
        jax.random.normal(h, (H,)),
        jax.random.normal(xs, (T, H)),
    )


def step_of(w):
    def step(h, x):
        h = jnp.tanh(h @ w + x)
        return h, {"h": h, "x": x * h}

    return step


def total(tree):
    """A scalar that weighs every element of every float leaf."""
    leaves = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return sum((jnp.sum(jnp.sin(jnp.abs(a) + 0.3)) for a in leaves), jnp.zeros(()))


def loss_of(scan, **options):
    return lambda w, h, xs: total(scan(step_of(w), h, xs, **options))


def check(program, *args, tolerance=1e-10):
    """The program gives the same values, types and structure with both scans."""

    def both(*args):
        return program(lax.scan, *args), program(rnnjax.scan, *args)

    expected, got = jax.jit(both)(*args)
    chex.assert_trees_all_equal_shapes_and_dtypes(got, expected)
    weak = [
        [jax.typeof(a).weak_type for a in jax.tree.leaves(t)] for t in (got, expected)
    ]
    assert weak[0] == weak[1]
    floats = [
        [a for a in jax.tree.leaves(t) if jnp.issubdtype(a.dtype, np.number)]
        for t in (got, expected)
    ]
    chex.assert_trees_all_close(*floats, rtol=tolerance, atol=tolerance)


TRANSFORMED = {
    "value": lambda scan: loss_of(scan),
    "grad": lambda scan: jax.grad(loss_of(scan), (0, 1, 2)),
    "jvp": lambda scan: lambda *a: jax.jvp(loss_of(scan), a, a),
    "linearize": lambda scan: lambda *a: jax.linearize(loss_of(scan), *a)[1](*a),
    "jacfwd": lambda scan: jax.jacfwd(loss_of(scan), (0, 2)),
    "jacrev": lambda scan: jax.jacrev(
        lambda w, h, xs: scan(step_of(w), h, xs)[1]["h"], (0, 1)
    ),
    "hessian": lambda scan: jax.hessian(loss_of(scan), (0, 1)),
    "grad of grad": lambda scan: jax.grad(
        lambda *a: total(jax.grad(loss_of(scan))(*a)), (0, 1, 2)
    ),
    "jvp of grad": lambda scan: lambda *a: jax.jvp(jax.grad(loss_of(scan)), a, a),
    "grad of jvp": lambda scan: jax.grad(
        lambda *a: jax.jvp(loss_of(scan), a, a)[1], (0, 2)
    ),
    "checkpoint": lambda scan: jax.grad(jax.checkpoint(loss_of(scan))),
    "reverse": lambda scan: jax.grad(loss_of(scan, reverse=True), (0, 1, 2)),
    "unroll 2": lambda scan: jax.grad(loss_of(scan, unroll=2), (0, 1, 2)),
    "unroll True": lambda scan: jax.grad(loss_of(scan, unroll=True)),
    "unroll False": lambda scan: jax.grad(loss_of(scan, unroll=False)),
    "unroll 0": lambda scan: jax.grad(loss_of(scan, unroll=0)),
    "length given": lambda scan: jax.grad(loss_of(scan, length=T), (0, 1, 2)),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transformations(name):
    check(lambda scan, *args: TRANSFORMED[name](scan)(*args), *arguments())


@pytest.mark.parametrize("length", [0, 1])
def test_no_step_and_one(length):
    w, h, xs = arguments()

    def program(scan, *args):
        out = scan(step_of(args[0]), *args[1:])
        return out, jax.grad(loss_of(scan), (0, 1, 2))(*args)

    check(program, w, h, xs[:length])


@pytest.mark.parametrize("axes", [(0, None, None), (None, 0, None), (None, None, 0)])
def test_vmap_of_grad_and_grad_of_vmap(axes):
    args = [
        a if axis is None else jnp.stack([a, 2 * a, -a])
        for a, axis in zip(arguments(), axes, strict=True)
    ]

    def program(scan, *args):
        over = jax.vmap(loss_of(scan), axes)
        of_grad = jax.vmap(jax.grad(loss_of(scan), (0, 1, 2)), axes)
        return of_grad(*args), jax.grad(lambda *a: over(*a).sum(), (0, 1, 2))(*args)

    check(program, *args)


# Steps that users write: (scan, w, h, xs) -> anything.


def no_xs(scan, w, h, xs):
    return scan(lambda h, _: (jnp.tanh(h @ w), h), h, None, length=4)


def no_xs_but_a_structure(scan, w, h, xs):
    return scan(lambda h, x: (jnp.tanh(h @ w), x), h, {"nothing": None}, 4)


def no_carry(scan, w, h, xs):
    return scan(lambda nothing, x: (nothing, x @ w), (), xs)


def carry_of_none(scan, w, h, xs):
    return scan(lambda nothing, x: (None, x @ w), None, xs)


def no_output(scan, w, h, xs):
    return scan(lambda h, x: (jnp.tanh(h @ w + x), None), h, xs)


def dict_carry(scan, w, h, xs):
    def step(carry, x):
        h = jnp.tanh(carry["h"] @ w + x)
        return {"h": h, "sum": carry["sum"] + h.sum()}, h

    return scan(step, {"h": h, "sum": jnp.zeros(())}, xs)


def pair_as_a_list(scan, w, h, xs):
    out = scan(lambda h, x: [jnp.tanh(h @ w + x), x], h, xs)
    assert type(out) is list
    return out


def integer_xs(scan, w, h, xs):
    return scan(lambda h, i: (jnp.tanh(h @ w + w[i]), i + 1), h, jnp.arange(3))


def mixed_carry(scan, w, h, xs):
    """Float, int, bool and a key."""

    def step(carry, x):
        h, i, odd, key = carry
        key, now = jax.random.split(key)
        h = jnp.tanh(h @ w + jnp.where(odd, x, -x) + jax.random.normal(now, h.shape))
        return (h, i + 1, ~odd, key), h * i

    (h, i, odd, _), ys = scan(step, (h, 0, False, jax.random.key(3)), xs)
    return h, i, odd, ys


def keys_as_xs(scan, w, h, xs):
    keys = jax.random.split(jax.random.key(1), 4)
    return scan(lambda h, k: (jnp.tanh(h @ w + jax.random.normal(k, (H,))), h), h, keys)


def complex_carry(scan, w, h, xs):
    return scan(lambda h, x: (jnp.tanh(h @ (w * (1 + 0.5j)) + x), h), h + 0j, xs)


def numpy_arrays(scan, w, h, xs):
    table = np.arange(T * H, dtype=np.float64).reshape(T, H) / 9
    return scan(lambda h, x: (jnp.tanh(h @ w + x * table[0]), x), np.zeros(H), table)


def float32_beside_float64(scan, w, h, xs):
    def step(carry, x):
        a, b = carry
        b = jnp.tanh(b @ w.astype(jnp.float32) + x.astype(jnp.float32))
        return (a + jnp.sum(b), b), b

    return scan(step, (jnp.zeros(()), h.astype(jnp.float32)), xs)


def weak_carry_stays_weak(scan, w, h, xs):
    return scan(lambda c, x: (c * 1.5 + 1.0, c), 0.0, xs)


def weak_carry_becomes_strong(scan, w, h, xs):
    return scan(lambda c, x: (jnp.tanh(c + x.sum()), c), 0.0, xs)


def weak_integer_becomes_float(scan, w, h, xs):
    return scan(lambda c, x: ({"a": c["a"] + x.sum()}, c), {"a": 0}, xs)


def weak_float_becomes_float32(scan, w, h, xs):
    return scan(
        lambda c, x: (c + jnp.float32(2) * x[0].astype(jnp.float32), c), 0.0, xs
    )


def weak_integer_counts(scan, w, h, xs):
    return scan(lambda c, x: (c + 1, c), 0, xs)


def cond_in_the_step(scan, w, h, xs):
    def step(h, x):
        h = lax.cond(x[0] > 0, lambda: jnp.tanh(h @ w + x), lambda: h * x)
        return h, jax.nn.relu(h)

    return scan(step, h, xs)


@jax.custom_vjp
def twice_the_slope(x):
    return jnp.sin(x)


twice_the_slope.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (2 * g * jnp.cos(x),))


def custom_vjp_in_the_step(scan, w, h, xs):
    def step(h, x):
        branch = lax.cond(x[0] > 0, lambda: twice_the_slope(h @ w), lambda: h)
        return twice_the_slope(branch + x), h

    return scan(step, h, xs)


def loops_in_the_step(scan, w, h, xs):
    def step(h, x):
        count = lax.while_loop(lambda i: i < 3, lambda i: i + 1, 0)
        return lax.fori_loop(0, 2, lambda i, h: jnp.tanh(h @ w + x), h) * count, h

    return scan(step, h, xs)


def gradient_in_the_step(scan, w, h, xs):
    def step(h, x):
        return h - 0.1 * jax.grad(lambda h: jnp.sum(jnp.tanh(h @ w + x) ** 2))(h), h

    return scan(step, h, xs)


def jit_and_checkpoint_in_the_step(scan, w, h, xs):
    return scan(jax.jit(jax.checkpoint(lambda h, x: step_of(w)(h, x))), h, xs)


def scan_in_scan(scan, w, h, xs):
    def outer(h, x):
        return scan(lambda h, v: (jnp.tanh(h @ w + v * x), h), h, jnp.stack([x, -x]))

    return scan(outer, h, xs)


def scan_in_lax_scan(scan, w, h, xs):
    def outer(h, x):
        return scan(lambda h, v: (jnp.tanh(h @ w + v * x), h), h, x)

    return lax.scan(outer, h, xs)


def closure_of_another_scan(scan, w, h, xs):
    """Weights that are tracers of an enclosing grad, made in an enclosing loop."""

    def outer(w, x):
        inner = jax.grad(lambda v: total(scan(step_of(v), x, xs)))(w)
        return w - 0.01 * inner, jnp.sum(inner)

    return lax.scan(outer, w, xs[:2])


def collective_over_a_vmapped_axis(scan, w, h, xs):
    def row(x):
        def step(h, x):
            h = jnp.tanh(h @ w + lax.pmean(x, "rows"))
            return h, h * (1 + lax.axis_index("rows"))

        return scan(step, h, x)

    return jax.vmap(row, axis_name="rows")(jnp.stack([xs, 2 * xs]))


def batched_recurrence(scan, w, h, xs):
    """Two batch axes, and a bias added by the step."""
    xs = jnp.stack([xs, 2 * xs], 1)[:, :, None]

    def step(h, x):
        h = jnp.tanh(h @ w + x + jnp.broadcast_to(w[0], h.shape))
        return h, h

    return scan(step, jnp.zeros((2, 1, H)), xs)


STEPS = [
    no_xs,
    no_xs_but_a_structure,
    no_carry,
    carry_of_none,
    no_output,
    dict_carry,
    pair_as_a_list,
    integer_xs,
    mixed_carry,
    keys_as_xs,
    complex_carry,
    numpy_arrays,
    float32_beside_float64,
    weak_carry_stays_weak,
    weak_carry_becomes_strong,
    weak_integer_becomes_float,
    weak_float_becomes_float32,
    weak_integer_counts,
    cond_in_the_step,
    custom_vjp_in_the_step,
    loops_in_the_step,
    gradient_in_the_step,
    jit_and_checkpoint_in_the_step,
    scan_in_scan,
    scan_in_lax_scan,
    closure_of_another_scan,
    collective_over_a_vmapped_axis,
    batched_recurrence,
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_steps_that_users_write(step):
    def program(scan, *args):
        gradient = jax.grad(lambda *a: total(step(scan, *a)), (0, 1, 2))
        return step(scan, *args), gradient(*args)

    tolerance = 1e-5 if "float32" in step.__name__ else 1e-10
    check(program, *arguments(), tolerance=tolerance)


def test_loop_that_only_forward_mode_takes():
    def program(scan, w, h, xs):
        def loss(w):
            def step(h, x):
                def inner(pair):
                    return pair[0] + 1, jnp.tanh(pair[1] @ w + x)

                return lax.while_loop(lambda p: p[0] < 2, inner, (0, h))[1], h

            return total(scan(step, h, xs))

        return jax.jvp(loss, (w,), (w,))

    check(program, *arguments())


def test_outside_of_jit():
    w, h, xs = arguments()

    def gradient(scan):
        loss = lambda w: jnp.sum(scan(lambda h, x: (h @ w + x, None), h, xs)[0])  # noqa: E731
        return jax.value_and_grad(loss)(w)

    chex.assert_trees_all_close(gradient(rnnjax.scan), gradient(lax.scan), rtol=1e-10)


def test_signature_is_that_of_lax_scan():
    def public(function):
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, p.default) for p in parameters if p.name[0] != "_"]

    assert public(rnnjax.scan) == public(lax.scan)


def rows_of(xs):
    return jnp.stack([xs + i for i in range(8)], 1)


@pytest.mark.parametrize("where", ["outside", "inside"])
def test_shard_map(where):
    """Replicated weights: their gradient is summed over devices."""
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,))

    def program(scan, w, h, xs):
        def local(w, h, xs):
            def step(h, x):
                h = jnp.tanh(h @ w + x)
                return h, lax.psum(jnp.sum(h), "rows")

            last, sums = scan(step, h, xs)
            return lax.psum(jnp.sum(last), "rows") + jnp.sum(sums)

        inner = local if where == "outside" else jax.grad(local)
        mapped = jax.shard_map(
            inner, mesh=mesh, in_specs=(P(), P("rows"), P(None, "rows")), out_specs=P()
        )
        return (jax.grad(mapped) if where == "outside" else mapped)(w, h, xs)

    w, h, xs = arguments()
    check(program, w, rows_of(h[None])[0], rows_of(xs))


def test_explicit_sharding():
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Explicit,))
    w, h, xs = arguments()
    with jax.set_mesh(mesh):
        h = jax.device_put(rows_of(h[None])[0], NamedSharding(mesh, P("rows")))
        xs = jax.device_put(rows_of(xs), NamedSharding(mesh, P(None, "rows")))
        check(lambda scan, *a: jax.grad(loss_of(scan), (0, 1, 2))(*a), w, h, xs)


@jax.custom_vjp
def _clipping_its_gradient(w):
    return w


_clipping_its_gradient.defvjp(
    lambda w: (w, None), lambda _, g: (jnp.clip(g, -0.01, 0.01),)
)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_a_rule_of_weights_that_is_not_linear(wrap):
    """Its backward runs at every step, not once on the sum."""
    weights = wrap(_clipping_its_gradient)

    def loss(w, scan):
        step = lambda h, x: (jnp.tanh(x + h @ weights(w)),) * 2  # noqa: E731
        return (scan(step, jnp.zeros((2, 3)), xs)[1] ** 2).sum()

    xs, w = jax.random.normal(jax.random.key(0), (6, 2, 3)), jnp.eye(3) / 2
    ours, theirs = (jax.grad(loss)(w, scan) for scan in (rnnjax.scan, jax.lax.scan))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert np.abs(ours).max() > 0.015  # the sum of some, each clipped


def test_a_cell_with_such_a_rule_says_that_its_gradient_is_not_deferred():
    def recur(w, h, u):
        h = jnp.tanh(u + h @ _clipping_its_gradient(w["kernel"]))
        return h, h

    cell = rnnjax.cells.simple(3)._replace(recur=recur)
    rnn = rnnjax.layer(cell, rnnjax.Schedule(gradient="deferred"))
    xs = jax.random.normal(jax.random.key(0), (6, 2, 3))
    params = rnn.init(jax.random.key(1), xs[0])
    with pytest.warns(UserWarning, match="custom_vjp"):
        explanation = rnnjax.explain(rnn, params, xs)
    assert explanation.gradient == "autodiff"
    assert "custom_vjp" in explanation.reasons[-1]

    def gradient(rnn):
        loss = lambda p: (rnn.unroll(p, None, xs)[1] ** 2).sum()  # noqa: E731
        return jax.grad(loss)(params)["recurrent"]["kernel"]

    oracle = rnnjax.layer(cell, rnnjax.Schedule(gradient="autodiff", backend="scan"))
    with pytest.warns(UserWarning, match="custom_vjp"):
        ours = gradient(rnn)
    np.testing.assert_allclose(ours, gradient(oracle), rtol=1e-5, atol=1e-6)
