"""What Orbax does for checkpoints: arrays to a folder, in the background, and back."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

from rnnjax.base import PyTree


class Writer:
    """Writes one state at a time, in the background."""

    def __init__(self):
        import orbax.checkpoint as ocp

        self._executor = concurrent.futures.ThreadPoolExecutor(1, "checkpoints")
        # Made in the background, a folder that cannot be made would leave threads that
        # wait for it for minutes.
        options = ocp.options.AsyncOptions(create_directories_asynchronously=False)
        self._checkpointer = ocp.AsyncCheckpointer(
            ocp.StandardCheckpointHandler(), async_options=options
        )

    def write(
        self, path: Path, state: PyTree, then: Callable[[], None]
    ) -> concurrent.futures.Future:
        """Copies the state and begins to write it; ``then`` runs when it is there."""
        import orbax.checkpoint as ocp

        item = ocp.args.StandardSave(_snapshot(state))
        alone = jax.process_count() == 1
        if not alone:  # processes meet in a save, at the same place of their programs
            self._checkpointer.save(path, args=item)

        def rest():
            if alone:
                self._checkpointer.save(path, args=item)
            self._checkpointer.wait_until_finished()
            then()

        return self._executor.submit(rest)

    def close(self) -> None:
        """Ends the threads; nothing must be on its way."""
        self._executor.shutdown()
        self._checkpointer.close()


def read_state(path: Path, like: PyTree) -> PyTree:
    """The state at ``path``, in the types and shardings of ``like``."""
    import orbax.checkpoint as ocp

    shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, _without_empty(like))
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        state = reader.restore(path, args=ocp.args.StandardRestore(shapes))

    def with_empty(wanted, read):
        return read if wanted.size else jnp.zeros(wanted.shape, wanted.dtype)

    return jax.tree.map(with_empty, like, state)


def _without_empty(state: PyTree) -> PyTree:
    """Arrays without entries left out: Orbax does not write them."""
    return jax.tree.map(lambda a: a if a.size else None, state)


@jax.jit
def _copied(state: PyTree) -> PyTree:
    return jax.tree.map(jnp.copy, state)


def _snapshot(state: PyTree) -> PyTree:
    """A copy on the device: the next step gives the memory of the state away."""
    return _copied(_without_empty(jax.tree.map(jnp.asarray, state)))
