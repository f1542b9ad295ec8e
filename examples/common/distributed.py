"""What ``--distributed`` does: one training on the devices of several processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
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
        batches: batch ``k`` is ``batches[k]``, leaves ``[T, B, ...]``.
        batch_size: ``B``.

    Raises:
        InputError: the devices do not divide the batch.
    """
    mesh = sharding.mesh("data=*")
    try:
        return sharding.shard_state(state, mesh), _Share(batches, mesh, batch_size)
    except ValueError as error:
        raise InputError(f"--distributed --batch-size: {error}") from error


class _Share:
    """The rows of this process, as its part of the whole batches."""

    def __init__(self, batches: Sequence[Any], mesh, batch_size: int):
        self.batches = batches
        self.mesh = mesh
        self.rows = sharding.process_rows(batch_size, mesh)

    def __getitem__(self, step: int) -> Any:
        """Batch ``step``, split over the mesh."""
        mine = jax.tree.map(lambda leaf: leaf[:, self.rows], self.batches[step])
        return sharding.shard_batch(mine, self.mesh)
