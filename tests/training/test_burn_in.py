"""Burn-in: against two unrolls by hand, with flags, keys and both directions."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import training
from tests.training.networks import draw

INNER = rnnjax.stack(rnnjax.dropout(0.5), rnnjax.simple(3))
STEPS, LENGTH, BATCH = 2, 4, 2
RNN = training.burn_in(INNER, STEPS)
KEY = jax.random.key(1)
XS = np.random.default_rng(0).normal(size=(LENGTH, BATCH, 3)).astype(np.float32)
RESETS = np.zeros((LENGTH, BATCH), bool)
RESETS[1, 0] = RESETS[2, 1] = True
MASK = np.ones((LENGTH, BATCH), bool)
MASK[3:, 0] = MASK[0, 1] = False


@pytest.fixture(scope="module")
def params():
    return draw(RNN, jnp.ones(3))


@pytest.fixture(scope="module")
def carry(params):
    return jax.tree.map(lambda a: a + 0.5, INNER.initial_carry(params, (BATCH,)))


def by_hand(params, carry, xs, key=None, resets=None, mask=None, reverse=False):
    """A loop of single steps in the order of processing; masked steps are undone."""
    keys = None if key is None else rnnjax.step_keys(key, LENGTH)
    times = list(range(LENGTH))[:: -1 if reverse else 1]
    ys = []
    for k, t in enumerate(times):
        if k == STEPS:
            carry = jax.lax.stop_gradient(carry)
        weights = jax.lax.stop_gradient(params) if k < STEPS else params
        new, y = INNER.step(
            weights,
            carry,
            xs[t],
            reset=None if resets is None else resets[t] & mask[t],
            key=keys and keys[k],
        )
        if mask is not None:
            keep = lambda a, b, m=mask[t][:, None]: jnp.where(m, a, b)  # noqa: E731
            new, y = jax.tree.map(keep, new, carry), keep(y, 0)
        carry = new
        ys.append(y)
    ys = ys[STEPS:]
    return carry, jnp.stack(ys[:: -1 if reverse else 1])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"key": KEY, "resets": RESETS, "mask": MASK},
        {"key": KEY, "resets": RESETS, "mask": MASK, "reverse": True},
    ],
    ids=["plain", "flags", "reverse"],
)
def test_values_and_gradients_equal_those_by_hand(params, carry, options, tolerance):
    def gradient(unroll):
        def loss(params, carry, xs):
            carry, ys = unroll(params, carry, xs, **options)
            weights = jnp.arange(ys.size, dtype=ys.dtype).reshape(ys.shape)
            return jnp.sum(jnp.sin(weights) * ys), (carry, ys)

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))

    ours = gradient(RNN.unroll)(params, carry, XS)
    theirs = gradient(by_hand)(params, carry, XS)
    chex.assert_trees_all_close(ours, theirs, **tolerance)
    (_, (_, ys)), (of_params, of_carry, of_xs) = ours
    assert ys.shape == (LENGTH - STEPS, BATCH, 3)
    warm = slice(LENGTH - STEPS, None) if options.get("reverse") else slice(STEPS)
    for leaf in (*jax.tree.leaves(of_carry), of_xs[warm]):
        np.testing.assert_array_equal(leaf, 0)
    assert np.abs(of_params["1"]["recurrent"]["kernel"]).max() > 1e-3


@pytest.mark.parametrize("reverse", [False, True])
def test_lengths_are_those_of_the_whole_sequence(params, carry, reverse):
    lengths = np.asarray([1, 3])
    mask = np.arange(LENGTH)[:, None] < lengths
    by_lengths = RNN.unroll(params, carry, XS, lengths=lengths, reverse=reverse)
    by_mask = RNN.unroll(params, carry, XS, mask=mask, reverse=reverse)
    chex.assert_trees_all_equal(by_lengths, by_mask)
    for wrong in ([-1, 3], [1, 5]):
        with pytest.raises(ValueError, match="lengths: expected values from 0"):
            RNN.unroll(params, carry, XS, lengths=np.asarray(wrong), reverse=reverse)


def test_the_rest_is_that_of_the_layer(params):
    assert training.burn_in(INNER, 0) is INNER
    assert RNN.step is INNER.step
    explanation = rnnjax.explain(RNN, params, XS)
    assert explanation.name == "burn_in"
    inner = INNER.explain(params, XS)
    assert explanation.children == (inner,)
    assert explanation.parameters == inner.parameters
    assert explanation.output.shape == (LENGTH - STEPS, BATCH, 3)


def test_errors(params):
    with pytest.raises(ValueError, match="steps: expected 0 or more, got -1"):
        training.burn_in(INNER, -1)
    for length in (0, STEPS):
        with pytest.raises(ValueError, match="more than the 2 steps of the burn-in"):
            RNN.unroll(params, None, XS[:length])
    with pytest.raises(ValueError, match="xs: expected arrays with a leading time"):
        RNN.unroll(params, None, np.float32(1))
    with pytest.raises(ValueError, match="key: expected StepKeys of 4 steps"):
        RNN.unroll(params, None, XS, key=rnnjax.step_keys(KEY, 3))


def test_a_layer_that_cannot_go_on_raises():
    rnn = training.burn_in(rnnjax.bidirectional(rnnjax.simple(3)), STEPS)
    params = draw(rnn, jnp.ones(3))
    with pytest.raises(ValueError, match="bidirectional: cannot run step by step"):
        rnn.unroll(params, None, XS)
