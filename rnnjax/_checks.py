"""Checks of public arguments. Each error names the argument and the mend."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
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


def check_recurrent(kernel: Any, h: Array) -> None:
    """Raises unless a recurrent kernel ``[H, G H]`` takes the hidden state ``h``.

    What is no array, but stands for a kernel spread over devices, is not checked.
    """
    hidden_size = h.shape[-1]
    rows, columns = getattr(kernel, "shape", (hidden_size, hidden_size))
    if rows != hidden_size or columns % hidden_size:
        raise ValueError(
            f"params['recurrent']['kernel']: expected [H, G * H] with H = "
            f"{hidden_size}, the hidden_size of this layer, got {describe(kernel)}. "
            f"Run these params by a layer of their own hidden_size, or call init again."
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


def check_logits(name: str, logits: Any) -> Array:
    """``logits`` ``[..., K]`` as floats, float32 at least."""
    logits = jnp.asarray(logits)
    if logits.ndim < 1 or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(
            f"{name}: expected floating point logits [..., K], got {describe(logits)}."
        )
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def check_labels(
    name: str, labels: Any, shape: Shape, classes: int | None, mask: Array | None = None
) -> Array:
    """``labels`` as int32 of ``shape``, in ``[0, classes)`` where the mask is true.

    What is out of range raises where it is concrete.
    """
    labels = labels if isinstance(labels, jax.Array) else np.asarray(labels)
    if labels.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {labels.shape}.")
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(
            f"{name}: expected integers, got {describe(labels)}. For logits or "
            f"probabilities take their argmax(-1)."
        )
    if classes is not None and is_concrete(labels) and is_concrete(mask):
        values = np.asarray(labels)[... if mask is None else np.asarray(mask)]
        if values.size and (values.min() < 0 or values.max() >= classes):
            raise ValueError(
                f"{name}: expected labels from 0 to {classes - 1}, got "
                f"{values.min()} to {values.max()}. Where these are padding, pass mask."
            )
    return jnp.asarray(labels).astype(jnp.int32)


def check_predictions(
    predictions: Any, targets: Any, mask: Any
) -> tuple[Array, Array, Array]:
    """Floats of one shape, 0 where the mask is false, and the mask in that shape.

    The mask may be without their last axis.
    """
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    if predictions.shape != targets.shape:
        raise ValueError(
            f"predictions: expected the shape of targets, {targets.shape}, got "
            f"{predictions.shape}."
        )
    dtype = jnp.promote_types(predictions.dtype, targets.dtype)
    dtype = jnp.promote_types(dtype, jnp.float32)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"predictions: expected real numbers, got {dtype}.")
    shape = targets.shape
    if mask is None:
        mask = jnp.ones(shape, bool)
    without = np.ndim(mask) == len(shape) - 1
    check_flags("mask", mask, shape[:-1] if without else shape)
    mask = jnp.asarray(mask)
    mask = jnp.broadcast_to(mask[..., None] if without else mask, shape)
    predictions, targets = (
        jnp.where(mask, array.astype(dtype), 0) for array in (predictions, targets)
    )
    return predictions, targets, mask


@contextmanager
def in_our_words(message: str, *theirs: str) -> Iterator[None]:
    """An error of JAX that has one of these words in it becomes a TypeError of ours."""
    try:
        yield
    except (NotImplementedError, TypeError) as error:
        if not any(words in str(error) for words in theirs):
            raise
        raise TypeError(message) from error
