"""What ``--distributed`` does: one training on the devices of several processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import rich.console

from rnnjax import sharding

from .errors import InputError


def join() -> None:
    """Connects with the other processes; before anything else that uses JAX.

    Raises:
        InputError: there is nothing to connect to.
    """
    try:
        sharding.initialize()
    except RuntimeError as error:
        raise InputError(f"--distributed: {error}") from error


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return jax.process_index() == 0


def console() -> rich.console.Console:
    """For the first process; those of the others are silent."""
    return rich.console.Console(highlight=False, soft_wrap=True, quiet=not is_first())


def spread(
    state: Any, batches: Sequence[Any], batch_size: int
) -> tuple[Any, Sequence[Any]]:
    """The state and the batches of a training on all devices of all processes.

    The rows are split over the devices, and each process reads its own.

    Args:
        state: a `TrainState`, the same in every process.
        batches: batch ``k`` is ``batches[k]``, leaves ``[T, B, ...]`` or ``[B]``.
        batch_size: ``B``.

    Raises:
        InputError: the devices do not divide the batch.
    """
    mesh = sharding.mesh("data=*")
    try:
        rows = sharding.process_rows(batch_size, mesh)
        state = sharding.shard_state(state, mesh)
    except ValueError as error:
        raise InputError(f"--distributed --batch-size: {error}") from error
    kind = _Batches if hasattr(batches, "__len__") else _Endless
    return state, kind(batches, batch_size, rows, mesh)


class _Endless:
    """Of every batch the rows of this process, as its part of the whole."""

    def __init__(self, batches: Sequence[Any], batch_size: int, rows, mesh):
        self.batches = batches
        self.batch_size = batch_size
        self.rows = rows
        self.mesh = mesh

    def __getitem__(self, number: int) -> Any:
        """That batch, split over the mesh."""
        return jax.tree.map(self._share, self.batches[number])

    def _share(self, leaf: np.ndarray) -> jax.Array:
        axis = min(leaf.ndim - 1, 1)
        if leaf.shape[axis] != self.batch_size:
            raise InputError(
                f"--distributed: expected batches of --batch-size {self.batch_size}, "
                f"on axis 1 of [T, B, ...] or alone in [B], got shape {leaf.shape}."
            )
        mine = np.take(leaf, self.rows, axis)
        return sharding.shard_batch(mine, self.mesh, rows=axis)


class _Batches(_Endless):
    """The same, where their number is known."""

    def __len__(self) -> int:
        return len(self.batches)
