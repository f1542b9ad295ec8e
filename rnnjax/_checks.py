"""Checks of public arguments. Each error names the argument and the mend."""

from __future__ import annotations

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax._compat import is_concrete
from rnnjax.base import Array, Carry, PyTree, Shape


def describe(x: Any) -> str:
    """``float32[3,4]`` for an array, the type otherwise."""
    if not hasattr(x, "shape"):
        return f"{type(x).__name__} {x!r}"
    return f"{x.dtype}[{','.join(map(str, x.shape))}]"


def positive(name: str, value: int) -> int:
    """``value`` as a positive int, or an error that names the argument."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{name}: expected a positive integer, got {value!r}.")
    return number


def as_arrays(name: str, tree: PyTree) -> PyTree:
    """The leaves as JAX arrays, so that NumPy inputs work."""

    def convert(leaf):
        try:
            return jnp.asarray(leaf)
        except TypeError as error:
            raise TypeError(
                f"{name}: expected arrays, got {type(leaf).__name__}. Convert it with "
                f"jnp.asarray."
            ) from error

    return jax.tree.map(convert, tree)


def batch_shape_of(name: str, tree: PyTree, event_ndim: int, time: bool) -> Shape:
    """The batch axes of ``xs`` (``time=True``) or ``x``, after checking all leaves.

    The leaf of the highest rank is ``[T, *batch, *event]`` with ``event_ndim`` event
    axes; the others share the leading axes (time deltas ``[T, *batch]``, say).
    """
    leaves = jax.tree.leaves(tree)
    if not leaves:
        raise ValueError(f"{name}: expected at least one array, got none: {tree!r}.")
    lead = max(leaf.ndim for leaf in leaves) - event_ndim
    main = max(leaves, key=lambda leaf: leaf.ndim)
    if lead < time:
        axes = "[T, *batch" if time else "[*batch"
        raise ValueError(
            f"{name}: expected {axes}{', F' * event_ndim}], rank {time + event_ndim} "
            f"or more, got {describe(main)}. "
            + (
                "xs needs a leading time axis; for one step use `step`, or xs[None]."
                if time
                else "x is one step of xs."
            )
        )
    if event_ndim >= 1 and not jnp.issubdtype(main.dtype, jnp.inexact):
        raise TypeError(
            f"{name}: expected floating point features, got {describe(main)}. Convert "
            f"with {name}.astype(jnp.float32), or put rnnjax.embed before this layer "
            f"for tokens."
        )
    shape = main.shape[:lead]
    for leaf in leaves:
        if leaf.shape[:lead] != shape:
            raise ValueError(
                f"{name}: expected leaves that share their leading axes {shape}, got "
                f"{describe(leaf)}."
            )
    return shape


def check_features(name: str, x: Array, features: int) -> None:
    """Raises unless the last axis of ``x`` is what ``init`` saw."""
    if x.shape[-1:] != (features,):
        raise ValueError(
            f"{name}: expected {features} features on the last axis, as at init, got "
            f"{describe(x)}. Call init with a step of this size, or mend the input."
        )


def check_carry(carry: Carry, expected: Carry) -> None:
    """Raises unless ``carry`` has the structure, shapes and dtypes of ``expected``."""
    mend = "Take it from rnn.initial_carry(params, batch_shape) or an earlier call."
    have, want = jax.tree.structure(carry), jax.tree.structure(expected)
    if have != want:
        raise ValueError(f"carry: expected the structure {want}, got {have}. {mend}")
    with_path = jax.tree_util.tree_leaves_with_path(carry)
    for (path, leaf), like in zip(with_path, jax.tree.leaves(expected), strict=True):
        where = f"carry{jax.tree_util.keystr(path)}"
        if jnp.shape(leaf) != like.shape:
            raise ValueError(
                f"{where}: expected shape {like.shape}, got {jnp.shape(leaf)}. {mend}"
            )
        if jnp.result_type(leaf) != like.dtype:
            raise TypeError(
                f"{where}: expected dtype {like.dtype}, got {jnp.result_type(leaf)}. "
                f"{mend}"
            )


def check_flags(name: str, flags: Any, shape: Shape) -> Array | None:
    """``flags`` as a bool array of ``shape``; None stays None."""
    if flags is None:
        return None
    flags = jnp.asarray(flags)
    if flags.dtype != jnp.bool_:
        raise TypeError(
            f"{name}: expected bool, got {describe(flags)}. Convert it, for example "
            f"with {name} != 0."
        )
    if flags.shape != shape:
        raise ValueError(
            f"{name}: expected shape {shape}, the leading axes of the input, got "
            f"{flags.shape}. Broadcast it to that shape."
        )
    return flags


def mask_of_lengths(lengths: Any, length: int, batch_shape: Shape) -> Array:
    """The mask ``t < lengths``, bool ``[T, *batch]``.

    Lengths outside 0 to T raise where they are concrete, and act as if clamped to it
    where they are traced.
    """
    lengths = lengths if isinstance(lengths, jax.Array) else np.asarray(lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(
            f"lengths: expected integers, got {describe(lengths)}. For a bool array "
            f"[T, *batch] use mask=."
        )
    if lengths.shape != batch_shape:
        raise ValueError(
            f"lengths: expected shape {batch_shape}, one length for each sequence, got "
            f"{lengths.shape}."
        )
    if is_concrete(lengths) and lengths.size:
        values = np.asarray(lengths)  # jnp would stage it out under an outer trace
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > length:
            raise ValueError(
                f"lengths: expected values from 0 to T = {length}, got {low} to {high}."
            )
    time = jnp.arange(length).reshape((length,) + (1,) * len(batch_shape))
    return time < jnp.asarray(lengths)[None]
