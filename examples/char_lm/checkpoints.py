"""Checkpoints with Orbax: atomic, the newest few kept, all that a resume needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

KEPT = 2


class Checkpoints:
    """The checkpoints of one run.

    A checkpoint is the whole training state (parameters, optimiser state, carry, step)
    and a JSON record (settings, vocabulary, hash of the corpus, seconds used). Orbax
    writes it aside and renames it at the end, so a run that is killed while saving
    leaves the one before intact.

    Args:
        folder: where they go; made if missing.
    """

    def __init__(self, folder: Path):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT, enable_async_checkpointing=False
        )
        self.folder = folder
        self.manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def __enter__(self) -> Checkpoints:
        """Returns itself."""
        return self

    def __exit__(self, *exception) -> None:
        """Waits for what is being written."""
        self.manager.close()

    def save(self, step: int, state: Any, record: dict) -> None:
        """Writes the state after ``step`` steps."""
        self.manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), record=ocp.args.JsonSave(record)
            ),
            force=True,
        )

    def newest(self) -> int:
        """Returns the newest step that has a checkpoint.

        Raises:
            FileNotFoundError: there is none.
        """
        step = self.manager.latest_step()
        if step is None:
            raise FileNotFoundError(
                f"--resume: no checkpoint in {self.folder}. Leave --resume out to "
                "start, or give the --output of the run to go on with."
            )
        return step

    def record(self, step: int) -> dict:
        """Returns the JSON record of a checkpoint."""
        restored = self.manager.restore(
            step, args=ocp.args.Composite(record=ocp.args.JsonRestore())
        )
        return restored["record"]

    def state(self, step: int, like: Any) -> Any:
        """Returns the state of a checkpoint, in the structure of ``like``."""
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        restored = self.manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        )
        return restored["state"]
