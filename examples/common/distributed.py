"""What ``--distributed`` does: one training on the devices of several processes.

Every process runs the whole program. The training they make together, each with its
rows of every batch; what comes after, each makes by itself, and the first one speaks
and writes files.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rich.console
from jax.experimental import multihost_utils

from rnnjax import sharding

from .errors import InputError


def start(config: Any) -> rich.console.Console:
    """Joins the other processes where ``--distributed`` says so.

    Call it first: before anything else that uses JAX.

    Args:
        config: the settings, with ``distributed``.

    Returns:
        The console; that of all processes but the first is silent.

    Raises:
        InputError: there is nothing to join.
    """
    if config.distributed:
        try:
            sharding.initialize()
        except RuntimeError as error:
            raise InputError(f"--distributed: {error}") from error
    return rich.console.Console(highlight=False, soft_wrap=True, quiet=not is_first())


def is_first() -> bool:
    """Whether this process is the one that speaks and writes files."""
    return jax.process_index() == 0


def meet() -> None:
    """Waits for all other processes, where there are any."""
    if jax.process_count() > 1:
        sharding.barrier()


class Spread:
    """Splits the rows of batches over all devices; each process reads its own.

    A batch of fewer rows than ``batch_size``, which the devices do not divide, such as
    the last one of an epoch, is whole on every device: nothing is left out, and the
    numbers are those of one process.

    Args:
        batch_size: rows of a batch.
        axes: on which axis the rows are, by the name of the leaf, where this is neither
            ``[T, B, ...]`` nor ``[B]``.

    Raises:
        InputError: the devices do not divide the batch.
    """

    def __init__(self, batch_size: int, axes: Mapping[str, int] | None = None):
        self.mesh = sharding.mesh("data=*")
        self.axes = dict(axes or {})
        self._rows = functools.cache(
            lambda count: sharding.process_rows(count, self.mesh)
        )
        try:
            self._rows(batch_size)
        except ValueError as error:
            raise InputError(f"--distributed: {error}") from error

    def state(self, state: Any) -> Any:
        """A `TrainState`, the same in every process, as one on all devices."""
        return sharding.shard_state(state, self.mesh)

    def data(self, data: Any) -> Any:
        """Whatever `rnnjax.training.fit` takes as batches, each of them split."""
        if callable(data):
            return lambda epoch: self.data(data(epoch))
        if not hasattr(data, "__getitem__"):
            return map(self.batch, data)
        return (_Sized if hasattr(data, "__len__") else _Endless)(data, self.batch)

    def batch(self, batch: Any) -> Any:
        """A batch, split over the devices."""
        self._whole = batch
        axes = jax.tree_util.tree_map_with_path(self._axis, batch)
        counts = {
            leaf.shape[axis]
            for leaf, axis in zip(
                jax.tree.leaves(batch), jax.tree.leaves(axes), strict=True
            )
            if leaf.ndim
        }
        if len(counts) != 1:
            shapes = jax.tree.map(np.shape, batch)
            raise ValueError(
                f"axes: expected the rows of the batch on axis 1, or alone in [B], but "
                f"for the leaves named in {self.axes}, got the shapes {shapes}."
            )
        (count,) = counts
        if count % self.mesh.size:
            return batch  # `jit` copies it to every device
        rows = self._rows(count)

        def split(leaf, axis):
            if not leaf.ndim:
                return leaf
            return sharding.shard_batch(np.take(leaf, rows, axis), self.mesh, rows=axis)

        return jax.tree.map(split, batch, axes)

    def units(self, units: Mapping[str, Callable[[Any], int]]) -> dict[str, Callable]:
        """Counts of `fit` that look at whole batches, which are in the host's memory.

        `fit` counts a batch before it asks for the next one.
        """
        return {
            name: lambda _, count=count: count(self._whole)
            for name, count in units.items()
        }

    def _axis(self, path: tuple, leaf: Any) -> int:
        name = str(getattr(path[-1], "key", getattr(path[-1], "idx", "")))
        return self.axes.get(name, min(max(leaf.ndim - 1, 0), 1))


class _Endless:
    """Batches, each split when it is asked for."""

    def __init__(self, batches: Any, split: Callable[[Any], Any]):
        self.batches, self.split = batches, split

    def __getitem__(self, place: int) -> Any:
        """A batch."""
        return self.split(self.batches[place])


class _Sized(_Endless):
    """The same, where their number is known."""

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.batches)


def own(tree: Any) -> Any:
    """Copies of arrays that are whole on every device, for this process alone."""
    return jax.tree.map(jnp.asarray, jax.device_get(tree))


def agreed(validate: Callable[[Any], Mapping[str, Any]]) -> Callable[[Any], dict]:
    """A validation that each process makes by itself; the numbers are the first's.

    What is saved and when training ends hangs on them, so that processes that differ
    in a last bit would part and wait for each other for ever.

    Args:
        validate: ``params -> {name: number}``.
    """

    def look(params):
        values = validate(own(params))
        numbers = np.array([float(value) for value in values.values()])
        # As bits: JAX would round them to float32.
        bits = multihost_utils.broadcast_one_to_all(numbers.view(np.uint32))
        agreed = np.asarray(bits).view(np.float64).tolist()
        return dict(zip(values, agreed, strict=True))

    return look
