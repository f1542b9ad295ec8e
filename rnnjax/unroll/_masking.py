"""Masks, lengths and resets: one place for their semantics."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

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
        return jnp.where(flags.reshape(shape), a, b)

    return jax.tree.map(choose, on_true, on_false)


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
