"""Streams and windows: every step once, in order; what happens to the rest."""

import numpy as np
import pytest

from rnnjax import training


def test_streams_are_stretches_side_by_side():
    xs = {"x": np.arange(14).reshape(7, 2), "t": np.arange(7)}
    lanes = training.streams(xs, 3)
    assert lanes["x"].shape == (2, 3, 2)
    np.testing.assert_array_equal(lanes["t"], [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(lanes["x"][..., 0], 2 * lanes["t"])


def test_padded_streams_lose_nothing_and_their_mask_knows():
    xs = {"t": 1 + np.arange(7), "mask": np.ones(7, bool)}
    lanes = training.streams(xs, 3, pad=True)
    np.testing.assert_array_equal(lanes["t"], [[1, 4, 7], [2, 5, 0], [3, 6, 0]])
    np.testing.assert_array_equal(lanes["mask"], lanes["t"] > 0)
    few = training.streams(np.arange(2), 3, pad=True)
    np.testing.assert_array_equal(few, [[0, 1, 0]])


@pytest.mark.parametrize("pad, count", [(False, 3), (True, 4)])
def test_windows_follow_each_other(pad, count):
    stream = {"t": 1 + np.arange(7), "mask": np.ones((7, 2), bool)}
    cut = training.windows(stream, 2, pad=pad)
    assert len(cut) == len(list(cut)) == count
    assert {w["mask"].shape for w in cut} == {(2, 2)}
    joined = np.concatenate([w["t"] for w in cut])
    np.testing.assert_array_equal(joined, [1, 2, 3, 4, 5, 6, 7, 0][: 2 * count])
    for w in cut:
        np.testing.assert_array_equal(w["mask"][:, 0], w["t"] > 0)


def test_windows_are_found_by_index():
    cut = training.windows(np.arange(6), 2)
    np.testing.assert_array_equal(cut[-1], cut[2])
    assert [w.tolist() for w in cut[1:]] == [[2, 3], [4, 5]]
    with pytest.raises(IndexError):
        cut[3]


def test_windows_of_numpy_are_views():
    stream = np.arange(6)
    assert np.shares_memory(training.windows(stream, 2)[1], stream)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: training.windows(np.arange(6), 0), "window: expected a positive"),
        (lambda: training.windows(np.arange(6), 2.0), "window: expected a positive"),
        (lambda: training.streams(np.arange(6), -1), "batch_size: expected a positive"),
        (lambda: training.windows(np.arange(6), 7), "window = 7 steps, got 6.*pad"),
        (lambda: training.streams(np.arange(6), 7), "batch_size = 7 steps, got 6"),
        (lambda: training.windows((np.ones(3), np.ones(4)), 2), "share a first axis"),
        (lambda: training.streams({}, 2), "share a first axis"),
        (lambda: training.windows(np.float32(1), 2), "share a first axis"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
