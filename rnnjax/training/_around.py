"""Around any optimiser: a mean of the weights, the gradient of several batches."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rnnjax._checks import positive
from rnnjax.base import Params


class EMAState(NamedTuple):
    """The state of `with_ema`.

    Attributes:
      inner: that of the optimiser.
      params: the mean of the parameters.
    """

    inner: optax.OptState
    params: Params


def with_ema(
    optimizer: optax.GradientTransformation, decay: float
) -> optax.GradientTransformation:
    """An optimiser that keeps an exponential moving average of the parameters.

    ``m_0 = w_0``, ``m_k = decay m_{k-1} + (1 - decay) w_k``

    Args:
      optimizer: an Optax transformation; its updates are not changed.
      decay: from 0 to 1, such as 0.999: the mean is over some ``1 / (1 - decay)``
        steps.

    Returns:
      An Optax transformation. The mean is part of its state, and so of checkpoints;
      `ema_params` gets it.

    Raises:
      ValueError: ``decay`` out of range.

    Example:
      >>> import jax.numpy as jnp, optax, rnnjax.training as training
      >>> optimizer = training.with_ema(optax.sgd(1.0), 0.5)
      >>> params = {"w": jnp.zeros(1)}
      >>> state = optimizer.init(params)
      >>> updates, state = optimizer.update({"w": -jnp.ones(1)}, state, params)
      >>> training.ema_params(state)["w"].tolist()
      [0.5]

    Reference: Polyak and Juditsky, "Acceleration of Stochastic Approximation by
    Averaging", SIAM Journal on Control and Optimization 1992.
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"decay: expected a number from 0 to 1, got {decay!r}.")
    around = optax.with_extra_args_support(optimizer)

    def init(params):
        return EMAState(around.init(params), jax.tree.map(jnp.array, params))

    def update(updates, state, params=None, **more):
        if params is None:
            raise ValueError(
                "params: expected the parameters, got None. Call "
                "optimizer.update(grads, state, params)."
            )
        updates, inner = around.update(updates, state.inner, params, **more)
        new = optax.apply_updates(params, updates)
        mean = optax.incremental_update(new, state.params, 1 - decay)
        return updates, EMAState(inner, mean)

    return optax.GradientTransformationExtraArgs(init, update)  # type: ignore[arg-type]


def ema_params(opt_state: optax.OptState) -> Params:
    """The mean of the parameters that `with_ema` keeps.

    Args:
      opt_state: the state of an optimiser that has a `with_ema` in it.

    Raises:
      ValueError: it has none, or several.
    """
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda s: isinstance(s, EMAState))
    found = [leaf.params for leaf in leaves if isinstance(leaf, EMAState)]
    if len(found) != 1:
        raise ValueError(
            f"opt_state: expected that of one with_ema(optimizer, decay), got "
            f"{len(found)} of them."
        )
    return found[0]


def accumulate(
    optimizer: optax.GradientTransformation, batches: int
) -> optax.GradientTransformation:
    """An optimiser that moves once in several steps, by the mean of their gradients.

    As if the batches were one of ``batches`` times the size, where the loss is a mean
    over its examples, in the memory of one. Learning-rate schedules count moves. In
    stateful training the windows go on from each other with parameters that stay.

    Args:
      optimizer: an Optax transformation.
      batches: number of steps to a move.

    Returns:
      An Optax transformation.

    Raises:
      ValueError: ``batches`` is not positive.

    Example:
      >>> import jax.numpy as jnp, optax, rnnjax.training as training
      >>> optimizer = training.accumulate(optax.sgd(1.0), 2)
      >>> params = jnp.zeros(())
      >>> state = optimizer.init(params)
      >>> for gradient in (1.0, 3.0):
      ...     updates, state = optimizer.update(jnp.asarray(gradient), state, params)
      ...     print(updates)
      0.0
      -2.0
    """
    batches = positive("batches", batches)
    return optax.MultiSteps(optimizer, batches).gradient_transformation()
