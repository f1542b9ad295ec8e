"""Checkpoints by Orbax: in the background, whole or not at all, checked when read."""

from __future__ import annotations

import concurrent.futures
import math
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax._checks import positive
from rnnjax._extras import require
from rnnjax.base import PyTree
from rnnjax.sharding import barrier
from rnnjax.training._differences import (
    as_json,
    describe_state,
    differences,
    versions,
)
from rnnjax.training._sums import find_damage, is_summed, write_sums

FORMAT = 1
_UNFINISHED = ".orbax-checkpoint-tmp"
_DELETED = ".deleted"


class CheckpointError(OSError):
    """A checkpoint could not be written or read.

    Attributes:
      state: from `rnnjax.training.fit`, the `TrainState` that could not be written.
    """

    state = None


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
    aside that is renamed once it is whole, with the SHA-256 of every file. A run killed
    while it saves leaves the checkpoint before it as it was; a checkpoint that was
    damaged later is found out when it is read, and the one before it is taken.

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
        self._executor: concurrent.futures.ThreadPoolExecutor | None = None
        self._pending: concurrent.futures.Future | None = None
        self._checkpointer: Any = None

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
            step is replaced.

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
            "record": as_json("record", dict(record or {})),
        }
        self.wait()
        self._guarded(step, lambda: self._begin(step, _snapshot(state), content))

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
            if self._executor is not None:
                self._executor.shutdown()
                self._checkpointer.close()
                self._executor = self._checkpointer = None

    def steps(self) -> list[int]:
        """The steps of all checkpoints there are, damaged ones among them."""
        if not self.folder.is_dir():
            return []
        names = (path.name for path in self.folder.iterdir() if path.is_dir())
        return sorted(int(name) for name in names if name.isdecimal())

    def is_finished(self, step: int) -> bool:
        """Whether the save of that step came to its end; it may be damaged since."""
        return is_summed(self._path(step))

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
        state = self._read_state(step, like)
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
        later = [s for s in self.steps() if s > step]
        if jax.process_index() == 0:
            self._guarded(step, lambda: [self._delete(s) for s in later])
        _meet()

    def _begin(self, step: int, state: PyTree, content: dict[str, Any]) -> None:
        """Starts writing; what must be seen by this thread is done when it returns."""
        import orbax.checkpoint as ocp

        if self._executor is None:
            self._executor = concurrent.futures.ThreadPoolExecutor(1, "checkpoints")
            # Made in the background, a folder that cannot be made would leave threads
            # that wait for it for minutes.
            options = ocp.options.AsyncOptions(create_directories_asynchronously=False)
            self._checkpointer = ocp.AsyncCheckpointer(
                ocp.CompositeCheckpointHandler(), async_options=options
            )
            if jax.process_index() == 0:
                self._clean()
        if jax.process_index() == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._path(step).exists():
                self._delete(step)
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), record=ocp.args.JsonSave(content)
        )
        alone = jax.process_count() == 1
        if not alone:  # processes meet in a save, at the same place of their programs
            self._checkpointer.save(self._path(step), args=items)
        self._metrics[step] = self._metric_of(content)
        self._pending_step = step
        self._pending = self._executor.submit(
            self._finish, step, items if alone else None
        )

    def _finish(self, step: int, items: Any) -> None:
        """In the background: Orbax writes, checksums are added, old ones deleted."""
        if items is not None:
            self._checkpointer.save(self._path(step), args=items)
        self._checkpointer.wait_until_finished()
        if jax.process_index() == 0:
            write_sums(self._path(step))
            self._prune()

    def _prune(self) -> None:
        steps = self.steps()
        kept = {*steps[-self.keep :], self._find_best(steps)}
        for step in steps:
            if step not in kept:
                self._delete(step)

    def _clean(self) -> None:
        """Removes what a killed run left half written or half deleted."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name.endswith(_DELETED) or _UNFINISHED in path.name:
                    shutil.rmtree(path)

    def _delete(self, step: int) -> None:
        """Renamed first, so that a half deleted one never looks like a checkpoint."""
        aside = self.folder / f"{step}{_DELETED}"
        shutil.rmtree(aside, ignore_errors=True)
        self._path(step).rename(aside)
        shutil.rmtree(aside)
        self._metrics.pop(step, None)

    def _guarded(self, step: int, write: Callable[[], Any]) -> None:
        """Runs what writes; a failure is a `CheckpointError` that says what stands."""
        try:
            write()
        except Exception as error:
            self._remove_unfinished(step)
            whole = [s for s in self.steps() if s != step]
            newest = f"the newest is that of step {whole[-1]}" if whole else "none yet"
            raise CheckpointError(
                f"folder: expected to write the checkpoint of step {step} to "
                f"{self.folder}, got {type(error).__name__}: {error} The state in "
                f"memory and the checkpoints written before ({newest}) are intact. "
                f"Free space or make the folder writable, or give another one."
            ) from error

    def _remove_unfinished(self, step: int) -> None:
        """Gives back the space of a save that failed."""
        for path in (self._path(step), *self.folder.glob(f"{step}{_UNFINISHED}*")):
            unfinished = path != self._path(step) or find_damage(path)
            if unfinished:
                shutil.rmtree(path, ignore_errors=True)

    def _choose(self, step: int | str) -> int:
        steps = self.steps()
        if not steps:
            raise FileNotFoundError(
                f"step: expected a checkpoint in {self.folder}, found none. Start "
                f"without resuming, or give the folder of the run to go on with."
            )
        if step == "newest":
            return self._newest_whole(steps)
        if step == "best":
            step = self.best_step()
        if step not in steps:
            raise FileNotFoundError(
                f"step: expected 'newest', 'best' or one of {steps} in {self.folder}, "
                f"got {step!r}."
            )
        if damage := find_damage(self._path(int(step))):
            raise CheckpointError(
                f"step: the checkpoint {self._path(int(step))} is damaged ({damage}). "
                f"There are {[s for s in steps if s != step]}."
            )
        return int(step)

    def _newest_whole(self, steps: list[int]) -> int:
        damaged = []
        for step in reversed(steps):
            damage = find_damage(self._path(step))
            if damage is None:
                break
            damaged.append(f"{self._path(step)} ({damage})")
        else:
            raise CheckpointError(
                f"step: expected a checkpoint that is whole in {self.folder}, got "
                f"only damaged ones: {'; '.join(damaged)}."
            )
        if damaged:
            warnings.warn(
                f"Damaged checkpoint {'; '.join(damaged)}: using the one before it, "
                f"{self._path(step)}.",
                stacklevel=4,
            )
        return step

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
                f"config: expected that of the checkpoint {self._path(step)}, got one "
                f"that differs in:\n  {listed}\nGo on with the same settings, versions "
                f"and network, or start anew in another folder. "
                f"Checkpoints(accept_versions=True) takes other versions.",
                lines,
            )

    def _content(self, step: int) -> dict[str, Any]:
        import orbax.checkpoint as ocp

        # By the handler alone: in a Checkpointer all processes would have to meet, and
        # the first one reads records by itself.
        record = self._path(step) / "record"
        item = ocp.args.JsonRestore()
        return ocp.JsonCheckpointHandler().restore(record, args=item)  # type: ignore

    def _read_state(self, step: int, like: PyTree) -> PyTree:
        import orbax.checkpoint as ocp

        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, _without_empty(like))
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
            item = ocp.args.Composite(state=ocp.args.StandardRestore(shapes))
            state = reader.restore(self._path(step), args=item)["state"]

        def with_empty(wanted, read):
            return read if wanted.size else jnp.zeros(wanted.shape, wanted.dtype)

        return jax.tree.map(with_empty, like, state)

    def _find_best(self, steps: list[int]) -> int | None:
        if self.best is None:
            return None
        sign = 1 if self.mode == "min" else -1
        values = {}
        for step in steps:
            if step not in self._metrics:
                whole = find_damage(self._path(step)) is None
                content = self._content(step) if whole else {}
                self._metrics[step] = self._metric_of(content)
            if (value := self._metrics[step]) is not None:
                values[step] = sign * value
        return min(values, key=values.__getitem__, default=None)

    def _metric_of(self, content: Mapping[str, Any]) -> float | None:
        value = content.get("record", {}).get("metrics", {}).get(self.best)
        return None if value is None or math.isnan(value) else float(value)

    def _path(self, step: int) -> Path:
        return self.folder / str(step)


def _meet() -> None:
    """Waits for the first process, which adds checksums and deletes."""
    if jax.process_count() > 1:
        barrier()


def _without_empty(state: PyTree) -> PyTree:
    """Arrays without entries left out: Orbax does not write them."""
    return jax.tree.map(lambda a: a if a.size else None, state)


@jax.jit
def _copied(state: PyTree) -> PyTree:
    return jax.tree.map(jnp.copy, state)


def _snapshot(state: PyTree) -> PyTree:
    """A copy on the device: the next step gives the memory of the state away."""
    return _copied(_without_empty(jax.tree.map(jnp.asarray, state)))
