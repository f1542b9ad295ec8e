"""Parts of the text examples that need no training: batches, numbers, scores."""

import itertools

import numpy as np
import pytest

from examples.common.buckets import Buckets, in_order, padded
from examples.common.neighbours import nearest
from examples.common.translator import Decoded, Pairs, to_words
from examples.common.vocabulary import END, PAD, UNKNOWN, Vocabulary
from examples.g2p.scores import score


def collate(examples, shape):
    return examples.tolist(), shape


LENGTHS = np.random.default_rng(0).integers(1, 30, (103, 2))


# --- Batches -------------------------------------------------------------------------


def test_every_epoch_has_its_own_order_and_no_example_twice():
    buckets = Buckets(LENGTHS, 10, collate, count=3, seed=5)
    epochs = [[buckets(n)[k] for k in range(len(buckets))] for n in (0, 1)]
    assert epochs[0] != epochs[1]
    again = Buckets(LENGTHS, 10, collate, count=3, seed=5)
    assert [again(1)[k] for k in range(len(again))] == epochs[1]
    for epoch in epochs:
        examples = [e for members, _ in epoch for e in members]
        assert len(set(examples)) == len(examples) == 10 * len(buckets)
        assert len(examples) > 103 - 3 * 10


def test_all_examples_of_a_bucket_fit():
    for count in (1, 2, 4):
        buckets = Buckets(LENGTHS, 10, collate, count=count)
        assert len(buckets.shapes) == count
        for members, shape in (buckets(0)[k] for k in range(len(buckets))):
            assert (LENGTHS[members] <= shape).all()


def test_cuts_have_the_least_padding():
    lengths = np.sort(np.random.default_rng(1).integers(1, 20, 40))

    def cost(parts):
        return sum(len(part) * max(part) for part in parts if len(part))

    buckets = Buckets(lengths, 1, collate, count=3)
    best = min(
        cost(np.split(lengths, cuts))
        for cuts in itertools.combinations_with_replacement(range(41), 2)
    )
    assert cost([lengths[m] for m in buckets.members]) == best


def test_evaluation_meets_every_example_once():
    met = []
    for examples, (batch, shape) in in_order(LENGTHS, 16, collate, count=3):
        assert len(batch) == 16 and batch[: len(examples)] == examples.tolist()
        assert (LENGTHS[examples] <= shape).all()
        met.extend(examples)
    assert sorted(met) == list(range(103))


def test_padded():
    sequences = [np.array([1, 2]), np.array([3]), np.array([4, 5, 6])]
    assert padded(sequences, np.array([2, 0]), 4).T.tolist() == [
        [4, 5, 6, 0],
        [1, 2, 0, 0],
    ]


def test_a_batch_of_pairs():
    pairs = Pairs([np.array([5, END]), np.array([END])], [np.array([END])] * 2)
    batch = pairs.collate(np.array([1, 0]), (3, 2))
    assert batch["source"].T.tolist() == [[END, PAD, PAD], [5, END, PAD]]
    assert batch["source_lengths"].tolist() == [1, 2]
    assert batch["target"].T.tolist() == [[END, PAD]] * 2
    assert batch["target_lengths"].tolist() == [1, 1]


# --- Numbers -------------------------------------------------------------------------


def test_a_vocabulary_has_the_most_frequent_tokens():
    vocabulary = Vocabulary.of(["cab", "ab", "d"], most=3)
    assert vocabulary.tokens == ("a", "b", "c") and vocabulary.size == 6
    assert Vocabulary.of(["cab", "ab"], minimum=2).tokens == ("a", "b")
    numbers = vocabulary.encode("abd", end=True)
    assert numbers.dtype == np.int32 and numbers.tolist() == [3, 4, UNKNOWN, END]
    assert vocabulary.decode([3, 5, END, 4]) == ["a", "c"]
    assert vocabulary.decode([UNKNOWN, PAD, 4]) == ["?"]


def test_unknown_words_are_copied_from_what_was_read():
    vocabulary = Vocabulary(("and",))
    decoded = [Decoded(np.array([2, 3, 2, END, 2]), np.array([1, 0, 9, 0, 0]))]
    assert to_words(decoded, [["x", "y", "z"]], vocabulary) == [["y", "and", "z"]]


# --- Scores --------------------------------------------------------------------------


def test_any_listed_pronunciation_will_do():
    listed = [["AB", "AC"], ["A"], ["ABCD", "X"]]
    spoken = ["AC", "AB", "ABC"]
    errors = score(spoken, listed)
    assert errors.word_error == pytest.approx(2 / 3)
    # Nothing, one insertion, one deletion, of the nearest with 2, 1 and 4 phones.
    assert errors.phoneme_error == pytest.approx(2 / 7)


def test_nearest_text():
    train = [("a", "b", "c"), ("d", "e"), ("c", "f")]
    assert nearest(train, [("e", "x"), ("a", "c")]).tolist() == [1, 0]
