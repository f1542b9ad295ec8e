"""What goes into a checkpoint of `fit`, and how a run goes on from one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import Array
from rnnjax.training._books import Books
from rnnjax.training._checkpoints import CheckpointMismatch, Checkpoints
from rnnjax.training._data import BatchStream
from rnnjax.training._differences import differences
from rnnjax.training._state import TrainState


def record_of(books: Books, source: BatchStream, key: Array) -> dict[str, Any]:
    """What is saved beside the state."""
    return {
        "metrics": books.latest,
        "books": books.as_json(),
        "place": source.place(),
        "run": _identity(source, key),
    }


def resumed(
    checkpoints: Checkpoints,
    resume: bool | str,
    state: TrainState,
    books: Books,
    source: BatchStream,
    key: Array,
) -> tuple[TrainState, Books]:
    """State and books to begin with; ``source`` is moved to its place.

    Raises:
      FileExistsError: there are checkpoints and ``resume`` is False.
      CheckpointMismatch: the checkpoint is of a run with other keys or other data.
    """
    steps = checkpoints.steps()
    if not resume or (resume == "auto" and not steps):
        if steps:
            raise FileExistsError(
                f"checkpoints: expected a folder without checkpoints, got those of "
                f"steps {steps} in {checkpoints.folder}. Give resume=True to go on "
                f"with that run, or another folder."
            )
        return state, books
    found = checkpoints.restore(state)
    lines = differences(found.record["run"], _identity(source, key))
    if lines:
        listed = "\n  ".join(lines)
        raise CheckpointMismatch(
            f"data, key: expected those of the run in {checkpoints.folder}, got others:"
            f"\n  {listed}\nGive the same, or start anew in another folder.",
            lines,
        )
    checkpoints.discard_after(found.step)
    source.seek(found.record["place"])
    return found.state, Books.from_json(found.record["books"])


def _identity(source: BatchStream, key: Array) -> dict[str, Any]:
    """What of data and randomness can be compared."""
    return {
        "key": np.asarray(_key_data(key)).tolist(),
        "batches": source.length(),
    }


def _key_data(key: Array) -> Array:
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(key) if typed else key
