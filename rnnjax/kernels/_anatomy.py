"""What a `HandSchedule` needs to keep of a step, found by a trace."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax._by_hand import HandSchedule


class Anatomy(NamedTuple):
    """What the step of a schedule leaves behind.

    Attributes:
      factors: names of the factors that its linearisation reads.
      derived: the products whose operand is not ``h`` itself but made of it.
    """

    factors: tuple[str, ...]
    derived: tuple[int, ...]


@cache
def anatomy(hand: HandSchedule, carries: int) -> Anatomy:
    """The anatomy of a schedule whose carry has that number of leaves."""
    found: list[Anatomy] = []

    def trace(u, carry):
        def product(k, q):
            return u[:, : hand.gates[k]] + 0 * q

        _, factors = hand.step(product, carry, u)
        operands = hand.operands(factors, carry[0])
        derived = tuple(k for k, q in enumerate(operands) if q is not carry[0])
        found.append(Anatomy(tuple(factors), derived))
        return 0

    def one(columns):
        return jax.ShapeDtypeStruct((1, columns), jnp.float32)

    jax.eval_shape(trace, one(sum(hand.gates)), (one(1),) * carries)
    return found[0]
