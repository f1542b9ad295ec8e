"""`Attention`: the contract of everything that attends."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rnnjax.base import Array, Params


class Attention(NamedTuple):
    """How a query reads a memory, as pure functions.

    Attributes:
      init: ``(key, query, memory) -> params``; one query ``[..., Q]`` and one position
        of the memory ``[..., M]``, arrays or `jax.ShapeDtypeStruct`. What `remember`
        projects once a sequence stands under "key" and "value".
      read: ``(params, memory, query, coverage=None) -> (context, weights)``: a `Memory`
        and a query ``[*batch, Q]`` to a context ``[*batch, C]`` and the weights
        ``[*batch, S]`` (of several heads ``[*batch, heads, S]``).
      coverage: whether ``read`` wants ``coverage [*batch, S]``, the sum of the weights
        of all steps before.
    """

    init: Callable[..., Params]
    read: Callable[..., tuple[Array, Array]]
    coverage: bool = False
