"""MAE, RMSE, MAPE, MASE as scikit-learn's or NumPy's; perplexity and its bits."""

import numpy as np
import pytest

from rnnjax import metrics
from tests.interop.problems import peer


def value(metric, *batch):
    return float(metric.compute(metric.update(metric.init(), *batch)))


def draw(seed, shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.interop
def test_errors_equal_scikit_learn():
    theirs = peer("sklearn.metrics")
    predictions, targets = draw(0, 60), draw(1, 60)
    mask = np.arange(60) % 5 > 0
    batch = (np.where(mask, predictions, np.nan), np.where(mask, targets, np.inf), mask)
    for name, expected in [
        ("mae", theirs.mean_absolute_error),
        ("rmse", theirs.root_mean_squared_error),
        ("mape", theirs.mean_absolute_percentage_error),
    ]:
        got = value(getattr(metrics, name)(), *batch)
        assert got == pytest.approx(expected(targets[mask], predictions[mask]), 1e-6)
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    expected = theirs.mean_absolute_percentage_error(zeros, ones)
    assert value(metrics.mape(), ones, zeros) == pytest.approx(expected)


def test_mase_scales_each_series_by_its_naive_error():
    series = draw(2, (30, 2))
    predictions, targets = draw(3, (5, 3, 2)), draw(4, (5, 3, 2))
    mask = np.arange(15).reshape(5, 3) % 4 > 0
    scale = metrics.seasonal_naive_error(series, 7)
    by_hand = [
        np.mean([abs(series[t, k] - series[t - 7, k]) for t in range(7, 30)])
        for k in range(2)
    ]
    np.testing.assert_allclose(scale, by_hand, rtol=1e-6)
    errors = (np.abs(predictions - targets) / by_hand)[mask]
    got = value(metrics.mase(scale), predictions, targets, mask)
    assert got == pytest.approx(errors.mean(), 1e-6)
    # The naive forecast of the training series itself scores 1.
    naive = series[:-7], series[7:]
    assert value(metrics.mase(scale), *naive) == pytest.approx(1, 1e-6)


def test_perplexity_and_bits_by_hand():
    logits, targets = draw(5, (4, 3, 6)) * 20 + 300, np.arange(12).reshape(4, 3) % 6
    mask = targets != 2
    p = np.exp(logits.astype(np.float64))
    p = np.take_along_axis(p / p.sum(-1, keepdims=True), targets[..., None], -1)
    nats = -np.log(p[mask]).mean()
    batch = np.where(mask[..., None], logits, np.nan), targets, mask
    bits = value(metrics.bits_per_character(), *batch)
    assert bits == pytest.approx(nats / np.log(2), 1e-5)
    assert value(metrics.perplexity(), *batch) == pytest.approx(np.exp(nats), 1e-4)


def test_an_impossible_target_has_infinite_perplexity():
    logits = np.asarray([[0.0, -np.inf], [0.0, 0.0]], np.float32)
    assert value(metrics.perplexity(), logits, np.asarray([1, 0])) == np.inf


@pytest.mark.parametrize("name", ["mae", "rmse", "mape"])
def test_nothing_scored(name):
    batch = draw(0, (3, 2)), draw(1, (3, 2)), np.zeros(3, bool)
    assert np.isnan(value(getattr(metrics, name)(), *batch))
    empty = np.zeros((0, 5), np.float32), np.zeros(0, int)
    assert np.isnan(value(metrics.perplexity(), *empty))


@pytest.mark.parametrize(
    "error, message, call",
    [
        (
            ValueError,
            r"predictions: expected the shape of targets, \(3,\), got \(3, 1\)",
            lambda: value(metrics.mae(), draw(0, (3, 1)), draw(0, 3)),
        ),
        (
            ValueError,
            r"mask: expected shape \(3, 2\)",
            lambda: value(metrics.mae(), *[draw(0, (3, 2))] * 2, np.ones((2, 2), bool)),
        ),
        (
            TypeError,
            "predictions: expected real",
            lambda: value(metrics.mae(), *[draw(0, 3) * 1j] * 2),
        ),
        (ValueError, "scale: expected positive", lambda: metrics.mase(0.0)),
        (
            ValueError,
            r"scale: expected the last axes of targets \(3,\), got \(2,\)",
            lambda: value(metrics.mase([1.0, 2.0]), draw(0, 3), draw(0, 3)),
        ),
        (
            ValueError,
            "series: expected more than season = 3",
            lambda: metrics.seasonal_naive_error(draw(0, 3), 3),
        ),
        (
            TypeError,
            r"logits: expected floating point logits \[..., K\], got int",
            lambda: value(metrics.perplexity(), np.ones((3, 2), int), np.ones(3, int)),
        ),
        (
            ValueError,
            r"targets: expected shape \(3,\), got \(2,\)",
            lambda: value(metrics.perplexity(), draw(0, (3, 2)), np.ones(2, int)),
        ),
    ],
)
def test_errors(error, message, call):
    with pytest.raises(error, match=message):
        call()
