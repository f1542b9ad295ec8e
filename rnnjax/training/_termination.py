"""SIGTERM: a note that the run shall end, read between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import jax

from rnnjax._compat import reached_preemption


class Terminated(SystemExit):
    """The process was told to end (SIGTERM) and has saved; its exit status is 0."""

    def __init__(self):
        super().__init__(0)


class Termination:
    """Takes note of SIGTERM while in use, a context manager.

    Args:
      active: False leaves the signal as it is. So does a thread other than the main
        one, which cannot handle signals, and one of several processes, where JAX does.

    Attributes:
      requested: whether the signal came.
    """

    def __init__(self, active: bool = True):
        in_main = threading.current_thread() is threading.main_thread()
        self._active = active and in_main and jax.process_count() == 1
        self._interruptible = False
        self.requested = False

    def __enter__(self) -> Termination:
        """Begins to listen."""
        if self._active:
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *exception: Any) -> None:
        """Puts back what handled the signal before."""
        if self._active:
            signal.signal(signal.SIGTERM, self._before)

    def interruptible(self) -> Interruptible:
        """A context in which the signal raises `Terminated` at once.

        For what may take long and changes nothing that is saved, such as validation.
        """
        return Interruptible(self)

    def agreed(self, step: int) -> bool:
        """Whether to end after this step; the same on all processes."""
        if jax.process_count() > 1:
            return reached_preemption(step)
        return self.requested

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if self._interruptible:
            self._interruptible = False
            raise Terminated


class Interruptible:
    """See `Termination.interruptible`."""

    def __init__(self, termination: Termination):
        self._termination = termination

    def __enter__(self) -> None:
        if self._termination.requested:
            raise Terminated
        self._termination._interruptible = True

    def __exit__(self, *exception: Any) -> None:
        self._termination._interruptible = False
