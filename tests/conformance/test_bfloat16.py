"""Computing in bfloat16: what is summed over steps and rows is summed in float32."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import Schedule, kernels
from tests.jaxprs import equations

T, B, F, H = 512, 16, 3, 8
SCHEDULES = {
    "deferred": Schedule("deferred", "scan"),
    "from the carries": Schedule("deferred", "scan", remat="step"),
    "autodiff": Schedule("autodiff", "scan"),
    "pallas": Schedule(backend="pallas"),
}
LAYERS = {
    "simple": rnnjax.simple,
    "lstm": rnnjax.lstm,
    "gru": rnnjax.gru,
    "gru_after": partial(rnnjax.gru, reset_after=True),
    "lru": rnnjax.lru,
    "rg_lru": rnnjax.rg_lru,
    "min_gru": rnnjax.min_gru,
}
STATELESS = {"dense": rnnjax.dense, "norm": lambda size, **options: rnnjax.norm()}
BY_STEPS = [
    (layer, schedule)
    for layer in ("simple", "lstm", "gru", "gru_after")
    for schedule in SCHEDULES
]
CASES = [
    *BY_STEPS,
    *((layer, "deferred") for layer in ("lru", "rg_lru", "min_gru", *STATELESS)),
]
every_case = pytest.mark.parametrize(("layer", "schedule"), CASES)


def gradient(layer, schedule, **dtypes):
    """The gradient of the mean output in the weights, as a function of them."""
    if layer in STATELESS:
        rnn = STATELESS[layer](H, **dtypes)
    elif (layer, schedule) in BY_STEPS:
        rnn = LAYERS[layer](H, schedule=SCHEDULES[schedule], **dtypes)
    else:
        rnn = LAYERS[layer](H, **dtypes)
    # Of one sign, so that sums over steps and rows are large; the same in both dtypes.
    xs = 1 + jax.random.uniform(jax.random.key(0), (T, B, F), jnp.bfloat16)
    xs = xs.astype(dtypes.get("dtype", jnp.float32))
    params = rnn.init(jax.random.key(1), xs[0])

    def loss(params):
        _, ys = rnn.unroll(params, None, xs)
        return jnp.mean(ys.astype(jnp.float32) ** 3)

    return jax.grad(loss), params


def carry_of(scan):
    """The types of the carry of a loop; other results have one axis more outside."""
    inner = scan.params["jaxpr"].jaxpr.outvars
    pairs = zip(scan.outvars, inner, strict=True)
    return [v.aval for v, own in pairs if v.aval.ndim == own.aval.ndim]


def narrow_sums(traced):
    """Sums of more than one number that a program makes in 16 bits.

    Those of products, of `reduce_sum`, and of loops, which carry what has a weight's
    size.
    """
    found = []
    for eqn in equations(traced):
        if eqn.primitive.name in ("reduce_sum", "cumsum"):
            (x,), (total,) = eqn.invars, eqn.outvars
            if x.aval.size > total.aval.size or eqn.primitive.name == "cumsum":
                found += [x.aval] if x.aval.dtype.itemsize < 4 else []
        if eqn.primitive.name == "dot_general":
            found += [v.aval for v in eqn.outvars if v.aval.dtype.itemsize < 4]
        if eqn.primitive.name == "scan":
            narrow = [a for a in carry_of(eqn) if a.dtype.itemsize < 4]
            found += [a for a in narrow if a.shape[:1] != (B,)]
    return found


@every_case
def test_no_sum_over_steps_or_rows_is_in_16_bits(layer, schedule):
    f, params = gradient(layer, schedule, dtype=jnp.bfloat16)
    with kernels.interpret():
        traced = jax.make_jaxpr(f)(params)
    assert not narrow_sums(traced)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_cell_state_is_float32_all_along(schedule):
    """In every loop over steps that has a state."""
    f, params = gradient("lstm", schedule, dtype=jnp.bfloat16)
    with kernels.interpret():
        traced = jax.make_jaxpr(f)(params)
    loops = [e for e in equations(traced) if e.primitive.name == "scan"]
    if schedule == "pallas":  # the state of a kernel is in memory of its own
        stored = [e for e in equations(traced) if e.primitive.name == "swap"]
        states = [v.aval for e in stored for v in e.invars[1:2]]
        assert {a.dtype.name for a in states if a.shape[1:] == (128,)} >= {"float32"}
        return
    assert len(loops) == 2
    for eqn in loops:
        state = [a.dtype.name for a in carry_of(eqn) if a.shape == (B, H)]
        assert state == ["bfloat16", "float32"]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_cell_state_goes_on_growing(schedule):
    """By 0.01 a step, to 5.12: in 16 bits it would stand still at 2."""
    rnn = rnnjax.lstm(H, schedule=SCHEDULES[schedule], dtype=jnp.bfloat16)
    xs = jnp.zeros((T, B, F))
    params = jax.tree.map(jnp.zeros_like, rnn.init(jax.random.key(0), xs[0]))
    open_gates = jnp.array([[20.0], [20.0], [0.01], [0.0]])
    params["input"]["bias"] = jnp.broadcast_to(open_gates, (4, H)).reshape(-1)
    with kernels.interpret():
        last, _ = jax.jit(lambda p: rnn.unroll(p, None, xs))(params)
    np.testing.assert_allclose(last.c, 0.01 * T, rtol=0.01)


def errors(layer, schedule, **dtypes):
    """Relative errors of all gradients, the exact ones being those of float32."""
    f, params = gradient(layer, schedule, **dtypes)
    exact, _ = gradient(layer, schedule)
    with kernels.interpret():
        got = jax.jit(f)(params)
        want = jax.jit(exact)(jax.tree.map(lambda p: p.astype(jnp.float32), params))

    def error(a, b):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        return np.linalg.norm(a - b) / np.linalg.norm(b)

    return jax.tree.leaves(jax.tree.map(error, got, want))


@pytest.mark.parametrize(
    ("layer", "schedule"),
    [case for case in CASES if case[0] == "lstm" or case[1] == "deferred"],
)
def test_gradients_of_many_terms_are_those_of_float32(layer, schedule):
    """Of 8,192 terms of one sign: in 16 bits their sum stands still at 256 of them."""
    assert max(errors(layer, schedule, dtype=jnp.bfloat16)) < 0.03


def test_narrow_sums_are_found():
    """The control: weights that are bfloat16 themselves, accumulated in the loop."""
    a = jnp.ones((2, 2), jnp.bfloat16)
    assert narrow_sums(jax.make_jaxpr(lambda a: a @ a)(a))
    narrow = {"dtype": jnp.bfloat16, "param_dtype": jnp.bfloat16}
    f, params = gradient("simple", "autodiff", **narrow)
    assert narrow_sums(jax.make_jaxpr(f)(params))
    assert max(errors("simple", "autodiff", **narrow)) > 0.1
