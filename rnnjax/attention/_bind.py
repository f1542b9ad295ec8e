"""Binding a memory into the parameters of a network, for the sequences that read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rnnjax.attention._memory import remember
from rnnjax.base import Params


def bind(params: Params, memory: Any, *, lengths: Any = None, mask: Any = None):
    """The parameters with a memory in every `attentive` layer among them.

    The keys and values of each layer are computed here, once. Bind inside the loss: the
    gradient then flows to the parameters and to the memory.

    Args:
      params: of an `attentive` layer, or of a composition that has some.
      memory: ``[S, *batch, M]``.
      lengths: int ``[*batch]``, the number of valid positions.
      mask: bool ``[S, *batch]``, the valid positions; give one or the other.

    Returns:
      Parameters for ``initial_carry``, ``step`` and ``unroll`` of the same layer, on
      sequences of the same batch axes. The memory stands in
      ``["recurrent"]["memory"]`` of each layer; ``params`` itself is left as it is.

    Raises:
      ValueError: no attentive layer; and what `remember` raises.
      TypeError: what `remember` raises.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import attention
      >>> cell = attention.attentive(rnnjax.cells.gru(8), attention.bahdanau(8), 3)
      >>> rnn = rnnjax.stack(rnnjax.layer(cell), rnnjax.dense(2))
      >>> params = rnn.init(jax.random.key(0), jnp.ones(4))
      >>> bound = attention.bind(params, jnp.ones((5, 2, 3)), lengths=jnp.array([5, 1]))
      >>> rnn.unroll(bound, None, jnp.ones((10, 2, 4)))[1].shape
      (10, 2, 2)
    """
    found = False

    def with_memory(recurrent: Params) -> Params:
        nonlocal found
        found = True
        remembered = remember(
            recurrent["attention"], memory, lengths=lengths, mask=mask
        )
        return {**recurrent, "memory": remembered}

    bound = _map_attentive(with_memory, params)
    if not found:
        raise ValueError(
            "params: expected an attentive layer among them, whose "
            "params['recurrent'] has 'attention', found none. Make one by "
            "rnnjax.attention.attentive."
        )
    return bound


def attends(params: Params) -> bool:
    """Whether there is an `attentive` layer among the parameters."""
    found = []
    _map_attentive(lambda recurrent: found.append(True) or recurrent, params)
    return bool(found)


def _map_attentive(function: Callable[[Params], Params], params: Params) -> Params:
    """``params`` with ``function`` applied to ``recurrent`` of every such layer."""
    if not isinstance(params, dict):
        return params
    mapped = {name: _map_attentive(function, part) for name, part in params.items()}
    recurrent = mapped.get("recurrent")
    if isinstance(recurrent, dict) and "attention" in recurrent:
        mapped["recurrent"] = function(recurrent)
    return mapped
