"""Best-path decoding of connectionist temporal classification, on the device."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from rnnjax._checks import describe
from rnnjax.base import Array
from rnnjax.unroll import canonical_flags


def ctc_greedy(
    logits: Any, *, lengths: Any = None, mask: Any = None, blank: int = 0
) -> tuple[Array, Array]:
    """The labels of the most probable path: repeats joined, then blanks taken out.

    Args:
      logits: ``[T, *batch, V]``, of any scale.
      lengths: int ``[*batch]``, the number of frames.
      mask: bool ``[T, *batch]``, the valid frames; give one or the other.
      blank: the token of no label.

    Returns:
      Tokens int ``[T, *batch]``, ``blank`` after the last, and their number
      ``[*batch]``.

    Raises:
      ValueError: logits without axes of time and tokens; flags of the wrong shape;
        ``blank`` is no token.
      TypeError: flags of the wrong dtype.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from rnnjax import decoding
      >>> path = jnp.array([0, 2, 2, 0, 2, 1])
      >>> tokens, number = decoding.ctc_greedy(jax.nn.one_hot(path, 3))
      >>> tokens[:number].tolist()
      [2, 2, 1]

    Reference: Graves et al., "Connectionist Temporal Classification", ICML 2006.
    """
    logits = jnp.asarray(logits)
    if logits.ndim < 2 or not logits.shape[-1]:
        raise ValueError(f"logits: expected [T, *batch, V], got {describe(logits)}.")
    if not 0 <= blank < logits.shape[-1]:
        raise ValueError(
            f"blank: expected a token from 0 to {logits.shape[-1] - 1}, got {blank}."
        )
    length, *batch = logits.shape[:-1]
    _, mask = canonical_flags(None, lengths, mask, length, tuple(batch))
    path = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    if mask is not None:
        path = jnp.where(mask, path, blank)
    before = jnp.concatenate([jnp.full_like(path[:1], blank), path[:-1]])
    is_label = (path != blank) & (path != before)
    order = jnp.argsort(~is_label, axis=0, stable=True)  # labels first, as they come
    number = jnp.sum(is_label, axis=0).astype(jnp.int32)
    tokens = jnp.take_along_axis(jnp.where(is_label, path, blank), order, axis=0)
    return tokens, number
