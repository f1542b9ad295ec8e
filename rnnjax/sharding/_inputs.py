"""What the parallel layers check and complete before they go to the devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rnnjax._checks import (
    as_arrays,
    batch_shape_of,
    check_carry,
    check_flags,
    mask_of_lengths,
)
from rnnjax._compat import is_explicit
from rnnjax.base import Array, Carry, PyTree, Shape, StepKeys, step_keys
from rnnjax.sharding._mesh import check_divides


class Inputs(NamedTuple):
    """The arguments of ``unroll``, checked; flags are bool ``[T, *batch]`` or None."""

    carry: Carry
    xs: PyTree
    resets: Array | None
    mask: Array | None
    keys: StepKeys | None
    length: int
    batch: Shape


def sequence_inputs(
    first: Callable[[Shape], Carry],
    event_ndim: int,
    carry: Carry | None,
    xs: PyTree,
    *,
    resets: Any = None,
    lengths: Any = None,
    mask: Any = None,
    key: Any = None,
) -> Inputs:
    """The arguments of ``unroll``, but for the parameters, and ``reverse``.

    Args:
      first: ``batch_shape -> carry``, the initial one.
      event_ndim: rank of one example of ``xs``.
      carry: None is the initial one.
      xs: leaves ``[T, *batch, ...]``.
      resets: as for `RNN.unroll`.
      lengths: become a mask.
      mask: as for `RNN.unroll`.
      key: a PRNG key, `StepKeys` or None.

    Raises:
      ValueError: shapes that do not fit; both ``mask`` and ``lengths``.
    """
    xs = as_arrays("xs", xs)
    length, *rest = batch_shape_of("xs", xs, event_ndim, time=True)
    batch = tuple(rest)
    if mask is not None and lengths is not None:
        raise ValueError(
            "mask and lengths: expected one of them at most, got both. lengths is the "
            "mask t < lengths; combine the two into mask."
        )
    resets = check_flags("resets", resets, (length, *batch))
    mask = check_flags("mask", mask, (length, *batch))
    if lengths is not None:
        mask = mask_of_lengths(lengths, length, batch)
    keys = None if key is None else step_keys(key, length)
    carry = given_carry(carry, first(batch))
    return Inputs(carry, xs, resets, mask, keys, length, batch)


def given_carry(carry: Carry | None, first: Carry) -> Carry:
    """``carry`` checked against the initial one, which None stands for."""
    if carry is None:
        return first
    check_carry(carry, first)
    return jax.tree.map(jnp.asarray, carry)


def rows_of(batch: Shape, mesh: Mesh, data: str | None) -> tuple[str | None, ...]:
    """How the batch axes are split: the first one over ``data``."""
    if batch:
        mend = "Pad the batch, or drop rows."
        check_divides("xs (batch axis)", batch[0], mesh, data, mend)
    return (data, *(None,) * (len(batch) - 1)) if batch else ()


def placed(tree: PyTree, mesh: Mesh, specs: PyTree) -> PyTree:
    """The arguments of a `jax.shard_map` as it wants them under explicit sharding.

    Elsewhere the compiler brings them there.
    """
    if not is_explicit(mesh):
        return tree

    def place(spec, part):
        sharding = NamedSharding(mesh, spec)
        return jax.tree.map(lambda leaf: jax.sharding.reshard(leaf, sharding), part)

    is_spec = lambda spec: isinstance(spec, PartitionSpec)  # noqa: E731
    return jax.tree.map(place, specs, tree, is_leaf=is_spec)
