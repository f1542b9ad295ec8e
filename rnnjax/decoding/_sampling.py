"""`Sampling`: how the next token is drawn, as one value."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from rnnjax.base import Array
from rnnjax.decoding import _filters as filters


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a token is chosen from logits: the filters in this order, then a draw.

    Attributes:
      repetition_penalty: 1 for none; see `repetition_penalty`.
      temperature: 1 is the distribution of the network, 0 the most probable token.
      top_k: None keeps all; see `top_k`.
      top_p: None keeps all; see `top_p`.
      min_p: None keeps all; see `min_p`.

    Raises:
      ValueError: a value outside its range.
    """

    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        """Checks the values."""
        for name, holds, expected in (
            ("repetition_penalty", self.repetition_penalty > 0, "above 0"),
            ("temperature", self.temperature >= 0, "0 or more"),
            ("top_k", self.top_k is None or self.top_k >= 1, "1 or more, or None"),
            ("top_p", self.top_p is None or 0 < self.top_p <= 1, "in (0, 1], or None"),
            ("min_p", self.min_p is None or 0 <= self.min_p <= 1, "in [0, 1], or None"),
        ):
            if not holds:
                raise ValueError(
                    f"Sampling({name}=...): expected a number {expected}, got "
                    f"{getattr(self, name)!r}."
                )

    def filtered(self, logits: Array, seen: Array) -> Array:
        """The logits after all filters.

        Args:
          logits: ``[..., V]``.
          seen: bool ``[..., V]``, the tokens so far.
        """
        if self.repetition_penalty != 1:
            logits = filters.repetition_penalty(logits, seen, self.repetition_penalty)
        logits = filters.temperature(logits, self.temperature)
        if self.top_k is not None:
            logits = filters.top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = filters.top_p(logits, self.top_p)
        if self.min_p is not None:
            logits = filters.min_p(logits, self.min_p)
        return logits

    def choose(self, logits: Array, seen: Array, key: Array | None) -> Array:
        """A token ``[...]``; the most probable one without a key."""
        logits = self.filtered(logits, seen)
        if key is None:
            return jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return jax.random.categorical(key, logits).astype(jnp.int32)


GREEDY = Sampling(temperature=0.0)
"""The most probable token at every step."""
