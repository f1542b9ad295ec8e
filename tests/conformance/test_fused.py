"""The schedules written by hand, in both layouts: against plain scan and autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import Schedule
from rnnjax.unroll import _unroll
from rnnjax.unroll._layout import Layout
from tests.conformance.harness import (
    AUTODIFF,
    arguments,
    assert_close,
    assert_same,
    compiled,
    cotangents,
    evaluate,
    floats,
    layer,
    random_like,
    unroll,
    with_floats,
)
from tests.conformance.registry import rows

pytestmark = pytest.mark.usefixtures("x64")

BY_HAND = ["simple", "lstm", "gru", "gru reset_after", "variational_dropout"]
VARIANTS = ["simple relu", "lstm without bias"]
by_hand = rows(main=True, where=lambda row: row.name in BY_HAND + VARIANTS)
# On several devices, as here, the default is rows in one part: all other tests run it.
LAYOUTS = {
    "rows": Layout(columns=False, merged=True, parts=2, in_place=True),
    "columns": Layout(columns=True, merged=True, parts=2, in_place=True),
    "out of place": Layout(columns=False, merged=True, parts=2, in_place=False),
    "columns, out of place": Layout(columns=True, merged=True, parts=2, in_place=False),
}


@pytest.fixture(params=LAYOUTS)
def schedule(request, monkeypatch):
    layout = LAYOUTS[request.param]
    monkeypatch.setattr(_unroll, "layout", lambda cell, first: layout)
    return Schedule(backend="fused")


@by_hand
def test_equals_autodiff_with_resets_and_nan_padding(row, schedule):
    a = arguments(row.name)
    expected = evaluate(row.name, a.blank(), AUTODIFF)
    assert_close(evaluate(row.name, a.padded([np.nan, np.inf]), schedule), expected)


@by_hand
def test_reverse_equals_autodiff(row, schedule):
    a = arguments(row.name).blank()
    expected = evaluate(row.name, a, AUTODIFF, reverse=True)
    assert_close(evaluate(row.name, a, schedule, reverse=True), expected)


@pytest.mark.parametrize("name", ["lstm", "gru", "gru reset_after"])
def test_forward_mode_and_second_order_equal_autodiff(name, schedule):
    """The Hessian along a direction: forward mode over reverse mode."""
    row = next(row for row in rows().args[1] if row.id == name.replace(" ", "-"))
    a = arguments(name).blank()
    start, weights = floats(a._asdict()), cotangents(name)
    direction = random_like(np.random.default_rng(5), start)

    def run(schedule):
        function = unroll(row.values[0], layer(name, schedule))

        def objective(new):
            outputs = floats(function(a._replace(**with_floats(a._asdict(), new))))
            return sum((weights[k] * outputs[k] ** 2).sum() for k in outputs)

        def along(start, direction):
            return jax.jvp(jax.value_and_grad(objective), (start,), (direction,))

        return compiled(along, traces=2)(start, direction)

    assert_close(run(schedule), run(AUTODIFF), rtol=1e-8, atol=1e-8)


def test_without_a_gradient_nothing_of_it_is_left(schedule):
    a = arguments("lstm").plain()
    carry, ys = layer("lstm", schedule).unroll(a.params, a.carry, a.xs)
    expected = layer("lstm", AUTODIFF).unroll(a.params, a.carry, a.xs)
    assert_close((carry, ys), expected)
    nothing = layer("lstm", schedule).unroll(a.params, a.carry, a.xs[:0])
    assert_same(nothing[0], a.carry)
    assert nothing[1].shape == (0, *ys.shape[1:])


@pytest.mark.parametrize(
    ("make", "options", "obstacle"),
    [
        (lambda s: rnnjax.lstm(3, layer_norm=True, schedule=s), {}, "no hand-written"),
        (lambda s: rnnjax.lstm(3, schedule=s), {"remat": "step"}, "remat 'step'"),
        (lambda s: rnnjax.gru(3, schedule=s), {"gradient": "autodiff"}, "autodiff"),
        (lambda s: rnnjax.gru(3, dtype="bfloat16", schedule=s), {}, "bfloat16"),
        (
            lambda s: rnnjax.simple(3, activation=jnp.cos, schedule=s),
            {},
            "hand-written",
        ),
    ],
)
def test_where_it_cannot_run_it_says_why(make, options, obstacle):
    xs = jnp.ones((2, 3), "float32")
    asked = make(Schedule(backend="fused", **options))
    params = asked.init(jax.random.key(0), xs[0])
    with pytest.raises(ValueError, match=f"backend='fused'.*{obstacle}"):
        asked.unroll(params, None, xs)
    auto = rnnjax.explain(make(Schedule(**options)), params, xs)
    assert auto.backend == "scan"
    assert obstacle in auto.reasons[0]


def test_auto_takes_it_on_cpu():
    xs = jnp.ones((2, 3), "float32")
    rnn = rnnjax.gru(4)
    explanation = rnnjax.explain(rnn, rnn.init(jax.random.key(0), xs[0]), xs)
    assert explanation.backend == (
        "fused" if jax.default_backend() == "cpu" else "scan"
    )
