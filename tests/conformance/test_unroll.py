"""What `unroll` computes, for every row: against a slow loop, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import Schedule
from tests.conformance.harness import (
    AUTODIFF,
    arguments,
    assert_close,
    assert_same,
    compiled,
    cotangents,
    evaluate,
    evaluate_loop,
    floats,
    inner,
    is_key,
    layer,
    random_like,
    select,
    unroll,
    with_floats,
)
from tests.conformance.registry import B, T, rows

pytestmark = pytest.mark.usefixtures("x64")

recurrent = rows(main=True, where=lambda row: row.schedules)
per_example = rows(main=True, where=lambda row: not row.batch_coupled)
SCHEDULES = [
    Schedule(gradient="deferred", remat="step", block=2),
    pytest.param(Schedule("deferred", remat="step"), marks=pytest.mark.slow),
    pytest.param(Schedule("deferred", block=3), marks=pytest.mark.slow),
    pytest.param(Schedule("autodiff", remat="step", block=2), marks=pytest.mark.slow),
    pytest.param(Schedule("autodiff", block=5), marks=pytest.mark.slow),
]
ARRAYS = "xs", "resets", "mask"


@rows()
def test_equals_the_loop_of_step(row):
    a = arguments(row.name).plain()
    assert_close(evaluate(row.name, a), evaluate_loop(row.name, a))


@rows()
def test_resets_and_mask_equal_the_loop_of_step(row):
    a = arguments(row.name).blank()
    assert_close(evaluate(row.name, a), evaluate_loop(row.name, a))


@rows()
def test_padding_reaches_nothing(row):
    a = arguments(row.name)
    expected = evaluate(row.name, a.blank())
    for values in ([np.nan], [np.inf, -np.inf, np.nan, 1e300]):
        assert_same(evaluate(row.name, a.padded(values)), expected)
    for name, gradient in expected.gradients.items():
        if name.startswith("['xs']"):
            assert not np.any(select(~a.mask, gradient, 0))


@rows()
def test_masked_outputs_are_zero_and_length_zero_keeps_the_carry(row):
    a = arguments(row.name)
    carry, ys = evaluate(row.name, a).outputs
    of_length_zero = functools.partial(jax.tree.map, lambda leaf: leaf[2])
    assert_same(of_length_zero(carry), of_length_zero(a.carry))
    if not row.zeros:
        ys = ys[0]
    ys = [leaf for leaf in jax.tree.leaves(ys) if not is_key(leaf)]
    assert not any(np.any(leaf) for leaf in select(~a.mask, ys, 0))


@rows(main=True)
def test_reverse_is_flipping(row):
    def flip(named, prefix):
        return {k: v[::-1] if k.startswith(prefix) else v for k, v in named.items()}

    a, weights = arguments(row.name), cotangents(row.name)
    (carry, ys), gradients = evaluate(
        row.name, a.flipped().blank(), weights=flip(weights, "[1]")
    )
    expected = (carry, jax.tree.map(lambda y: y[::-1], ys)), flip(gradients, "['xs']")
    backwards = evaluate(row.name, a.padded([np.nan]), reverse=True)
    assert_close(tuple(backwards), expected)


@rows(few=True, where=lambda row: row.schedules)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_schedules_are_equal(row, schedule, reverse):
    a = arguments(row.name).padded([np.nan])
    expected = evaluate(row.name, a, reverse=reverse)
    assert_close(evaluate(row.name, a, schedule, reverse=reverse), expected)


@rows(where=lambda row: row.has_key)
def test_another_key_draws_other_masks(row):
    a = arguments(row.name).plain()
    _, ys = evaluate(row.name, a).outputs
    _, again = evaluate(row.name, a._replace(key=jax.random.key(1))).outputs
    _, others = evaluate(row.name, a._replace(key=jax.random.key(2))).outputs
    assert_same(again, ys)
    assert not jax.tree.all(jax.tree.map(np.array_equal, others, ys))


@recurrent
def test_deferred_gradients_are_those_of_autodiff(row):
    for a in (arguments(row.name).plain(), arguments(row.name).padded([np.nan])):
        assert_close(evaluate(row.name, a), evaluate(row.name, a, AUTODIFF))


@recurrent
def test_forward_mode_is_the_transpose_of_reverse_mode(row):
    """<w, J v> = <J^T w, v>, and the values are those of `unroll`."""
    a, weights = arguments(row.name).padded([np.nan]), cotangents(row.name)
    (carry, ys), gradients = evaluate(row.name, a)
    directions = random_like(np.random.default_rng(4), floats(a._asdict()))

    def forward(a, directions):
        def of_floats(new):
            outputs = unroll(row, layer(row.name))(
                a._replace(**with_floats(a._asdict(), new))
            )
            return floats(outputs), outputs

        given = (floats(a._asdict()),), (directions,)
        _, tangents, outputs = jax.jvp(of_floats, *given, has_aux=True)
        return outputs, tangents

    outputs, tangents = compiled(forward)(a, directions)
    assert_close(outputs, (carry, ys))
    assert inner(weights, tangents) == pytest.approx(
        inner(gradients, directions), rel=1e-9
    )


@rows(where=lambda row: row.smooth)
def test_gradients_are_numerical_differences(row):
    """Along one random direction: of the weighted outputs, central differences."""
    a, weights = arguments(row.name).blank(), cotangents(row.name)
    center, e = floats(a._asdict()), 1e-5
    directions = random_like(np.random.default_rng(5), center)

    def along(e):
        new = {name: center[name] + e * directions[name] for name in center}
        moved = a._replace(**with_floats(a._asdict(), new))
        return inner(weights, floats(evaluate(row.name, moved).outputs))

    numerical = (along(e) - along(-e)) / (2 * e)
    gradients = evaluate(row.name, a).gradients
    assert inner(gradients, directions) == pytest.approx(numerical, rel=1e-6)


@rows(where=lambda row: row.can_step and not row.batch_coupled)
def test_a_reset_splits_the_sequence(row):
    """Steps before t, then from t on and the initial carry: two masks, two parts."""
    a, t = arguments(row.name).plain(), 2
    late = jnp.broadcast_to(jnp.arange(T)[:, None] >= t, (T, B))
    resets = jnp.zeros((T, B), bool).at[t].set(True)
    initial = layer(row.name).initial_carry(a.params, (B,))
    together, ys = evaluate(row.name, a._replace(resets=resets)).outputs
    _, before = evaluate(row.name, a._replace(mask=~late)).outputs
    after, ys_after = evaluate(row.name, a._replace(mask=late, carry=initial)).outputs
    assert_close(together, after)
    assert_close(ys, jax.tree.map(lambda x, y: select(late, y, x), before, ys_after))


@rows(where=lambda row: row.can_step)
def test_the_final_carry_carries_on(row):
    """Two windows are the whole sequence, and the second compiles nothing."""
    a, t = arguments(row.name).plain(), 2
    late = jnp.broadcast_to(jnp.arange(T)[:, None] >= t, (T, B))
    expected = evaluate(row.name, a).outputs
    carry, before = evaluate(row.name, a._replace(mask=~late)).outputs
    carry, after = evaluate(row.name, a._replace(mask=late, carry=carry)).outputs
    ys = jax.tree.map(lambda x, y: select(late, y, x), before, after)
    assert_same((carry, ys), expected)


@rows(main=True)
def test_numpy_inputs_lengths_and_no_carry_without_jit(row):
    a = arguments(row.name).plain()
    lengths = np.array([3, 5, 0, 1])
    mask = jnp.asarray(np.arange(T)[:, None] < lengths)
    initial = layer(row.name).initial_carry(a.params, (B,))
    expected = evaluate(row.name, a._replace(mask=mask, carry=initial)).outputs
    as_numpy = jax.tree.map(np.asarray, (a.params, a.xs, a.resets))
    params, xs, resets = as_numpy
    options = {"key": a.key} if row.has_key else {}
    outputs = layer(row.name).unroll(
        params, None, xs, lengths=lengths, resets=resets, **options
    )
    assert_close(outputs, expected)


@per_example
def test_batch_axes_are_examples(row):
    """None, one and two batch axes, and vmap, give each example the same."""
    a, rnn = arguments(row.name)._replace(carry=None), layer(row.name)
    a = a.padded([np.nan])

    def evaluation(a):  # no key: the shapes would draw other masks
        return rnn.unroll(a.params, a.carry, a.xs, resets=a.resets, mask=a.mask)

    def one_by_one(a):
        def one(xs, resets, mask):
            return evaluation(a._replace(xs=xs, resets=resets, mask=mask))

        return jax.vmap(one, 1, (0, 1))(a.xs, a.resets, a.mask)

    def in_two_axes(a):
        def split(leaf):
            return leaf.reshape(T, 2, B // 2, *leaf.shape[2:])

        parts = jax.tree.map(split, (a.xs, a.resets, a.mask))
        carry, ys = evaluation(a._replace(**dict(zip(ARRAYS, parts, strict=True))))
        carry = jax.tree.map(lambda leaf: leaf.reshape(B, *leaf.shape[2:]), carry)
        return carry, jax.tree.map(lambda y: y.reshape(T, B, *y.shape[3:]), ys)

    ways = evaluation, one_by_one, in_two_axes
    expected, *others = compiled(lambda a: [way(a) for way in ways])(a)
    for other in others:
        assert_close(other, expected)
