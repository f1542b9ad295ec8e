"""Checkpoints by Orbax: in the background, whole or not at all, checked when read."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from rnnjax._checks import positive
from rnnjax._extras import require
from rnnjax.base import PyTree
from rnnjax.sharding import barrier
from rnnjax.training._differences import (
    as_json,
    describe_state,
    differences,
    encoded,
    versions,
)
from rnnjax.training._folder import CheckpointError, CheckpointFolder
from rnnjax.training._orbax import Writer, read_state
from rnnjax.training._sums import find_damage

FORMAT = 1
_STATE, _RECORD = "state", "record.json"


class CheckpointMismatch(ValueError):
    """A checkpoint of another configuration, version or network.

    Attributes:
      differences: one line each.
    """

    def __init__(self, message: str, lines: list[str]):
        super().__init__(message)
        self.differences = lines


class Restored(NamedTuple):
    """What `Checkpoints.restore` gives.

    Attributes:
      state: the tree that was saved.
      step: its step.
      record: what was saved beside it.
      config: the configuration that it was saved with.
    """

    state: PyTree
    step: int
    record: dict[str, Any]
    config: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, in one folder.

    A save copies the state, and writes it by Orbax in the background: into a folder
    aside that counts once it is whole, with the SHA-256 of every file. A run killed
    while it saves leaves the checkpoint before it as it was, also where that is of the
    same step; a checkpoint that was damaged later is found out when it is read, and the
    one before it is taken.

    Args:
      folder: made at the first save; on a disk that all processes share.
      every: number of steps between two, for `fit`; None is at the end of each epoch.
        The last step makes one in any case.
      keep: how many of the newest are kept, at least 2, so that there is another where
        the newest is damaged.
      best: name of a metric; the checkpoint where it was best is kept as well.
      mode: "min" or "max", which values of it are better.
      config: settings, JSON: what a run must agree in with the one that it goes on
        with. Leave out what may change, such as the number of steps between two logs.
      accept_versions: whether a checkpoint of other versions of rnnjax, JAX, Optax,
        ... is taken. It cannot be expected to go on bit by bit.

    Raises:
      ValueError: ``keep`` below 2, another ``mode``.
      TypeError: ``config`` is not JSON.
      ModuleNotFoundError: Orbax is not installed.

    Example:
      >>> import pathlib, tempfile, jax.numpy as jnp, rnnjax.training as training
      >>> folder = pathlib.Path(tempfile.mkdtemp()) / "checkpoints"
      >>> state = {"weights": jnp.arange(3.0)}
      >>> with training.Checkpoints(folder, config={"hidden_size": 3}) as checkpoints:
      ...     checkpoints.save(state, {"loss": 0.5}, step=10)
      ...     checkpoints.wait()
      ...     restored = checkpoints.restore(state)
      >>> restored.step, restored.record, restored.state["weights"].tolist()
      (10, {'loss': 0.5}, [0.0, 1.0, 2.0])
      >>> other = training.Checkpoints(folder, config={"hidden_size": 4})
      >>> other.restore(state)
      Traceback (most recent call last):
      ...
      rnnjax.training._checkpoints.CheckpointMismatch: ... hidden_size: was 3, is 4...
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        every: int | None = None,
        keep: int = 2,
        best: str | None = None,
        mode: str = "min",
        config: Mapping[str, Any] | None = None,
        accept_versions: bool = False,
    ):
        require("orbax", extra="train")
        self.folder = Path(folder).absolute()
        self._folder = CheckpointFolder(self.folder)
        self.every = None if every is None else positive("every", every)
        self.keep = positive("keep", keep)
        if self.keep < 2:
            raise ValueError(
                f"keep: expected 2 or more, so that there is another checkpoint where "
                f"the newest is damaged, got {keep}."
            )
        if mode not in ("min", "max"):
            raise ValueError(f"mode: expected 'min' or 'max', got {mode!r}.")
        self.best, self.mode = best, mode
        self.config = as_json("config", dict(config or {}))
        self.accept_versions = accept_versions
        self._metrics: dict[int, float | None] = {}
        self._writer: Writer | None = None
        self._pending: concurrent.futures.Future | None = None

    def __enter__(self) -> Checkpoints:
        """Itself."""
        return self

    def __exit__(self, *exception: Any) -> None:
        """`close`."""
        self.close()

    def save(
        self,
        state: PyTree,
        record: Mapping[str, Any] | None = None,
        *,
        step: int | None = None,
    ) -> None:
        """Copies the state and has it written in the background.

        Args:
          state: a tree of arrays.
          record: whatever JSON can hold. Where ``best`` is set, its value is
            ``record["metrics"][best]``; without one this is never the best checkpoint.
          step: number of steps made; None takes ``state.step``. A checkpoint of that
            step is replaced, once the new one is whole.

        Raises:
          CheckpointError: this save, or the one before it, which this call waits for,
            could not be written: disk full, read-only, ... Those before are intact.
        """
        step = int(state.step if step is None else step)  # type: ignore[union-attr]
        content = {
            "format": FORMAT,
            "step": step,
            "config": self.config,
            "versions": versions(),
            "state": describe_state(state),
            "record": dict(record or {}),
        }
        text, metric = encoded("record", content), self._metric_of(content)
        self.wait()
        self._guarded(step, lambda: self._begin(step, state, text, metric))

    def wait(self) -> None:
        """Waits until the last save is whole on the disk.

        Raises:
          CheckpointError: it could not be written.
        """
        if self._pending is not None:
            step, pending = self._pending_step, self._pending
            self._pending = None
            self._guarded(step, pending.result)
            _meet()

    def close(self) -> None:
        """`wait`, and stops the background thread. It starts again where needed."""
        try:
            self.wait()
        finally:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def steps(self) -> list[int]:
        """The steps of all checkpoints there are, damaged ones among them."""
        return self._folder.steps()

    def best_step(self) -> int:
        """The step of the checkpoint with the best metric.

        Raises:
          FileNotFoundError: there is none.
        """
        if self.best is None:
            raise ValueError(
                "best: expected the name of a metric in Checkpoints(best=...), got "
                "None, so there is no best checkpoint."
            )
        step = self._find_best(self.steps())
        if step is None:
            raise FileNotFoundError(
                f"step: expected a checkpoint with the metric {self.best!r} in "
                f"{self.folder}, found none."
            )
        return step

    def restore(self, like: PyTree, step: int | str = "newest") -> Restored:
        """Reads a checkpoint, after checking all of it.

        Args:
          like: a tree of the structure, shapes, types and shardings that the state
            shall have; its values are not looked at.
          step: a number, "newest" or "best". Where the newest is damaged, the one
            before it is read, with a warning that names both.

        Returns:
          A `Restored`.

        Raises:
          FileNotFoundError: there is no such checkpoint.
          CheckpointError: it is damaged, or all are.
          CheckpointMismatch: it was saved with another configuration, by other
            versions, or for a state of other arrays; all differences are listed.
        """
        self.wait()
        step = self._choose(step)
        content = self._content(step)
        self._check(step, content, like)
        state = read_state(self._folder[step] / _STATE, like)
        return Restored(state, step, content["record"], content["config"])

    def config_of(self, step: int | str = "newest") -> dict[str, Any]:
        """The configuration of a checkpoint, to build its network from.

        Args:
          step: as for `restore`.

        Raises:
          FileNotFoundError, CheckpointError: as from `restore`.
        """
        self.wait()
        return self._content(self._choose(step))["config"]

    def discard_after(self, step: int) -> None:
        """Deletes the checkpoints of later steps, which a resumed run makes again."""
        self.wait()
        if jax.process_index() == 0:
            self._guarded(step, lambda: self._discard_after(step))
        _meet()

    def _discard_after(self, step: int) -> None:
        self._folder.clean()
        for later in self.steps():
            if later > step:
                self._folder.delete(later)

    def _begin(self, step: int, state: PyTree, text: str, metric: float | None) -> None:
        """Starts writing; what must be seen by this thread is done when it returns."""
        if self._writer is None:
            self._writer = Writer()
        if jax.process_index() == 0:
            self._folder.begin(step)
        self._pending_step = step
        self._pending = self._writer.write(
            self._folder.new(step) / _STATE,
            state,
            lambda: self._finish(step, text, metric),
        )

    def _finish(self, step: int, text: str, metric: float | None) -> None:
        """In the background, once the state is there: it counts, old ones go."""
        first = jax.process_index() == 0
        if first:
            (self._folder.new(step) / _RECORD).write_text(text, encoding="utf-8")
            self._folder.finish(step)
        self._metrics[step] = metric
        if first:
            self._prune()

    def _prune(self) -> None:
        steps = self.steps()
        kept = {*steps[-self.keep :], self._find_best(steps)}
        for step in steps:
            if step not in kept:
                self._folder.delete(step)

    def _guarded(self, step: int, write: Callable[[], Any]) -> None:
        """Runs what writes; a failure is a `CheckpointError` that says what stands."""
        try:
            write()
        except Exception as error:
            if jax.process_index() == 0:  # give back the space
                with contextlib.suppress(OSError):
                    self._folder.clean()
            steps = self.steps()
            newest = f"the newest is that of step {steps[-1]}" if steps else "none yet"
            raise CheckpointError(
                f"folder: expected to write the checkpoint of step {step} to "
                f"{self.folder}, got {type(error).__name__}: {error} The state in "
                f"memory and the checkpoints written before ({newest}) are intact. "
                f"Free space or make the folder writable, or give another one."
            ) from error

    def _choose(self, step: int | str) -> int:
        if step == "best" and self.steps():
            step = self.best_step()
        return self._folder.choose(step)

    def _check(self, step: int, content: dict[str, Any], like: PyTree) -> None:
        """Raises unless the checkpoint is one of this run."""
        lines = []
        if content["format"] != FORMAT:
            lines += differences(content["format"], FORMAT, "format")
        lines += differences(content["config"], self.config)
        if not self.accept_versions:
            lines += [
                f"version of {line}"
                for line in differences(content["versions"], versions())
            ]
        lines += differences(content["state"], describe_state(like))
        if lines:
            listed = "\n  ".join(lines)
            raise CheckpointMismatch(
                f"config: expected that of the checkpoint {self._folder[step]}, got "
                f"one that differs in:\n  {listed}\nGo on with the same settings, "
                f"versions and network, or start anew in another folder. "
                f"Checkpoints(accept_versions=True) takes other versions.",
                lines,
            )

    def _content(self, step: int) -> dict[str, Any]:
        path = self._folder[step] / _RECORD
        return json.loads(path.read_text(encoding="utf-8"))

    def _find_best(self, steps: list[int]) -> int | None:
        if self.best is None:
            return None
        sign = 1 if self.mode == "min" else -1
        values = {}
        for step in steps:
            if step not in self._metrics:
                whole = find_damage(self._folder[step]) is None
                content = self._content(step) if whole else {}
                self._metrics[step] = self._metric_of(content)
            if (value := self._metrics[step]) is not None:
                values[step] = sign * value
        return min(values, key=values.__getitem__, default=None)

    def _metric_of(self, content: Mapping[str, Any]) -> float | None:
        value = content.get("record", {}).get("metrics", {}).get(self.best)
        return None if value is None or math.isnan(value) else float(value)


def _meet() -> None:
    """Waits for the first process, which adds checksums and deletes."""
    if jax.process_count() > 1:
        barrier()
