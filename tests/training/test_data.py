"""Batches of sequences of different lengths, in one order for any number of workers."""

import absl.flags
import grain
import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from rnnjax import training

KEY = jax.random.key(3)
GENERATOR = np.random.default_rng(0)
LENGTHS = GENERATOR.integers(5, 60, 57)
EXAMPLES = [
    {"x": GENERATOR.normal(size=(n, 2)).astype(np.float32), "token": np.arange(n) % 7}
    for n in LENGTHS
]
LABELS = np.arange(57) % 3


def make(**options):
    options = {"targets": LABELS, "key": KEY} | options
    return training.bucketed(EXAMPLES, LENGTHS, 4, **options)


def test_every_sequence_once_with_its_steps_and_no_others():
    batches = make()
    seen = []
    for batch in batches.data(0):
        steps, rows = batch["mask"].shape
        assert (steps in batches.bounds) and rows == 4
        assert batch["inputs"]["x"].shape == (steps, 4, 2)
        for row, index in enumerate(batch["index"]):
            length = batch["lengths"][row]
            np.testing.assert_array_equal(
                batch["mask"][:, row], np.arange(steps) < length
            )
            for name, leaf in batch["inputs"].items():
                expected = EXAMPLES[index][name] if index >= 0 else np.zeros(0)
                np.testing.assert_array_equal(leaf[length:, row], 0)
                if index >= 0:
                    np.testing.assert_array_equal(leaf[:length, row], expected)
                    assert leaf.dtype == expected.dtype
            assert (index < 0) == (length == 0)
            if index >= 0:
                assert batch["targets"][row] == LABELS[index]
                seen.append(index)
    assert sorted(seen) == list(range(57))
    assert len(batches.data(0)) == batches.batches


def test_padding_is_what_is_reported_and_within_its_bound():
    batches = make(max_padding=0.15)
    masks = [batch["mask"] for batch in batches.data(0)]
    padding = 1 - sum(m.sum() for m in masks) / sum(m.size for m in masks)
    assert padding == pytest.approx(batches.padding)
    for batch in batches.data(0):
        lengths = batch["lengths"][batch["lengths"] > 0]
        assert 1 - lengths.sum() / (len(batch["mask"]) * len(lengths)) <= 0.15
    assert make(max_padding=0.92).bounds == (LENGTHS.max(),)
    assert make(max_padding=0.0).bounds == tuple(sorted(set(LENGTHS.tolist())))
    # Against batches in the order of the data, padded to the longest of each.
    groups = [LENGTHS[i : i + 4] for i in range(0, 57, 4)]
    plain = 1 - LENGTHS.sum() / sum(g.max() * len(g) for g in groups)
    assert batches.padding < plain


@hypothesis.given(
    st.lists(st.integers(1, 99), min_size=1, max_size=40),
    st.floats(0, 0.9),
    st.integers(1, 5),
)
def test_any_lengths(lengths, max_padding, batch_size):
    examples = [np.ones(n) for n in lengths]
    batches = training.bucketed(examples, lengths, batch_size, max_padding=max_padding)
    bounds = np.asarray(batches.bounds)
    bound_of = bounds[np.searchsorted(bounds, lengths)]
    assert (1 - np.asarray(lengths) / bound_of <= max_padding + 1e-9).all()
    total = sum(batch["inputs"].sum() for batch in batches.data(0))
    assert total == sum(lengths)


def order(batches, epoch):
    return [batch["index"].tolist() for batch in batches.data(epoch)]


def test_the_order_is_that_of_key_and_epoch():
    assert order(make(), 0) == order(make(), 0)
    assert order(make(), 0) != order(make(), 1)
    assert order(make(), 0) != order(make(key=jax.random.key(4)), 0)
    plain = [i for batch in order(make(key=None), 5) for i in batch if i >= 0]
    assert (np.diff(LENGTHS[plain]) >= 0).all()


@pytest.mark.parametrize("count", [2, 4])
def test_processes_together_see_what_one_would(count):
    whole = list(make().data(1))
    shares = [list(make(process=(i, count)).data(1)) for i in range(count)]
    for batch, *parts in zip(whole, *shares, strict=True):
        for name, axis in (("index", 0), ("lengths", 0), ("targets", 0), ("mask", 1)):
            together = np.concatenate([part[name] for part in parts], axis)
            np.testing.assert_array_equal(together, batch[name])
        together = np.concatenate([part["inputs"]["x"] for part in parts], 1)
        np.testing.assert_array_equal(together, batch["inputs"]["x"])

    arrays = {"a": np.arange(14), "b": np.arange(28).reshape(14, 2)}
    one = list(training.array_batches(arrays, 4, key=KEY)(2))
    several = [
        list(training.array_batches(arrays, 4, key=KEY, process=(i, count))(2))
        for i in range(count)
    ]
    # The last batch has 2 rows: 4 processes cannot share it.
    assert len(several[0]) == (4 if count == 2 else 3)
    for batch, *parts in zip(one, *several, strict=False):
        together = np.concatenate([part["b"] for part in parts])
        np.testing.assert_array_equal(together, batch["b"])


class Reader:
    """Batches by their number, as Grain's workers read them."""

    def __init__(self, batches):
        self._batches = batches

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        return self._batches[int(index)]


@pytest.mark.parametrize("threads", [1, 5])
def test_grain_reads_them_in_the_same_order_with_any_number_of_threads(threads):
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    source = grain.MapDataset.source(Reader(make().data(0)))
    found = [b["index"].tolist() for b in source.to_iter_dataset(options)]
    assert found == order(make(), 0)


@pytest.mark.slow
def test_grain_reads_them_in_the_same_order_in_processes():
    if not absl.flags.FLAGS.is_parsed():  # Grain's workers ask for its flags.
        absl.flags.FLAGS.mark_as_parsed()
    source = grain.MapDataset.source(Reader(make().data(0))).to_iter_dataset()
    for workers in (1, 2):
        several = source.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
        assert [b["index"].tolist() for b in several] == order(make(), 0)


@pytest.mark.parametrize(
    ("lengths", "options", "message"),
    [
        ([1], {}, "lengths: expected one for each of the examples.* for 2 examples"),
        ([1, 0], {}, "lengths: expected integers from 1 on, got int64 from 0"),
        ([1.0, 2.0], {}, "lengths: expected integers"),
        ([1, 2], {"max_padding": 1.0}, "max_padding: expected a share from 0 to"),
        (
            [1, 2],
            {"process": (0, 3)},
            r"divides batch_size = 4, got \(0, 3\)",
        ),
        ([1, 2], {"process": (2, 2)}, "process: expected"),
    ],
)
def test_wrong_arguments(lengths, options, message):
    with pytest.raises(ValueError, match=message):
        training.bucketed([np.ones(1), np.ones(2)], lengths, 4, **options)
