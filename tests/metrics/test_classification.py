"""Accuracy, precision, recall, F1 and the confusion matrix, as scikit-learn's."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnjax import metrics
from tests.interop.problems import peer

K, N = 4, 8


def value(metric, *batch):
    return np.asarray(metric.compute(metric.update(metric.init(), *batch)))


# (predictions, targets): absent classes, none right, one class, ties.
EDGES = [
    ([0, 1, 2, 3], [0, 1, 2, 3]),
    ([0, 0, 1, 1], [0, 1, 1, 0]),
    ([2, 2, 2, 2], [0, 0, 0, 0]),
    ([1], [1]),
    ([3, 1], [1, 1]),
]
labels = st.lists(st.integers(0, K - 1), min_size=N, max_size=N)


@pytest.mark.interop
@pytest.mark.parametrize("average", ["micro", "macro", "weighted", None])
@pytest.mark.parametrize("zero_division", [0.0, 1.0, np.nan])
def test_scores_equal_scikit_learn(average, zero_division):
    theirs = peer("sklearn.metrics")
    ours = metrics.collect(
        {
            name: getattr(metrics, name)(K, average, zero_division)
            for name in ("precision", "recall", "f1")
        }
    )
    compute = jax.jit(lambda *batch: ours.compute(ours.update(ours.init(), *batch)))

    def check(predictions, targets, mask):
        got = compute(*(np.asarray(array) for array in (predictions, targets, mask)))
        scored = np.asarray(targets)[mask], np.asarray(predictions)[mask]
        for name, score in got.items():
            expected = getattr(theirs, f"{name}_score")(
                *scored, labels=range(K), average=average, zero_division=zero_division
            )
            np.testing.assert_allclose(score, expected, rtol=1e-6, err_msg=name)

    for predictions, targets in EDGES:
        fill = [0] * (N - len(targets))
        mask = np.arange(N) < len(targets)
        check(predictions + fill, targets + fill, mask)

    @settings(max_examples=10)
    @given(labels, labels, st.lists(st.booleans(), min_size=N, max_size=N))
    def check_any(predictions, targets, mask):
        if any(mask):
            check(predictions, targets, np.asarray(mask))

    check_any()


@pytest.mark.interop
@pytest.mark.parametrize("predictions, targets", EDGES)
def test_counts_equal_scikit_learn(predictions, targets):
    theirs = peer("sklearn.metrics")
    matrix = value(metrics.confusion_matrix(K), predictions, targets)
    expected = theirs.confusion_matrix(targets, predictions, labels=range(K))
    np.testing.assert_array_equal(matrix, expected)
    expected = theirs.accuracy_score(targets, predictions)
    assert value(metrics.accuracy(), predictions, targets) == pytest.approx(expected)


def test_nothing_scored():
    batch = [1, 2], [1, 3], np.zeros(2, bool)
    assert np.isnan(value(metrics.accuracy(), *batch))
    assert value(metrics.confusion_matrix(K), *batch).sum() == 0
    assert value(metrics.f1(K), *batch) == 0
    assert value(metrics.recall(K, "weighted", 1.0), *batch) == 1
    assert np.isnan(value(metrics.precision(K, "micro", np.nan), *batch))
    assert np.isnan(value(metrics.precision(K, "macro", np.nan), *batch))


def test_labels_outside_count_nowhere_under_a_trace():
    matrix = metrics.confusion_matrix(2)
    state = jax.jit(matrix.update)(
        matrix.init(), np.asarray([0, 1, 1, 0, 5]), np.asarray([0, -1, 2, 1, 1])
    )
    np.testing.assert_array_equal(matrix.compute(state), [[1, 0], [1, 0]])


@pytest.mark.parametrize(
    "error, message, call",
    [
        (ValueError, "num_classes: .*positive.*0", lambda: metrics.f1(0)),
        (ValueError, "at most 46340", lambda: metrics.confusion_matrix(46_341)),
        (ValueError, "average: .*'binary'", lambda: metrics.recall(2, "binary")),
        (
            ValueError,
            r"predictions: expected shape \(2,\), got \(3,\)",
            lambda: value(metrics.accuracy(), [1, 2, 3], [1, 2]),
        ),
        (
            TypeError,
            r"predictions: expected integers.*argmax\(-1\)",
            lambda: value(metrics.accuracy(), [0.5, 0.5], [1, 2]),
        ),
        (
            ValueError,
            "targets: expected labels from 0 to 1, got -100 to 1.*pass mask",
            lambda: value(metrics.f1(2), [0, 1], [1, -100]),
        ),
        (
            TypeError,
            "mask: expected bool",
            lambda: value(metrics.accuracy(), [0, 1], [1, 0], [1, 0]),
        ),
    ],
)
def test_errors(error, message, call):
    with pytest.raises(error, match=message):
        call()
