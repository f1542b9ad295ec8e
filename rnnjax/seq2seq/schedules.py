"""How often a decoder is shown the truth, step of training by step.

A schedule is ``step -> probability`` of teacher forcing; it may be called under jit.
All fall from 1 (or ``start``) as training goes on.

Reference: Bengio et al., "Scheduled Sampling for Sequence Prediction with Recurrent
Neural Networks", NeurIPS 2015, section 2.4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from rnnjax.base import Array

__all__ = ["Probability", "constant", "exponential", "inverse_sigmoid", "linear"]

Probability: TypeAlias = Callable[[Any], Array]


def constant(probability: float) -> Probability:
    """The same probability at every step.

    Raises:
      ValueError: outside ``[0, 1]``.
    """
    _check("probability", 0 <= probability <= 1, "in [0, 1]", probability)
    return lambda step: jnp.full(jnp.shape(step), probability, jnp.float32)


def linear(steps: int, *, start: float = 1.0, end: float = 0.0) -> Probability:
    """``max(end, start - (start - end) i / steps)``.

    Args:
      steps: after so many the probability is ``end``.
      start: the first probability.
      end: the last, at most ``start``.

    Raises:
      ValueError: ``steps`` not positive, or not ``0 <= end <= start <= 1``.

    Example:
      >>> from rnnjax.seq2seq import schedules
      >>> [float(schedules.linear(4)(i)) for i in (0, 1, 4, 9)]
      [1.0, 0.75, 0.0, 0.0]
    """
    _check("steps", steps > 0, "positive", steps)
    _check("start, end", 0 <= end <= start <= 1, "0 <= end <= start <= 1", (start, end))

    def probability(step):
        done = jnp.minimum(jnp.asarray(step, jnp.float32) / steps, 1)
        return start - (start - end) * done

    return probability


def exponential(base: float) -> Probability:
    """``base ** i``.

    Args:
      base: in ``(0, 1)``; 0.9999 halves the probability every 6931 steps.

    Raises:
      ValueError: ``base`` outside ``(0, 1)``.
    """
    _check("base", 0 < base < 1, "in (0, 1)", base)
    return lambda step: jnp.power(
        jnp.float32(base), jnp.asarray(step).astype(jnp.float32)
    )


def inverse_sigmoid(k: float) -> Probability:
    """``k / (k + exp(i / k))``: stays near 1, then falls to 0 around ``i = k log k``.

    Args:
      k: at least 1.

    Raises:
      ValueError: ``k`` below 1.
    """
    _check("k", k >= 1, "at least 1", k)
    return lambda step: jax.nn.sigmoid(
        jnp.log(jnp.float32(k)) - jnp.asarray(step, jnp.float32) / k
    )


def _check(name: str, holds: bool, expected: str, value: Any) -> None:
    if not holds:
        raise ValueError(f"{name}: expected {expected}, got {value!r}.")
