"""Cells run by `linear_scan` compute what the loop of their steps computes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import Schedule
from tests.conformance.harness import assert_close, compiled

pytestmark = pytest.mark.usefixtures("x64")
T, B, F, H = 5, 3, 3, 4
GENERATOR = np.random.default_rng(0)
XS = GENERATOR.normal(size=(T, B, F))
RESETS = np.array([[0, 0, 1], [1, 0, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]], bool)
MASK = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1], [1, 1, 1], [0, 1, 1]], bool)
BACKENDS = ["sequential", "chunked", "associative"]


def rotating():
    """Two carries with a learned start; one is turned by a matrix that depends on x.

    The output is not the carry, and sees what it was before the step.
    """

    def init(key, x):
        params = rnnjax.cells.simple(4, param_dtype=jnp.float64).init(key, x)
        first = {"turned": jnp.full(2, 0.5), "kept": jnp.full(2, -0.5)}
        return params | {"recurrent": {"rate": jnp.full(2, 0.7)}, "initial": first}

    def initial_carry(params, batch_shape=()):
        def start(leaf):
            return jnp.broadcast_to(leaf, (*batch_shape, 2))

        return jax.tree.map(start, params["initial"])

    def project(params, x, key=None):
        return x @ params["input"]["kernel"]

    def linear(w, u):
        angle = u[..., 2:3]
        rows = [jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]
        turn = 0.9 * jnp.stack([jnp.concatenate(row, -1) for row in rows], -2)
        rate = w["rate"].reshape((1,) * (u.ndim - 1) + (2,))
        return {"turned": turn, "kept": rate}, {
            "turned": u[..., :2],
            "kept": u[..., 2:],
        }

    def recur(w, carry, u):
        a, b = linear(w, u)
        turned = (a["turned"] @ carry["turned"][..., None])[..., 0] + b["turned"]
        kept = a["kept"] * carry["kept"] + b["kept"]
        y = {"kept": kept, "change": jnp.tanh(turned - carry["turned"])}
        return {"turned": turned, "kept": kept}, y

    return rnnjax.Cell(init, initial_carry, project, recur, linear=linear)


def make(name, schedule):
    if name == "user":
        return rnnjax.layer(rotating(), schedule)
    return getattr(rnnjax, name)(H, param_dtype=jnp.float64, schedule=schedule)


def parameters(name, rnn):
    params = rnn.init(jax.random.key(0), jnp.asarray(XS[0]))
    carry = rnn.initial_carry(params, (B,))
    return params, jax.tree.map(lambda c: c + 0.3, carry)


def both_ways(name, schedule, resets=RESETS, mask=MASK):
    """Outputs and gradients forward and in reverse, from a given carry."""
    rnn = make(name, schedule)

    def run(params, carry, xs):
        def with_loss(given, reverse):
            *params_and_carry, xs = given
            flags = {"resets": resets, "mask": mask, "reverse": reverse}
            outputs = rnn.unroll(*params_and_carry, xs, **flags)
            leaves = jax.tree.leaves(outputs)
            return sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in leaves), outputs

        gradient = jax.grad(with_loss, has_aux=True)
        return [gradient((params, carry, xs), reverse) for reverse in (False, True)]

    padded = np.where(mask[..., None], XS, np.nan)
    return compiled(run)(*parameters(name, rnn), padded)


@functools.cache
def of_the_loop(name):
    return both_ways(name, Schedule("autodiff", "scan"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["lru", "user"])
def test_equals_the_loop(name, backend):
    actual = both_ways(name, Schedule(backend=backend))
    assert_close(actual, of_the_loop(name))
    assert np.all(np.isfinite(jax.tree.leaves(actual)[0]))


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("rg_lru", Schedule(backend="associative", block=2)),
        ("min_gru", Schedule(backend="chunked", remat=2)),
        ("user", Schedule(backend="sequential", remat="sqrt")),
    ],
)
def test_blocks_and_kept_carries_equal_the_loop(name, schedule):
    assert_close(both_ways(name, schedule), of_the_loop(name))


def test_without_flags_steps_or_carry():
    rnn, loop = (make("user", Schedule(backend=b)) for b in ("associative", "scan"))
    params, carry = parameters("user", rnn)

    def run(rnn):
        return lambda xs: (rnn.unroll(params, None, xs), rnn.unroll(params, carry, xs))

    xs = jnp.asarray(XS)
    assert_close(compiled(run(rnn))(xs), compiled(run(loop))(xs))
    assert_close(compiled(run(rnn))(xs[:0]), compiled(run(loop))(xs[:0]))


def test_nothing_of_the_step_is_computed_again():
    """Where the output is the carry, the time loop is the only one that multiplies."""
    rnn = make("min_gru", Schedule(backend="sequential"))
    params, carry = parameters("min_gru", rnn)
    jaxpr = jax.make_jaxpr(rnn.unroll)(params, carry, jnp.asarray(XS)).jaxpr
    (scan,) = (e for e in jaxpr.eqns if e.primitive.name == "custom_jvp_call")
    last, ys = jaxpr.outvars
    assert ys is scan.outvars[0]


def explained(schedule, name="lru"):
    rnn = make(name, schedule)
    return str(rnnjax.explain(rnn, parameters(name, rnn)[0], jnp.asarray(XS)))


DOOR = "rnnjax.unroll._linear_scan"


def test_what_auto_takes_and_why(monkeypatch):
    assert "backend associative: asked for" in explained(
        Schedule("auto", "associative")
    )
    assert "backend scan: gradient 'autodiff' diff" in explained(Schedule("autodiff"))
    assert "backend scan: remat 'step' recomputes" in explained(Schedule(remat="step"))
    monkeypatch.setattr(f"{DOOR}.target_device", lambda: ("cpu", ""))
    assert "backend sequential: the cell is linear in its carry; on CPU the loop" in (
        explained(Schedule())
    )
    monkeypatch.setattr(f"{DOOR}.target_device", lambda: ("gpu", ""))
    assert "backend associative: the cell is linear in its carry; the fewest" in (
        explained(Schedule())
    )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lstm", {}, r"the cell does not say by Cell.linear that it is linear"),
        ("lru", {"gradient": "autodiff"}, "gradient 'autodiff' differentiates"),
        ("lru", {"remat": "step"}, "remat 'step' recomputes the cell's own step"),
    ],
)
def test_where_it_cannot_run(name, options, message):
    rnn = make(name, Schedule(backend="chunked", **options))
    params = rnn.init(jax.random.key(0), jnp.asarray(XS[0]))
    expected = (
        r"^Schedule\(backend='chunked'\): expected a recurrence that linear_scan can "
        r"run, but " + message
    )
    for use in (rnnjax.explain, lambda rnn, *args: rnn.unroll(args[0], None, args[1])):
        with pytest.raises(ValueError, match=expected):
            use(rnn, params, jnp.asarray(XS))


@pytest.mark.parametrize(
    ("linear", "message"),
    [
        (lambda w, u: u[0], r"expected \(a, b\), each with the tree of the carry"),
        (
            lambda w, u: (u[0], u[1][..., :1]),
            r"got a float64\[3,4\] and b float64\[3,1",
        ),
        (lambda w, u: (u[0][0], u[1]), r"carry float64\[3,4\], .* got a float64\[4\]"),
        (lambda w, u: (u[0] + 0j, u[1]), r"got a complex128\[3,4\] and b float64"),
    ],
)
def test_coefficients_that_do_not_fit_the_carry(linear, message):
    cell = rnnjax.cells.min_gru(H, param_dtype=jnp.float64)._replace(linear=linear)
    rnn = rnnjax.layer(cell)
    params = rnn.init(jax.random.key(0), jnp.asarray(XS[0]))
    with pytest.raises(ValueError, match=r"^Cell.linear: .*" + message):
        rnn.unroll(params, None, jnp.asarray(XS))
