"""Batches of sequences of about one length, in an order that each epoch draws anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Collate = Callable[[np.ndarray, tuple[int, ...]], Any]
"""``(examples [B], lengths) -> batch``: which, and how long their sequences become."""


class Buckets:
    """Sorts examples by length into a few buckets, each of one shape.

    So padding is little and there are few shapes to compile. ``buckets(epoch)`` are the
    batches of an epoch, found by its number alone, so that a resume is exact. The last
    examples of a bucket that fill no batch wait for another epoch; what fits in no
    batch at all makes a smaller one.

    Args:
        lengths: ``[N]``, or ``[N, K]`` where an example has ``K`` sequences.
        batch_size: number of examples in a batch.
        collate: makes the batch.
        count: number of buckets at most, cut so that padding is least.
        seed: of the order.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        batch_size: int,
        collate: Collate,
        count: int = 4,
        seed: int = 0,
    ):
        lengths = np.asarray(lengths).reshape(len(lengths), -1)
        order = np.argsort(lengths.max(1), kind="stable")
        count = max(1, min(count, len(order) // batch_size))
        self.members = np.split(order, _cuts(lengths[order], count))
        self.shapes = [tuple(map(int, lengths[m].max(0))) for m in self.members]
        self.sizes = [min(batch_size, len(m)) for m in self.members]
        self.collate = collate
        self.seed = seed

    def __len__(self) -> int:
        """Number of batches of an epoch."""
        pairs = zip(self.members, self.sizes, strict=True)
        return sum(len(m) // size for m, size in pairs)

    def __call__(self, epoch: int) -> Epoch:
        """The batches of an epoch."""
        generator = np.random.default_rng((self.seed, epoch))
        batches = []
        for members, size, shape in zip(
            self.members, self.sizes, self.shapes, strict=True
        ):
            order = generator.permutation(members)
            for start in range(0, len(order) - size + 1, size):
                batches.append((order[start : start + size], shape))
        places = generator.permutation(len(batches))
        return Epoch([batches[place] for place in places], self.collate)


def _cuts(lengths: np.ndarray, count: int, places: int = 64) -> list[int]:
    """Where to cut sorted examples into ``count`` buckets with the least padding.

    By dynamic programming over ``places`` places that are evenly spread, and as many
    among the longest, which are few and cost most.
    """
    number = len(lengths)
    even = np.linspace(0, number, places + 1).astype(int)
    tail = number - (number / 2 ** np.linspace(1, np.log2(number), places)).astype(int)
    at = np.unique([*even, *tail])
    # cost[i, j]: steps of the bucket from place i to place j, padding among them.
    cost = np.full((len(at), len(at)), np.inf)
    for i, start in enumerate(at):
        longest = np.maximum.accumulate(lengths[start:], axis=0).sum(1)
        ends = at[i + 1 :]
        cost[i, i + 1 :] = (ends - start) * longest[ends - start - 1]
    best, chosen = cost[0], []
    for _ in range(count - 1):
        totals = best[:, None] + cost
        chosen.append(totals.argmin(0))
        best = totals.min(0)
    cuts, end = [], len(at) - 1
    for previous in reversed(chosen):
        end = previous[end]
        cuts.append(int(at[end]))
    return cuts[::-1]


class Epoch:
    """A sequence of batches, each made when it is asked for."""

    def __init__(self, batches: list[tuple[np.ndarray, tuple]], collate: Collate):
        self.batches = batches
        self.collate = collate

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.batches)

    def __getitem__(self, place: int) -> Any:
        """A batch."""
        return self.collate(*self.batches[place])


def in_order(
    lengths: np.ndarray, batch_size: int, collate: Collate, count: int = 4
) -> Iterator[tuple[np.ndarray, Any]]:
    """Yields ``(examples, batch)`` until every example was in one, for evaluation.

    A batch that is not full is filled up with its own examples again, so that few
    shapes are compiled: of a batch only the first ``len(examples)`` count.
    """
    buckets = Buckets(lengths, batch_size, collate, count)
    for members, shape in zip(buckets.members, buckets.shapes, strict=True):
        for start in range(0, len(members), batch_size):
            examples = members[start : start + batch_size]
            yield examples, collate(np.resize(examples, batch_size), shape)


def padded(
    sequences: list[np.ndarray], examples: np.ndarray, length: int, pad: int = 0
) -> np.ndarray:
    """The sequences of the examples side by side, int32 ``[length, B]``."""
    out = np.full((length, len(examples)), pad, np.int32)
    for column, example in enumerate(examples):
        out[: len(sequences[example]), column] = sequences[example]
    return out
