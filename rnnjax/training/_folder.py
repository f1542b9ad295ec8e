"""The folder of a run's checkpoints, in which each is whole at every moment."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

from rnnjax.training._sums import find_damage, is_summed, write_sums

_NEW = ".new"
_DELETED = ".deleted"


class CheckpointError(OSError):
    """A checkpoint could not be written or read.

    Attributes:
      state: from `rnnjax.training.fit`, the `TrainState` that could not be written.
    """

    state = None


class CheckpointFolder:
    """Checkpoints by their steps, each a folder in this one.

    That of step 20 is written into ``20.new``, and is whole once it has checksums: from
    there on it counts, in place of an older one of the same step. Then the older one is
    deleted and ``20.new`` becomes ``20``. What is deleted becomes ``20.deleted`` first.
    So whatever a killed process leaves, the checkpoints that count are whole.

    Args:
      path: made by `begin`, with the folders above it.
    """

    def __init__(self, path: Path):
        self.path = path

    def steps(self) -> list[int]:
        """The steps of all checkpoints there are, those damaged since among them."""
        new = (step for step, path in self._paths(_NEW).items() if is_summed(path))
        return sorted({*self._paths(""), *new})

    def __getitem__(self, step: int) -> Path:
        """Where to read the checkpoint of a step."""
        new = self.new(step)
        return new if is_summed(new) else self._path(step)

    def choose(self, step: int | str) -> int:
        """The step to read: that one if it is whole, or the "newest" that is.

        Raises:
          FileNotFoundError: there is no such checkpoint.
          CheckpointError: it is damaged, or all are.
        """
        steps = self.steps()
        if not steps:
            raise FileNotFoundError(
                f"step: expected a checkpoint in {self.path}, found none. Start "
                f"without resuming, or give the folder of the run to go on with."
            )
        if step == "newest":
            return self._newest_whole(steps)
        if step not in steps:
            raise FileNotFoundError(
                f"step: expected 'newest', 'best' or one of {steps} in {self.path}, "
                f"got {step!r}."
            )
        if damage := find_damage(self[int(step)]):
            raise CheckpointError(
                f"step: the checkpoint {self[int(step)]} is damaged ({damage}). "
                f"There are {[s for s in steps if s != step]}."
            )
        return int(step)

    def _newest_whole(self, steps: list[int]) -> int:
        damaged = []
        for step in reversed(steps):
            damage = find_damage(self[step])
            if damage is None:
                break
            damaged.append(f"{self[step]} ({damage})")
        else:
            raise CheckpointError(
                f"step: expected a checkpoint that is whole in {self.path}, got "
                f"only damaged ones: {'; '.join(damaged)}."
            )
        if damaged:
            warnings.warn(
                f"Damaged checkpoint {'; '.join(damaged)}: using the one before it, "
                f"{self[step]}.",
                stacklevel=5,
            )
        return step

    def new(self, step: int) -> Path:
        """Where to write the checkpoint of a step, between `begin` and `finish`."""
        return self._path(step, _NEW)

    def begin(self, step: int) -> None:
        """Makes the folder to write into."""
        self.clean()
        self.new(step).mkdir(parents=True)

    def finish(self, step: int) -> None:
        """All is written: from here on it is the checkpoint of that step."""
        write_sums(self.new(step))
        self._name(step)

    def delete(self, step: int) -> None:
        """Deletes a checkpoint."""
        aside = self._path(step, _DELETED)
        shutil.rmtree(aside, ignore_errors=True)
        self._path(step).rename(aside)
        shutil.rmtree(aside)

    def clean(self) -> None:
        """Ends what a save or a deletion that was killed, or failed, has begun."""
        for path in self._paths(_DELETED).values():
            shutil.rmtree(path)
        for step, path in self._paths(_NEW).items():
            if is_summed(path):
                self._name(step)
            else:
                shutil.rmtree(path)

    def _name(self, step: int) -> None:
        if self._path(step).exists():
            self.delete(step)
        self.new(step).rename(self._path(step))

    def _path(self, step: int, suffix: str = "") -> Path:
        return self.path / f"{step}{suffix}"

    def _paths(self, suffix: str) -> dict[int, Path]:
        """The folders of such names, by their steps."""
        found = self.path.iterdir() if self.path.is_dir() else ()
        return {
            int(path.stem): path
            for path in found
            if path.stem.isdecimal() and path.suffix == suffix and path.is_dir()
        }
