"""Profiles of some steps of training."""

from __future__ import annotations

import os
from pathlib import Path

import jax

from rnnjax._checks import positive


class Trace:
    """Profiles some steps with `jax.profiler`, for Perfetto and TensorBoard.

    Args:
      folder: where the profile goes.
      first: number of steps of this process before it begins; the first ones compile.
      steps: how many steps it covers.

    Example:
      >>> import pathlib, tempfile, jax.numpy as jnp, rnnjax.training as training
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> trace = training.Trace(folder, first=1, steps=2)
      >>> for _ in range(4):
      ...     trace.before_step()
      ...     x = jnp.ones(3) + 1
      >>> trace.close(x)
      >>> len(list(folder.rglob("*.xplane.pb")))
      1
    """

    def __init__(self, folder: str | os.PathLike, *, first: int = 10, steps: int = 5):
        self.folder = Path(folder)
        self.first = first
        self.steps = positive("steps", steps)
        self._begun = 0
        self._running = False

    def before_step(self, last: object = None) -> None:
        """Starts or ends the profile where it is time.

        Args:
          last: arrays that the step before returned; the profile ends when they are
            there.
        """
        if self._begun == self.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(str(self.folder))
            self._running = True
        if self._begun == self.first + self.steps:
            self.close(last)
        self._begun += 1

    def close(self, last: object = None) -> None:
        """Ends a profile that is running."""
        if self._running:
            jax.block_until_ready(last)
            jax.profiler.stop_trace()
            self._running = False
