"""Long streams: laid out side by side, and cut into windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax._checks import positive
from rnnjax.base import PyTree


def streams(xs: PyTree, batch_size: int, *, pad: bool = False) -> PyTree:
    """Lays one long sequence out as ``batch_size`` streams that are read side by side.

    ``ys[t, b] = xs[b T + t]``: stream ``b`` is the ``b``-th stretch of ``T`` steps, so
    that the carry of `windows` of it can be handed on.

    Args:
      xs: leaves ``[N, ...]``.
      batch_size: ``B``.
      pad: False drops the last ``N mod B`` steps, and ``T = N // B``. True fills up
        with zeros, and ``T`` is rounded up. A bool leaf "mask" of ones becomes the mask
        of what is no padding.

    Returns:
      Leaves ``[T, B, ...]``.

    Raises:
      ValueError: ``batch_size`` is not positive, leaves differ in ``N``, or ``N < B``
        without ``pad``.

    Example:
      >>> import numpy as np, rnnjax.training as training
      >>> training.streams(np.arange(7), 2)
      array([[0, 3],
             [1, 4],
             [2, 5]])
      >>> lanes = training.streams({"x": np.arange(3), "mask": np.ones(3, bool)}, 2,
      ...                          pad=True)
      >>> lanes["mask"]
      array([[ True,  True],
             [ True, False]])
    """
    batch_size = positive("batch_size", batch_size)
    xs, total = _with_length(xs)
    length = -(-total // batch_size) if pad else total // batch_size
    if not length:
        raise ValueError(
            f"xs: expected at least batch_size = {batch_size} steps, got {total}. Give "
            f"a smaller batch_size, or pad=True."
        )

    def lay_out(leaf):
        leaf = _fill(leaf[: length * batch_size], length * batch_size)
        return leaf.reshape(batch_size, length, *leaf.shape[1:]).swapaxes(0, 1)

    return jax.tree.map(lay_out, xs)


def windows(xs: PyTree, window: int, *, pad: bool = False) -> Sequence[PyTree]:
    """Cuts a long stream into consecutive windows, all of one shape.

    Args:
      xs: leaves ``[T, B, ...]``.
      window: number of steps in a window.
      pad: what happens to the last ``T mod window`` steps. False, for training, drops
        them. True, for evaluation, fills the last window up with zeros: put a mask of
        ones, bool ``[T, B]``, among the leaves, and its zeros mark the padding.

    Returns:
      A sequence of trees with leaves ``[window, B, ...]``; it can be indexed, counted
      and run through more than once. Nothing is copied before it is asked for.

    Raises:
      ValueError: ``window`` is not positive, leaves differ in ``T``, or ``T < window``
        without ``pad``.

    Example:
      >>> import numpy as np, rnnjax.training as training
      >>> stream = {"x": np.arange(5), "mask": np.ones(5, bool)}
      >>> [w["x"].tolist() for w in training.windows(stream, 2)]
      [[0, 1], [2, 3]]
      >>> training.windows(stream, 2, pad=True)[-1]["mask"].tolist()
      [True, False]
    """
    window = positive("window", window)
    xs, total = _with_length(xs)
    if total < window and not pad:
        raise ValueError(
            f"xs: expected at least window = {window} steps, got {total}. Give a "
            f"smaller window, or pad=True."
        )
    return _Windows(xs, window, -(-total // window) if pad else total // window)


class _Windows(Sequence):
    """The windows of a stream, cut when asked for."""

    def __init__(self, xs: PyTree, window: int, count: int):
        self._xs, self._window, self._count = xs, window, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        start = range(len(self))[index] * self._window  # raises IndexError
        stop = start + self._window
        return jax.tree.map(lambda a: _fill(a[start:stop], self._window), self._xs)


def _with_length(xs: PyTree) -> tuple[PyTree, int]:
    """The leaves as arrays, and the length of their first axis, which they share."""
    xs = jax.tree.map(lambda a: a if hasattr(a, "shape") else np.asarray(a), xs)
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(xs)}
    if len(lengths) != 1 or lengths == {()}:
        raise ValueError(
            f"xs: expected leaves that share a first axis, time, got the shapes "
            f"{[leaf.shape for leaf in jax.tree.leaves(xs)]}."
        )
    return xs, lengths.pop()[0]


def _fill(leaf: Any, length: int):
    """``leaf`` with zeros up to ``length`` steps; a NumPy array stays one."""
    missing = length - leaf.shape[0]
    if not missing:
        return leaf
    library = np if isinstance(leaf, np.ndarray) else jnp
    return library.pad(leaf, [(0, missing)] + [(0, 0)] * (leaf.ndim - 1))
