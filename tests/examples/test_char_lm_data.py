"""Windows of examples/char_lm/data.py."""

import numpy as np
import pytest

from examples.char_lm.data import Windows


def test_lanes_read_on_without_a_gap():
    symbols = np.arange(103, dtype=np.int32)
    windows = Windows(symbols, batch_size=4, window=5)
    read = np.concatenate([windows[s]["inputs"] for s in range(50)])
    np.testing.assert_array_equal(read[0], [0, 25, 51, 77])
    np.testing.assert_array_equal(read[1:], (read[:-1] + 1) % 103)


def test_targets_are_the_next_characters_across_windows():
    symbols = np.random.default_rng(0).integers(9, size=77).astype(np.int32)
    windows = Windows(symbols, batch_size=3, window=4)
    for step in range(30):
        batch, following = windows[step], windows[step + 1]
        np.testing.assert_array_equal(batch["targets"][:-1], batch["inputs"][1:])
        np.testing.assert_array_equal(batch["targets"][-1], following["inputs"][0])


def test_one_round_reads_every_character_equally_often():
    symbols = np.arange(64, dtype=np.int32)
    windows = Windows(symbols, batch_size=4, window=8)
    read = np.concatenate([windows[s]["inputs"].ravel() for s in range(2)])
    assert sorted(read) == list(range(64))


def test_too_short_text_names_the_mend():
    with pytest.raises(ValueError, match=r"100 characters.*got 99.*--batch-size"):
        Windows(np.zeros(99, np.int32), 10, 10)
