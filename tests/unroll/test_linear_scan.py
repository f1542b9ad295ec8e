"""`linear_scan` against a NumPy loop, and its derivatives against those of the loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from rnnjax import linear_scan
from tests.conformance.harness import assert_close, compiled

pytestmark = pytest.mark.usefixtures("x64")
T, B, N = 7, 2, 3
BACKENDS = ["sequential", "chunked", "associative"]
# Shape of `a` beside `b [T, B, N]`, and whether both are complex.
KINDS = {
    "diagonal": ((T, B, N), True),
    "constant": ((1, 1, N), True),
    "one for all examples": ((T, 1, N), False),
    "blocks": ((T, B, N, N), True),
    "constant blocks": ((1, 1, N, N), False),
}
REAL = "one for all examples"
RESETS = np.random.default_rng(1).random((T, B)) < 0.3


def operands(kind, length=T):
    """NumPy arrays, because float64 is on inside the tests alone."""
    (steps, *shape), is_complex = KINDS[kind]
    generator = np.random.default_rng(0)

    def draw(*shape):
        x = generator.normal(size=shape) / 2
        return x + 1j * generator.normal(size=shape) / 2 if is_complex else x

    steps = 1 if steps == 1 else length
    return draw(steps, *shape), draw(length, B, N), draw(B, N)


def loop(a, b, h0, resets=None, reverse=False):
    """The definition, in NumPy; in JAX where it is differentiated."""
    xp = jnp if isinstance(b, jax.Array) else np
    h, hs = h0, [None] * len(b)
    for t in range(len(b))[:: -1 if reverse else 1]:
        if resets is not None:
            h = xp.where(resets[t][:, None], 0, h)
        a_t = a[t % len(a)]
        h = (a_t * h if a.ndim == b.ndim else (a_t @ h[..., None])[..., 0]) + b[t]
        hs[t] = h
    return h, xp.stack(hs)


def loss(outputs):
    """A real function, with another slope everywhere."""
    return sum(jnp.sum(jnp.abs(h) ** 2 + jnp.sin(jnp.real(h))) for h in outputs)


def on(backend, **options):
    return functools.partial(linear_scan, backend=backend, **options)


def both_ways(scan):
    """Outputs and gradients, forward and in reverse."""

    def run(a, b, h0, resets):
        def with_loss(operands, reverse):
            outputs = scan(*operands, resets=resets, reverse=reverse)
            return loss(outputs), outputs

        gradient = jax.grad(with_loss, has_aux=True)
        return [gradient((a, b, h0), reverse) for reverse in (False, True)]

    return compiled(run)


@functools.cache
def of_loop(kind):
    return both_ways(loop)(*operands(kind), RESETS)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_those_of_the_loop(kind, backend):
    actual = both_ways(on(backend))(*operands(kind), RESETS)
    for reverse, (_, outputs) in enumerate(actual):
        assert_close(outputs, loop(*operands(kind), RESETS, reverse))
    assert_close(actual, of_loop(kind))


@pytest.mark.parametrize("length", [0, 1, 9])
def test_lengths(length):
    a, b, h0 = operands("diagonal", length)
    run = compiled(lambda *args: [on(backend)(*args) for backend in BACKENDS])
    for last, hs in run(a, b, h0):
        if length:
            assert_close((last, hs), loop(a, b, h0))
        else:
            assert_close(last, h0)
            assert hs.shape == (0, B, N)


def test_no_examples_and_no_steps():
    a, b, h0 = operands("diagonal")
    empty = a[:, :0], b[:, :0], h0[:0]
    for given in (empty, (a[:0], b[:0], h0)):
        for backend in BACKENDS:
            last, hs = on(backend)(*given)
            assert (last.shape, hs.shape) == (given[2].shape, given[1].shape)
    gradient = jax.grad(lambda a: jnp.real(on("auto")(a, b[:0], h0)[0].sum()))(a[:0])
    assert gradient.shape == (0, B, N)


def test_second_order():
    """Forward over reverse and reverse over reverse, as those of the loop."""

    def twice(scan, given):
        def along(given):
            gradients = jax.grad(lambda given: loss(scan(*given)))(given)
            return sum(jnp.sum(jnp.cos(g)) for g in gradients), gradients

        ones = jax.tree.map(jnp.ones_like, given)
        return jax.jvp(along, (given,), (ones,)), jax.grad(along, has_aux=True)(given)

    given = jax.tree.map(jnp.asarray, operands(REAL))
    scans = [loop, *map(on, BACKENDS)]
    expected, *others = compiled(lambda given: [twice(scan, given) for scan in scans])(
        given
    )
    for other in others:
        assert_close(other, expected)


def test_vmap_over_any_operand():
    """Also where one operand alone has the mapped axis."""
    a, b, h0 = (jnp.asarray(x) for x in operands("diagonal"))
    cases = {(1, 1, 0): (a, b, h0), (None, 1, None): (a[:, 0], b, h0[0])}
    cases[1, None, 0] = a, b[:, 0], h0

    def mapped(backend, axes):
        def gradient(*given):
            return jax.grad(lambda given: loss(on(backend)(*given)))(given)

        return jax.vmap(gradient, axes)

    def all_cases(one):
        return [one(axes, given) for axes, given in cases.items()]

    def by_hand(axes, given):
        def pick(x, axis, i):
            return x if axis is None else jnp.take(x, i, axis)

        def gradient(i):
            one = [pick(x, axis, i) for x, axis in zip(given, axes, strict=True)]
            return jax.grad(lambda given: loss(loop(*given)))(tuple(one))

        return jax.tree.map(lambda *leaves: jnp.stack(leaves), gradient(0), gradient(1))

    expected = compiled(lambda: all_cases(by_hand))()
    for backend in BACKENDS:
        run = compiled(
            lambda backend=backend: all_cases(
                lambda axes, given: mapped(backend, axes)(*given)
            )
        )
        assert_close(run(), expected)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_sharded_over_examples(kind):
    """`a` is on all devices, and so is the zero that the state begins with."""
    a, b, _ = operands("constant")
    given = [jnp.asarray(x) for x in (a, b, RESETS)]
    specs = [P(), P(None, "data"), P(None, "data")]
    mesh = jax.make_mesh((B,), ("data",), axis_types=(kind,), devices=jax.devices()[:B])

    def gradients(a, b, resets):
        def of(backend):
            return jax.grad(
                lambda a, b: loss(on(backend, resets=resets)(a, b)), (0, 1)
            )(a, b)

        return [of(backend) for backend in BACKENDS]

    expected = compiled(gradients)(*given)
    if kind == AxisType.Auto:
        out = [(P(), P(None, "data"))] * len(BACKENDS)
        run = jax.shard_map(gradients, mesh=mesh, in_specs=tuple(specs), out_specs=out)
        assert_close(compiled(run)(*given), expected)
        return
    with jax.set_mesh(mesh):
        placed = [
            jax.device_put(x, NamedSharding(mesh, spec))
            for x, spec in zip(given, specs, strict=True)
        ]
        assert_close(compiled(gradients)(*placed), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_gradient_keeps_a_and_the_states(backend):
    a, b, h0 = operands(REAL)
    a = np.broadcast_to(a, b.shape)
    kept = jax.eval_shape(lambda *given: jax.vjp(on(backend), *given)[1], a, b, h0)
    large = [leaf.size for leaf in jax.tree.leaves(kept) if leaf.size >= b.size]
    assert large == [a.size, b.size]


def test_dtypes():
    a, b, h0 = operands(REAL)
    b, complex_a = b.astype(np.float32), a * np.exp(0.3j)
    last, hs = linear_scan(complex_a.astype(np.complex64), b)
    assert last.dtype == hs.dtype == jnp.complex64
    expected = loop(complex_a, b, 0 * h0)[1]
    np.testing.assert_allclose(hs, expected, rtol=1e-5, atol=1e-6)
    half = jnp.asarray(a, jnp.bfloat16), jnp.asarray(b, jnp.bfloat16)
    assert linear_scan(*half)[1].dtype == jnp.bfloat16
    assert linear_scan(*half, h0.astype(np.float32))[1].dtype == jnp.float32


def test_bad_arguments():
    a, b = np.ones((2, T, B, N))
    for arguments, message in (
        ((a[:3], b), r"a: expected the axes of b, \(7, 2, 3\), .* got \(3, 2, 3\)"),
        ((a[:, :, :, None], b), r"for matrices \(7, 2, 3, 3\), got \(7, 2, 3, 1\)"),
        ((a[0], b), r"a: expected the axes of b"),
        ((a, b, b), r"h0: expected the shape \(2, 3\) of one step of b, got \(7,"),
        ((a[0, 0, 0], b[0, 0, 0]), r"b: expected \[T, \*batch, ...\]"),
    ):
        with pytest.raises(ValueError, match=message):
            linear_scan(*arguments)
    with pytest.raises(TypeError, match=r"expected floating point arrays, got int"):
        linear_scan(a.astype(int), b.astype(int))
    with pytest.raises(TypeError, match=r"resets: expected bool"):
        linear_scan(a, b, resets=np.ones((T, B)))
    with pytest.raises(ValueError, match=r"resets: expected shape \(7, 2\)"):
        linear_scan(a, b, resets=np.ones((B, T), bool))
    with pytest.raises(ValueError, match=r"backend: expected 'auto' or one of .*tree"):
        linear_scan(a, b, backend="tree")
