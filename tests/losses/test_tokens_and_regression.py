"""Smoothed cross-entropy, squared, absolute, Huber and quantile loss; masks."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import losses, training
from tests.interop.problems import peer

SHAPE = (4, 3, 2)
RNG = np.random.default_rng(0)
PREDICTIONS, TARGETS = RNG.normal(size=(2, *SHAPE)).astype(np.float32) * 2
MASK = RNG.random(SHAPE) < 0.6
LEVELS = (0.1, 0.5, 0.9)
REGRESSION = {
    "mean_squared_error": losses.mean_squared_error,
    "mean_absolute_error": losses.mean_absolute_error,
    "huber": functools.partial(losses.huber, delta=0.7),
}
each = pytest.mark.parametrize("name", REGRESSION)


@pytest.mark.interop
@each
def test_regression_equals_torch(name):
    torch = peer("torch")
    theirs = {
        "mean_squared_error": torch.nn.functional.mse_loss,
        "mean_absolute_error": torch.nn.functional.l1_loss,
        "huber": functools.partial(torch.nn.functional.huber_loss, delta=0.7),
    }[name]
    value, metrics = REGRESSION[name](PREDICTIONS, TARGETS, MASK)
    expected = theirs(torch.tensor(PREDICTIONS[MASK]), torch.tensor(TARGETS[MASK]))
    assert float(value) == pytest.approx(expected.item(), 1e-6)
    assert int(metrics["count"]) == MASK.sum()
    half, _ = REGRESSION[name](PREDICTIONS.astype(jnp.bfloat16), TARGETS)
    assert half.dtype == jnp.float32


@pytest.mark.interop
def test_quantile_equals_scikit_learn():
    theirs = peer("sklearn.metrics").mean_pinball_loss
    predictions = RNG.normal(size=(*SHAPE, 3)).astype(np.float32)
    value, metrics = losses.quantile(predictions, TARGETS, MASK, levels=LEVELS)
    expected = [
        theirs(TARGETS[MASK], predictions[..., k][MASK], alpha=q)
        for k, q in enumerate(LEVELS)
    ]
    assert float(value) == pytest.approx(np.mean(expected), 1e-6)
    assert int(metrics["count"]) == MASK.sum()


@pytest.mark.interop
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_equals_torch(smoothing):
    torch = peer("torch")
    logits = RNG.normal(size=(5, 3, 4)).astype(np.float32) * 5
    targets = RNG.integers(0, 4, (5, 3))
    mask = targets != 2
    value, metrics = losses.softmax_cross_entropy(
        logits, targets, mask, label_smoothing=smoothing
    )
    theirs = functools.partial(
        torch.nn.functional.cross_entropy,
        torch.tensor(logits[mask]),
        torch.tensor(targets[mask]),
    )
    expected = theirs(label_smoothing=smoothing).item()
    assert float(value) == pytest.approx(expected, 1e-5)
    bits = theirs().item() / np.log(2)
    assert float(metrics["bits"]) == pytest.approx(bits, 1e-5)


def poisoned(loss, predictions, targets, mask, fill):
    """Value and gradient, with NaN in padding."""
    spread = mask.reshape(mask.shape + (1,) * (predictions.ndim - mask.ndim))
    predictions = np.where(spread, predictions, np.nan)
    targets = np.where(mask, targets, fill)
    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return gradient(predictions, targets, mask)


@pytest.mark.parametrize("name", [*REGRESSION, "quantile", "softmax_cross_entropy"])
def test_padding_reaches_neither_value_nor_gradient(name):
    predictions, targets, fill = PREDICTIONS, TARGETS, np.nan
    if name == "quantile":
        loss = functools.partial(losses.quantile, levels=LEVELS)
        predictions = RNG.normal(size=(*SHAPE, 3)).astype(np.float32)
    elif name == "softmax_cross_entropy":
        loss = functools.partial(losses.softmax_cross_entropy, label_smoothing=0.1)
        predictions = RNG.normal(size=(*SHAPE, 5)).astype(np.float32)
        targets, fill = RNG.integers(0, 5, SHAPE), -100
    else:
        loss = REGRESSION[name]
    (value, metrics), gradient = poisoned(loss, predictions, targets, MASK, fill)
    clean = jax.jit(jax.value_and_grad(loss, has_aux=True))(predictions, targets, MASK)
    chex.assert_trees_all_equal(((value, metrics), gradient), clean)
    assert np.isfinite(value)
    assert (gradient[~MASK] == 0).all() and (gradient[MASK] != 0).any()
    nothing = np.zeros(SHAPE, bool)
    (value, metrics), gradient = poisoned(loss, predictions, targets, nothing, fill)
    assert float(value) == 0 and int(metrics["count"]) == 0
    assert (gradient == 0).all()


@each
def test_a_mask_of_steps_masks_their_features(name):
    steps = MASK[..., 0]
    full = np.broadcast_to(steps[..., None], SHAPE)
    chex.assert_trees_all_equal(
        REGRESSION[name](PREDICTIONS, TARGETS, steps),
        REGRESSION[name](PREDICTIONS, TARGETS, full),
    )


def test_they_train_windows_of_a_stream():
    rnn = rnnjax.stack(rnnjax.simple(3), rnnjax.dense(2))
    params = rnn.init(jax.random.key(0), jnp.ones(2))
    loss = training.stateful_loss(rnn, losses.mean_squared_error)
    batch = {"inputs": TARGETS, "targets": TARGETS, "mask": MASK[..., 0]}
    value, (_, metrics) = loss(params, None, batch, None)
    assert np.isfinite(value) and int(metrics["count"]) == 2 * MASK[..., 0].sum()
    assert training.softmax_cross_entropy is losses.softmax_cross_entropy


@pytest.mark.parametrize(
    "error, message, call",
    [
        (ValueError, "delta: .*positive", lambda *a: losses.huber(*a, delta=0.0)),
        (
            ValueError,
            "levels: .*between 0 and 1",
            lambda *a: losses.quantile(*a, levels=(0.5, 1.0)),
        ),
        (
            ValueError,
            r"predictions: expected shape \(4, 3, 2, 1\), .*got \(4, 3, 2\)",
            lambda *a: losses.quantile(*a, levels=(0.5,)),
        ),
        (
            ValueError,
            r"predictions: expected the shape of targets, \(4, 3\)",
            lambda p, t: losses.mean_squared_error(p, t[..., 0]),
        ),
        (
            ValueError,
            r"mask: expected shape \(4, 3\)",
            lambda *a: losses.mean_absolute_error(*a, np.ones((4, 2), bool)),
        ),
        (
            ValueError,
            "label_smoothing: expected 0 to 1",
            lambda p, t: losses.softmax_cross_entropy(
                p, np.ones((4, 3), int), label_smoothing=-0.1
            ),
        ),
        (
            ValueError,
            "targets: expected labels from 0 to 1, got 2 to 2",
            lambda p, t: losses.softmax_cross_entropy(p, np.full((4, 3), 2)),
        ),
    ],
)
def test_errors(error, message, call):
    with pytest.raises(error, match=message):
        call(PREDICTIONS, TARGETS)


def test_all_is_there_and_sorted():
    assert losses.__all__ == sorted(losses.__all__)
    assert all(callable(getattr(losses, name)) for name in losses.__all__)


@pytest.mark.parametrize("label", [-1, 4])
def test_a_traced_label_out_of_range_is_nan(label):
    logits, targets = jnp.zeros((2, 4)), jnp.asarray([label, 0])
    loss = jax.jit(losses.softmax_cross_entropy)
    assert jnp.isnan(loss(logits, targets)[0])
    assert jnp.isfinite(loss(logits, targets, jnp.asarray([False, True]))[0])
