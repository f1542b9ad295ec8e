"""What training passes from step to step."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rnnjax.base import Array, Carry, Params, PyTree


class TrainState(NamedTuple):
    """All that one training step passes to the next.

    Attributes:
      params: the parameters.
      opt_state: the state of the optimiser.
      carry: what the last window left for the next, or None where sequences are
        independent.
      step: number of steps made, int32.
    """

    params: Params
    opt_state: optax.OptState
    carry: Carry
    step: Array


def init_state(
    params: Params, optimizer: optax.GradientTransformation, carry: Carry = None
) -> TrainState:
    """The state before the first step.

    Args:
      params: the parameters. They are copied: a step gives the memory of the state it
        was called with to the one it returns, and yours stay alive.
      optimizer: what `train_step` gets.
      carry: for stateful training the carry before the first window,
        ``rnn.initial_carry(params, (B,))``; it is copied. None where every batch starts
        afresh.

    Returns:
      A `TrainState` at step 0.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax, rnnjax.training as training
      >>> rnn = rnnjax.lstm(4)
      >>> params = rnn.init(jax.random.key(0), jnp.ones(3))
      >>> optimizer = training.optimizer("adam", 1e-3)
      >>> carry = rnn.initial_carry(params, (2,))
      >>> state = training.init_state(params, optimizer, carry)
      >>> int(state.step), state.carry.h.shape
      (0, (2, 4))
    """
    params, carry = copied((params, carry))
    return TrainState(params, optimizer.init(params), carry, jnp.zeros((), jnp.int32))


def copied(tree: PyTree) -> PyTree:
    """Arrays of its own, never weakly typed: the second step must fit the first."""
    return jax.tree.map(
        lambda leaf: jnp.array(leaf, dtype=jnp.result_type(leaf), copy=True), tree
    )
