"""Batches one after another, and the place among them, for `fit`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from rnnjax.base import PyTree


class BatchStream:
    """Batches of ``data``, epoch after epoch, from any place on.

    Where `fit` says what ``data`` may be. No batch is fetched before it is asked for,
    so the place is always that of the batches handed out.

    Attributes:
      epoch: number of whole passes made.
      index: number of batches handed out in this pass.
    """

    def __init__(self, data: Any):
        if isinstance(data, Mapping) or not (
            callable(data) or hasattr(data, "__getitem__") or hasattr(data, "__iter__")
        ):
            raise TypeError(
                f"data: expected a sequence or an iterable of batches, or a function "
                f"of the epoch that gives one, got {type(data).__name__}. For a tree "
                f"of arrays [N, ...] give batch_size as well."
            )
        self._data = data
        self._length = length_of_epoch(data)
        self.epoch = self.index = 0
        self._pass: Any = None

    def __next__(self) -> PyTree:
        """The next batch; StopIteration at the end of an epoch, once."""
        if self._pass is None:
            self._pass = _begin(self._data, self.epoch, 0)
        try:
            batch = next(self._pass)
        except StopIteration:
            if not self.index:
                raise ValueError(
                    f"data: expected at least one batch in epoch {self.epoch}, got "
                    f"none. An iterator is used up by one pass: give a sequence, or a "
                    f"function of the epoch, to run through it more than once."
                ) from None
            self._pass = None
            self.epoch, self.index = self.epoch + 1, 0
            raise
        self.index += 1
        return batch

    def length(self) -> int | None:
        """Number of batches in the first epoch, where that is known beforehand."""
        return self._length

    def place(self) -> dict[str, Any]:
        """Where the stream stands, as JSON can hold it."""
        place: dict[str, Any] = {"epoch": self.epoch, "index": self.index}
        if _keeps_state(self._pass):
            state = self._pass.get_state()
            place["state"] = state.decode() if isinstance(state, bytes) else state
            place["bytes"] = isinstance(state, bytes)
            json.dumps(place)  # raises where an iterator has another kind of state
        return place

    def seek(self, place: Mapping[str, Any]) -> None:
        """Goes to where a stream of the same data stood."""
        self.epoch, self.index = place["epoch"], place["index"]
        if "state" in place:
            self._pass = _begin(self._data, self.epoch, 0)
            state = place["state"]
            self._pass.set_state(state.encode() if place["bytes"] else state)
        else:
            self._pass = _begin(self._data, self.epoch, self.index)


def _begin(data: Any, epoch: int, skip: int) -> Iterator[PyTree]:
    """An iterator over one epoch, ``skip`` batches on."""
    of_epoch = _of_epoch(data, epoch)
    if hasattr(of_epoch, "__getitem__"):
        last = len(of_epoch) if hasattr(of_epoch, "__len__") else None
        indices = itertools.count(skip) if last is None else range(skip, last)
        return map(of_epoch.__getitem__, indices)
    iterator = iter(of_epoch)
    for _ in range(skip):
        next(iterator, None)
    return iterator


def _keeps_state(iterator: Any) -> bool:
    return hasattr(iterator, "get_state") and hasattr(iterator, "set_state")


def length_of_epoch(data: Any) -> int | None:
    """Number of batches in the first epoch, where that is known beforehand."""
    first = _of_epoch(data, 0)
    return len(first) if hasattr(first, "__len__") else None


def _of_epoch(data: Any, epoch: int) -> Any:
    return data(epoch) if callable(data) else data
