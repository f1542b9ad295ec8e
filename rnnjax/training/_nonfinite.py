"""Losses and gradients that are not finite: found inside the step, told outside."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import Array, Carry, Params, PyTree


class NonFinite(NamedTuple):
    """What of one training step is not finite; all bool.

    Attributes:
      loss: whether the loss is.
      carry: whether any entry of the carry after the batch is.
      gradient: ``[P]``, for each parameter in the order of ``jax.tree.leaves`` whether
        any entry of its gradient is.
    """

    loss: Array
    carry: Array
    gradient: Array


class NonFiniteError(FloatingPointError):
    """Too many steps in a row were skipped; see `rnnjax.training.fit`.

    Attributes:
      state: the `TrainState` after the last step; that of the last good step but for
        the number of steps.
    """

    state = None


def find_nonfinite(loss: Array, carry: Carry, gradient: Params) -> NonFinite:
    """Looks for NaN and Inf."""
    of_parameters = [_has_nonfinite(leaf) for leaf in jax.tree.leaves(gradient)]
    of_carry = [_has_nonfinite(leaf) for leaf in jax.tree.leaves(carry)]
    none = jnp.zeros(0, bool)
    return NonFinite(
        _has_nonfinite(loss),
        jnp.stack(of_carry).any() if of_carry else jnp.asarray(False),
        jnp.stack(of_parameters) if of_parameters else none,
    )


def any_nonfinite(found: NonFinite) -> Array:
    """Whether anything is not finite, bool ``[]``."""
    return found.loss | found.carry | found.gradient.any()


def keep_if(bad: Array, old: PyTree, new: PyTree) -> PyTree:
    """``old`` where ``bad``, else ``new``."""
    return jax.tree.map(lambda o, n: jnp.where(bad, o, n), old, new)


def describe_nonfinite(found: NonFinite, params: Params, limit: int = 8) -> str:
    """Says what is not finite, parameters by their paths."""
    parts = [name for name in ("loss", "carry") if bool(getattr(found, name))]
    flat = jax.tree_util.tree_leaves_with_path(params)
    flags = np.asarray(found.gradient)
    bad = [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for (path, _), flag in zip(flat, flags, strict=True)
        if flag
    ]
    if bad:
        shown = ", ".join(bad[:limit]) + (" ..." if len(bad) > limit else "")
        parts.append(f"gradient of {len(bad)} of {len(flat)} parameters: {shown}")
    return "; ".join(parts)


def _has_nonfinite(leaf: Array) -> Array:
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
        return jnp.asarray(False)
    return ~jnp.isfinite(leaf).all()
