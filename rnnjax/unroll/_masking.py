"""Masks, lengths and resets: one place for their semantics."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from rnnjax._checks import check_flags, mask_of_lengths
from rnnjax.base import Array, PyTree, Shape


def select(flags: Array | None, on_true: PyTree, on_false: PyTree) -> PyTree:
    """``where(flags, on_true, on_false)`` with flags ``[*lead]`` over leading axes.

    ``on_false`` may be broadcast against ``on_true``. ``flags=None`` is ``on_true``.
    """
    if flags is None:
        return on_true

    def choose(a, b):
        shape = flags.shape + (1,) * (jnp.ndim(a) - flags.ndim)
        return jnp.where(*_same_sharding(flags.reshape(shape), a, b))

    return jax.tree.map(choose, on_true, on_false)


def _same_sharding(*arrays: Array) -> tuple[Array, ...]:
    """Arrays of one rank, each axis sharded as in the first array that shards it.

    Under explicit sharding `jnp.where` demands it, and a carry that does not depend on
    the input (zeros, a time index) is not sharded by itself.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if jax.sharding.AxisType.Explicit not in mesh.axis_types:
        return arrays
    rank = jnp.ndim(arrays[0])
    specs = [tuple(jax.typeof(a).sharding.spec) for a in arrays]
    specs = [spec + (None,) * (rank - len(spec)) for spec in specs]
    axes = [next(filter(None, along), None) for along in zip(*specs, strict=True)]

    def spec_of(array):
        shape = jnp.shape(array)
        return [a if n != 1 else None for a, n in zip(axes, shape, strict=True)]

    return tuple(jax.sharding.reshard(a, P(*spec_of(a))) for a in arrays)


def zero_where_masked(mask: Array | None, tree: PyTree) -> PyTree:
    """Zeros where the mask is false; PRNG keys, which have no zero, are kept."""

    def blank(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return leaf
        return select(mask, leaf, jnp.zeros((1,) * leaf.ndim, leaf.dtype))

    return tree if mask is None else jax.tree.map(blank, tree)


def canonical_flags(
    resets: Any, lengths: Any, mask: Any, length: int, batch_shape: Shape
) -> tuple[Array | None, Array | None]:
    """``(resets, mask)`` as bool ``[T, *batch]`` or None, checked.

    ``lengths`` becomes a mask. A reset at a masked step does nothing, so it is taken
    out here.
    """
    if mask is not None and lengths is not None:
        raise ValueError(
            "mask and lengths: expected one of them at most, got both. lengths is the "
            "mask t < lengths; combine the two into mask."
        )
    shape = (length, *batch_shape)
    resets = check_flags("resets", resets, shape)
    mask = check_flags("mask", mask, shape)
    if lengths is not None:
        mask = mask_of_lengths(lengths, length, batch_shape)
    if resets is not None and mask is not None:
        resets = resets & mask
    return resets, mask
