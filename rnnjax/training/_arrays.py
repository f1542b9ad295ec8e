"""Arrays of examples: a validation part, and batches in an order drawn from a key."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax._checks import positive
from rnnjax.base import Array, PyTree


def array_batches(
    arrays: PyTree,
    batch_size: int,
    *,
    key: Array | None = None,
    process: tuple[int, int] = (0, 1),
) -> Callable[[int], Sequence[PyTree]]:
    """Batches of examples that are arrays, in a new order each epoch.

    The order depends on the key and the number of the epoch alone.

    Args:
      arrays: a tree with leaves ``[N, ...]``, such as ``(x, y)``.
      batch_size: examples in a batch; the last batch of an epoch has what is left.
      key: a PRNG key for the order; None keeps the order of the arrays.
      process: ``(index, count)``: of each batch only the rows ``index n / count`` and
        on, ``n / count`` of them. Together the processes see what one would. The last
        batch is left out where they cannot share it.

    Returns:
      ``batches(epoch)``, a sequence of trees with leaves ``[batch_size, ...]``; `fit`
      takes it as data.

    Raises:
      ValueError: leaves that differ in ``N``, no examples, ``batch_size`` not positive
        or one that the processes cannot share.

    Example:
      >>> import numpy as np, rnnjax.training as training
      >>> batches = training.array_batches((np.arange(5), np.arange(5) ** 2), 2)
      >>> [x.tolist() for x, y in batches(0)]
      [[0, 1], [2, 3], [4]]
    """
    batch_size = positive("batch_size", batch_size)
    arrays = jax.tree.map(np.asarray, arrays)
    count = number_of_examples(arrays)
    share = process_share(process, batch_size)
    seed = seed_of(key)

    def batches(epoch: int) -> Sequence[PyTree]:
        order = None
        if seed is not None:
            order = np.random.default_rng([*seed, epoch]).permutation(count)
        return _Batches(arrays, batch_size, count, order, share)

    return batches


def seed_of(key: Array | None) -> list[int] | None:
    """The numbers of a PRNG key, as a seed for NumPy."""
    if key is None:
        return None
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    data = jax.random.key_data(key) if typed else key
    return np.asarray(data).ravel().tolist()


def process_share(process: tuple[int, int], batch_size: int) -> tuple[int, int]:
    """``(index, count)``, checked."""
    index, count = map(operator.index, process)
    if not 0 <= index < count or batch_size % count:
        raise ValueError(
            f"process: expected (index, count) with index below count and a count that "
            f"divides batch_size = {batch_size}, got {process}."
        )
    return index, count


def number_of_examples(arrays: PyTree) -> int:
    """``N`` of a tree of arrays ``[N, ...]``."""
    shapes = [leaf.shape for leaf in jax.tree.leaves(arrays)]
    counts = {shape[:1] for shape in shapes}
    if len(counts) != 1 or counts == {()} or counts == {(0,)}:
        raise ValueError(
            f"arrays: expected leaves that share a first axis, one entry an example, "
            f"got the shapes {shapes}."
        )
    return counts.pop()[0]


def split_last(arrays: PyTree, share: float) -> tuple[PyTree, PyTree]:
    """The first examples, and the last ``share`` of them, as Keras splits them."""
    arrays = jax.tree.map(np.asarray, arrays)
    count = number_of_examples(arrays)
    at = math.floor(count * (1.0 - share))
    if not 0 < share < 1 or at in (0, count):
        raise ValueError(
            f"validation_split: expected a share between 0 and 1 that leaves examples "
            f"on both sides, got {share!r} of {count}."
        )
    first = jax.tree.map(lambda a: a[:at], arrays)
    return first, jax.tree.map(lambda a: a[at:], arrays)


class _Batches(Sequence):
    """One epoch."""

    def __init__(
        self,
        arrays: PyTree,
        size: int,
        count: int,
        order: np.ndarray | None,
        share: tuple[int, int],
    ):
        self._arrays, self._size, self._count = arrays, size, count
        self._order, (self._process, self._processes) = order, share

    def __len__(self) -> int:
        whole, rest = divmod(self._count, self._size)
        return whole + bool(rest and rest % self._processes == 0)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        start = range(len(self))[index] * self._size  # raises IndexError
        rows = min(self._size, self._count - start) // self._processes
        start += self._process * rows
        taken = slice(start, start + rows)
        taken = taken if self._order is None else self._order[taken]
        return jax.tree.map(lambda a: a[taken], self._arrays)
