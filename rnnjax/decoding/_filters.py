"""Filters: functions of logits that reshape a distribution before a draw."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rnnjax.base import Array


def temperature(logits: Array, value: float) -> Array:
    """``(logits - max) / value``; at 0 the most probable token alone is kept.

    Args:
      logits: ``[..., V]``.
      value: not negative.

    Reference: Ackley, Hinton and Sejnowski, "A Learning Algorithm for Boltzmann
    Machines", Cognitive Science 1985.
    """
    if value < jnp.finfo(jnp.float32).tiny:
        return top_k(logits, 1)
    return (logits - jnp.max(logits, axis=-1, keepdims=True)) / value


def top_k(logits: Array, k: int) -> Array:
    """Keeps the ``k`` most probable tokens; of equal ones those that come first.

    Args:
      logits: ``[..., V]``.
      k: positive; from ``V`` on all are kept.

    Returns:
      The logits, minus infinity for what is not kept.

    Example:
      >>> import jax.numpy as jnp
      >>> from rnnjax import decoding
      >>> decoding.top_k(jnp.array([1.0, 3.0, 2.0]), 2).tolist()
      [-inf, 3.0, 2.0]

    Reference: Fan, Lewis and Dauphin, "Hierarchical Neural Story Generation", ACL 2018.
    """
    return _keep(logits, _rank(logits) < k)


def top_p(logits: Array, p: float) -> Array:
    """Keeps the fewest most probable tokens whose probabilities add up to ``p``.

    Args:
      logits: ``[..., V]``.
      p: in ``(0, 1]``; the most probable token is always kept.

    Returns:
      The logits, minus infinity for what is not kept.

    Reference: Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR
    2020.
    """
    probabilities = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
    order = jnp.argsort(-probabilities, axis=-1)
    ordered = jnp.take_along_axis(probabilities, order, axis=-1)
    before = jnp.cumsum(ordered, axis=-1) - ordered
    kept = (before < p) | (jnp.asarray(p) >= 1)
    return _keep(logits, jnp.take_along_axis(kept, _rank(logits), axis=-1))


def min_p(logits: Array, p: float) -> Array:
    """Keeps tokens with at least ``p`` times the probability of the most probable one.

    Args:
      logits: ``[..., V]``.
      p: in ``[0, 1]``.

    Returns:
      The logits, minus infinity for what is not kept.

    Reference: Nguyen et al., "Turning Up the Heat: Min-p Sampling for Creative and
    Coherent LLM Outputs", ICLR 2025.
    """
    best = jnp.max(logits, axis=-1, keepdims=True)
    return _keep(logits, logits >= best + jnp.log(jnp.asarray(p, logits.dtype)))


def repetition_penalty(logits: Array, seen: Array, penalty: float) -> Array:
    """Makes tokens that were seen less probable.

    Their logits are divided by the penalty above 0, and multiplied below.

    Args:
      logits: ``[..., V]``.
      seen: bool ``[..., V]``.
      penalty: above 1 to discourage, 1 changes nothing.

    Reference: Keskar et al., "CTRL: A Conditional Transformer Language Model for
    Controllable Generation", 2019.
    """
    penalised = jnp.where(logits > 0, logits / penalty, logits * penalty)
    return jnp.where(seen, penalised, logits)


def _rank(logits: Array) -> Array:
    """The place of each token in the order of falling logits."""
    return jnp.argsort(jnp.argsort(-logits, axis=-1), axis=-1)


def _keep(logits: Array, kept: Array) -> Array:
    return jnp.where(kept, logits, jnp.asarray(-jnp.inf, logits.dtype))
