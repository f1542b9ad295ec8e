"""Records of training for TensorBoard."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rnnjax._extras import require


class TensorBoard:
    """Writes the numbers of records as scalars that TensorBoard draws.

    One of ``logs`` of `fit`. Needs the extra ``tensorboard``, for tensorboardX;
    TensorBoard itself is for looking at them: ``tensorboard --logdir FOLDER``.

    Args:
      folder: made at the first record. A resumed run adds a file, before which what was
        written later than its checkpoint is hidden.

    Raises:
      ModuleNotFoundError: tensorboardX is not installed.

    Example:
      >>> import pathlib, tempfile, rnnjax.training as training
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> board = training.TensorBoard(folder)
      >>> board({"step": 1, "loss": 0.5, "val_loss": 0.75})
      >>> board.close()
      >>> len(list(folder.glob("events.out.tfevents.*")))
      1
    """

    def __init__(self, folder: str | os.PathLike):
        require("tensorboardX", extra="tensorboard")
        self.folder = os.fspath(folder)
        self._writer: Any = None
        self._purge: int | None = None

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Writes the numbers of one record, at its step."""
        if self._writer is None:
            from tensorboardX import SummaryWriter

            # A name of its own, also where a run is resumed within the second.
            self._writer = SummaryWriter(
                self.folder,
                purge_step=self._purge,
                filename_suffix=f".{time.time_ns()}",
            )
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, record["step"])
        self._writer.flush()

    def rewind(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Hides what was written after the last of these records."""
        self.close()
        self._purge = records[-1]["step"] + 1 if records else None

    def close(self) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
