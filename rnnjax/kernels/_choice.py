"""Whether and how the kernels run a recurrence: what `explain` says of them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax._by_hand import HandSchedule
from rnnjax.base import Carry
from rnnjax.kernels._device import interpreted, why_not_by_itself, why_not_here
from rnnjax.kernels._plan import describe, plan

__all__ = ["Runs", "how_kernels_run", "why_not_by_itself"]

_DTYPES = {"float32", "bfloat16"}


class Runs(NamedTuple):
    """How the kernels run; at most one of the first two is not empty.

    Attributes:
      obstacle: why they cannot.
      too_large: why they do not fit.
      how: in words.
    """

    obstacle: str = ""
    too_large: str = ""
    how: str = ""


def how_kernels_run(hand: HandSchedule | None, first: Carry, length: int) -> Runs:
    """How the kernels run a recurrence on the device traced for.

    Args:
      hand: the schedule of the cell; None if it is linear in its carry.
      first: the initial carry of the batch.
      length: number of steps.
    """
    obstacle = why_not_here()
    dtypes = {jnp.dtype(leaf.dtype).name for leaf in jax.tree.leaves(first)}
    known = _DTYPES if hand else _DTYPES | {"complex64"}
    if not dtypes <= known:
        obstacle = f"the kernels know {sorted(known)} and not {sorted(dtypes - known)}"
    if obstacle:
        return Runs(obstacle=obstacle)
    how = "interpreted, slowly; " if interpreted() else ""
    if hand is None:
        return Runs(how=f"{how}the cell is linear in its carry")
    cut = plan(hand, first, length)
    if isinstance(cut, str):
        return Runs(too_large=cut)
    return Runs(how=how + describe(cut))
