"""Sequences of different lengths in batches with little padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from rnnjax._checks import positive
from rnnjax.base import Array, PyTree
from rnnjax.training._arrays import process_share, seed_of


class Bucketed(NamedTuple):
    """Batches of sequences of like lengths; made by `bucketed`.

    Attributes:
      bounds: the lengths that batches have.
      padding: share of the steps of all batches that are padding.
      batches: number of batches in an epoch.
      data: ``data(epoch)``, a sequence of the batches in the order of that epoch;
        `rnnjax.training.fit` takes it as data.
    """

    bounds: tuple[int, ...]
    padding: float
    batches: int
    data: Callable[[int], Sequence[PyTree]]


def bucketed(
    examples: Sequence[PyTree],
    lengths: Any,
    batch_size: int,
    *,
    targets: PyTree = None,
    key: Array | None = None,
    max_padding: float = 0.1,
    process: tuple[int, int] = (0, 1),
) -> Bucketed:
    """Batches sequences with others of about their length.

    Lengths are cut into buckets ``(l_0, l_1], (l_1, l_2], ...``, as few as possible so
    that in each the share of padding is at most ``max_padding``, however its sequences
    are batched. All batches of a bucket have its longest length, so that there is one
    compilation a bucket. The last batch of a bucket is filled up with empty sequences.

    Args:
      examples: ``N`` trees with leaves ``[T_i, ...]``. A list, or any sequence that
        reads them when asked.
      lengths: int ``[N]``, ``T_i``.
      batch_size: ``B``, sequences in a batch.
      targets: a tree with leaves ``[N, ...]``, what belongs to whole sequences.
      key: a PRNG key: the order of the sequences in a bucket and of the batches is
        drawn anew each epoch, from it and the number of the epoch alone. None keeps
        the order of the lengths.
      max_padding: greatest share of padding in a bucket, from 0 to below 1; what fills
        up the last batch comes on top.
      process: ``(index, count)``: of each batch only the rows ``index B / count`` and
        on, ``B / count`` of them. All processes see the same batches in the same order,
        and together what one would see.

    Returns:
      A `Bucketed`. A batch is a dict: "inputs", a tree with leaves ``[T, B, ...]``,
      zeros where there is no step; "targets", leaves ``[B, ...]``, where there are any;
      "lengths", int32 ``[B]``; "mask", bool ``[T, B]``; "index", int32 ``[B]``, the
      number of the sequence, -1 for an empty one, which has the targets of the first.

    Raises:
      ValueError: no examples, lengths that are not positive or of another number,
        ``max_padding`` out of range, a ``batch_size`` that processes cannot share.

    Example:
      >>> import numpy as np, rnnjax.training as training
      >>> lengths = [2, 9, 3, 10, 3]
      >>> examples = [np.arange(n) for n in lengths]
      >>> batches = training.bucketed(examples, lengths, 3, max_padding=0.4)
      >>> batches.bounds, round(batches.padding, 3)
      ((3, 10), 0.308)
      >>> [batch["inputs"].shape for batch in batches.data(0)]
      [(3, 3), (10, 3)]
    """
    batch_size = positive("batch_size", batch_size)
    lengths = _lengths(lengths, len(examples))
    targets = jax.tree.map(np.asarray, targets)
    if not 0 <= max_padding < 1:
        raise ValueError(
            f"max_padding: expected a share from 0 to below 1, got {max_padding!r}."
        )
    index, count = process_share(process, batch_size)
    bounds = _bounds(lengths, max_padding)
    bucket_of = np.searchsorted(bounds, lengths)
    share = batch_size // count
    rows = slice(index * share, (index + 1) * share)
    sizes = [-(-int(n) // batch_size) for n in np.bincount(bucket_of)]
    steps = sum(n * bound for n, bound in zip(sizes, bounds, strict=True))
    padding = 1 - int(lengths.sum()) / (steps * batch_size)
    seed = seed_of(key)

    def data(epoch: int) -> Sequence[PyTree]:
        plan = _plan(bucket_of, lengths, batch_size, seed, epoch)
        return _Batches(examples, targets, lengths, bounds, plan, rows)

    return Bucketed(tuple(bounds), padding, sum(sizes), data)


def _lengths(lengths: Any, count: int) -> np.ndarray:
    lengths = np.asarray(lengths)
    if lengths.shape != (count,) or not count:
        raise ValueError(
            f"lengths: expected one for each of the examples, at least one, got shape "
            f"{lengths.shape} for {count} examples."
        )
    if not np.issubdtype(lengths.dtype, np.integer) or lengths.min() < 1:
        raise ValueError(
            f"lengths: expected integers from 1 on, got {lengths.dtype} from "
            f"{lengths.min()}. Leave empty sequences out."
        )
    return lengths


def _bounds(lengths: np.ndarray, max_padding: float) -> list[int]:
    """The longest length of each bucket, from the longest sequence down.

    A sequence of length ``l`` in a bucket of length ``L`` has ``1 - l / L`` of padding,
    so that no batch of the bucket has more where the shortest has not.
    """
    bounds: list[int] = []
    for length in sorted(set(lengths.tolist()), reverse=True):
        if not bounds or length < (1 - max_padding) * bounds[-1]:
            bounds.append(length)
    return bounds[::-1]


def _plan(
    bucket_of: np.ndarray,
    lengths: np.ndarray,
    batch_size: int,
    seed: list[int] | None,
    epoch: int,
) -> list[tuple[int, np.ndarray]]:
    """For each batch its bucket and its examples."""
    order = np.argsort(lengths, kind="stable")
    generator = None
    if seed is not None:
        generator = np.random.default_rng([*seed, epoch])
        order = generator.permutation(len(lengths))
    plan = []
    for bucket in range(bucket_of.max() + 1):
        members = order[bucket_of[order] == bucket]
        starts = range(0, len(members), batch_size)
        plan += [(bucket, members[start : start + batch_size]) for start in starts]
    if generator is not None:
        plan = [plan[i] for i in generator.permutation(len(plan))]
    fill = [(0, batch_size - len(members)) for _, members in plan]
    return [
        (bucket, np.pad(members, missing, constant_values=-1))
        for (bucket, members), missing in zip(plan, fill, strict=True)
    ]


class _Batches(Sequence):
    """The batches of one epoch, made when asked for."""

    def __init__(self, examples, targets, lengths, bounds, plan, rows):
        self._examples, self._targets, self._lengths = examples, targets, lengths
        self._bounds, self._plan, self._rows = bounds, plan, rows

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        bucket, members = self._plan[index]
        members = members[self._rows]
        steps = self._bounds[bucket]
        lengths = np.where(members < 0, 0, self._lengths[members]).astype(np.int32)
        trees = [self._examples[max(i, 0)] for i in members.tolist()]

        def stacked(*leaves):
            first = np.asarray(leaves[0])
            out = np.zeros((steps, len(leaves), *first.shape[1:]), first.dtype)
            for row, (leaf, length) in enumerate(zip(leaves, lengths, strict=True)):
                out[:length, row] = leaf[:length]
            return out

        batch = {
            "inputs": jax.tree.map(stacked, *trees),
            "lengths": lengths,
            "mask": np.arange(steps)[:, None] < lengths,
            "index": members.astype(np.int32),
        }
        if self._targets is not None:
            known = np.maximum(members, 0)
            batch["targets"] = jax.tree.map(lambda a: a[known], self._targets)
        return batch
