"""Where arrays live: the same on every device, by rows of the batch, by hidden units.

All of it works in one process and in many. In many, every process calls the same
functions in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rnnjax.base import PyTree
from rnnjax.sharding._mesh import axis_size, check_divides

Rule: TypeAlias = Callable[[tuple[str, ...], Any], PartitionSpec]
"""``(path, leaf) -> PartitionSpec``: where a leaf lives; ``path`` are its keys."""


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Puts a copy of every leaf on every device of the mesh.

    Args:
      tree: arrays, the same ones in every process.
      mesh: of `mesh`.

    Returns:
      The tree with leaves that are whole on every device.

    Example:
      >>> import jax.numpy as jnp
      >>> from rnnjax import sharding
      >>> mesh = sharding.mesh("data=1")
      >>> params = sharding.replicate({"kernel": jnp.ones(3)}, mesh)
      >>> params["kernel"].sharding.is_fully_replicated
      True
    """
    return shard(tree, mesh, lambda path, leaf: PartitionSpec())


def shard(tree: PyTree, mesh: Mesh, rule: Rule | PartitionSpec) -> PyTree:
    """Puts every leaf where a rule says.

    Args:
      tree: arrays, the same ones in every process.
      mesh: of `mesh`.
      rule: a `PartitionSpec` for all leaves, or ``(path, leaf) -> PartitionSpec``, as
        `units` is; ``path`` are the names on the way to the leaf.

    Returns:
      The tree, each leaf split over the devices.

    Raises:
      ValueError: a size that the mesh axis does not divide; the error names the leaf.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax.sharding import PartitionSpec as P
      >>> from rnnjax import sharding
      >>> mesh = sharding.mesh("model=1")
      >>> params = {"kernel": jnp.ones((4, 8))}
      >>> params = sharding.shard(params, mesh, P(None, "model"))
      >>> params["kernel"].sharding.spec == P(None, "model")
      True
    """
    return jax.device_put(tree, shardings(tree, mesh, rule))


def shardings(tree: PyTree, mesh: Mesh, rule: Rule | PartitionSpec) -> PyTree:
    """The `jax.sharding.NamedSharding` of every leaf, as `shard` would place it.

    They are what ``jax.jit(out_shardings=...)`` takes, so that parameters too large for
    one device are made in pieces, and what a checkpoint is restored into.

    Args:
      tree: arrays or `jax.ShapeDtypeStruct`, as of `jax.eval_shape`.
      mesh: of `mesh`.
      rule: as for `shard`.

    Returns:
      A tree of `NamedSharding`.

    Raises:
      ValueError: a size that the mesh axis does not divide; the error names the leaf.

    Example:
      >>> import jax, rnnjax
      >>> from rnnjax import sharding
      >>> mesh = sharding.mesh("model=1")
      >>> rnn = sharding.tensor_parallel(rnnjax.cells.lstm, 8, mesh=mesh)
      >>> args = jax.random.key(0), jax.numpy.ones(4)
      >>> shapes = jax.eval_shape(rnn.init, *args)
      >>> where = sharding.shardings(shapes, mesh, sharding.units("model"))
      >>> params = jax.jit(rnn.init, out_shardings=where)(*args)
      >>> params["recurrent"]["kernel"].sharding == where["recurrent"]["kernel"]
      True
    """

    def place(path, leaf):
        keys = tuple(map(_name, path))
        spec = rule if isinstance(rule, PartitionSpec) else rule(keys, leaf)
        _check_fits("/".join(keys) or "tree", leaf, mesh, spec)
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(place, tree)


def shard_batch(batch: PyTree, mesh: Mesh, axis: str = "data", rows: int = 1) -> PyTree:
    """Splits a batch over the devices, by rows.

    In many processes, ``batch`` is this process's share alone (`process_rows`), and
    what comes back is the whole.

    Args:
      batch: leaves ``[T, B, ...]``, as for ``rnn.unroll``.
      mesh: of `mesh`.
      axis: the mesh axis that the rows are split over.
      rows: which axis of the leaves the rows are; 0 for leaves ``[B, ...]``, such as a
        carry.

    Returns:
      The batch as arrays split over the mesh axis, and copied over the other ones.

    Raises:
      ValueError: no such mesh axis, or it does not divide the number of rows.

    Example:
      >>> import jax.numpy as jnp
      >>> from rnnjax import sharding
      >>> mesh = sharding.mesh("data=1")
      >>> batch = sharding.shard_batch({"inputs": jnp.ones((10, 4, 3))}, mesh)
      >>> batch["inputs"].sharding.spec[1]
      'data'
    """
    count = axis_size("axis", mesh, axis)
    sharding = NamedSharding(mesh, row_spec(axis, rows))
    processes = jax.process_count()

    def place(leaf):
        leaf = np.asarray(leaf) if not isinstance(leaf, jax.Array) else leaf
        if leaf.ndim <= rows:
            raise ValueError(
                f"batch: expected leaves with rows on axis {rows}, got shape "
                f"{leaf.shape}. Give rows=0 for leaves [B, ...]."
            )
        if processes == 1:
            check_divides(
                "batch", leaf.shape[rows], mesh, axis, "Pad it, or drop rows."
            )
            return jax.device_put(leaf, sharding)
        mine = len(process_rows(count, mesh, axis))
        if leaf.shape[rows] % mine:
            raise ValueError(
                f"batch: expected a multiple of {mine} rows, the devices of this "
                f"process on the mesh axis {axis!r}, got {leaf.shape[rows]}. Give "
                f"the rows that process_rows says."
            )
        shape = list(leaf.shape)
        shape[rows] = leaf.shape[rows] // mine * count
        return jax.make_array_from_process_local_data(sharding, leaf, tuple(shape))

    return jax.tree.map(place, batch)


def process_rows(batch_size: int, mesh: Mesh, axis: str = "data") -> np.ndarray:
    """Which rows of the whole batch this process reads and gives to `shard_batch`.

    In one process these are all. The rows follow the mesh and not the number of the
    process, since a mesh may order devices otherwise.

    Args:
      batch_size: of the whole batch.
      mesh: of `mesh`.
      axis: the mesh axis that the rows are split over.

    Returns:
      Row numbers, int ``[B of this process]``, ascending.

    Raises:
      ValueError: no such mesh axis, or it does not divide ``batch_size``.

    Example:
      >>> from rnnjax import sharding
      >>> sharding.process_rows(4, sharding.mesh("data=1"))
      array([0, 1, 2, 3])
    """
    check_divides("batch_size", batch_size, mesh, axis, "Take another batch size.")
    sharding = NamedSharding(mesh, PartitionSpec(axis))
    pieces = sharding.addressable_devices_indices_map((batch_size,)).values()
    every = np.arange(batch_size)
    mine = [every[index] for index in pieces if index is not None]
    return np.unique(np.concatenate(mine)) if mine else every[:0]


def shard_state(
    state: Any, mesh: Mesh, axis: str | None = "data", rule: Rule | None = None
) -> Any:
    """Places what training passes from step to step.

    Args:
      state: a NamedTuple such as `rnnjax.training.TrainState`. Its field ``carry`` is
        split by rows, everything else goes where ``rule`` says.
      mesh: of `mesh`.
      axis: the mesh axis that the batch is split over; None for none.
      rule: as for `shard`; None copies to every device. Optimisers keep trees of the
        parameters' structure, so that a rule on paths places their states along.

    Returns:
      The state.

    Raises:
      ValueError: a size that a mesh axis does not divide; the error names the leaf.

    Example:
      >>> import jax.numpy as jnp
      >>> from typing import Any, NamedTuple
      >>> from rnnjax import sharding
      >>> class State(NamedTuple):
      ...     params: Any
      ...     carry: Any
      >>> state = State(jnp.ones(3), jnp.zeros((4, 8)))
      >>> state = sharding.shard_state(state, sharding.mesh("data=1"))
      >>> state.params.sharding.is_fully_replicated, state.carry.sharding.spec[0]
      (True, 'data')
    """
    carry = shard(state.carry, mesh, row_spec(axis, 0))
    rest = state._replace(carry=None)
    rest = replicate(rest, mesh) if rule is None else shard(rest, mesh, rule)
    return rest._replace(carry=carry)


def row_spec(axis: str | None, rows: int) -> PartitionSpec:
    """Rows on that axis of an array, split over a mesh axis."""
    return PartitionSpec(*[None] * rows, axis)


def _name(key: Any) -> str:
    """The name of one step of a path: of a dict, a NamedTuple or a sequence."""
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _check_fits(name: str, leaf: Any, mesh: Mesh, spec: PartitionSpec) -> None:
    """Raises unless the mesh axes of a spec divide the axes of the leaf."""
    shape = np.shape(leaf)
    if len(spec) > len(shape):
        raise ValueError(
            f"{name}: expected an array with {len(spec)} axes for {spec}, got shape "
            f"{shape}."
        )
    for size, axes in zip(shape, spec, strict=False):
        for axis in (axes,) if isinstance(axes, str) else axes or ():
            mend = "Take a size that it divides, or leave this axis whole."
            size = check_divides(name, size, mesh, axis, mend)
