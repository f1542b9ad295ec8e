"""From a loss and an optimiser to one compiled training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from rnnjax.base import Array, Carry, Params, PyTree
from rnnjax.training._carry import hand_on
from rnnjax.training._nonfinite import any_nonfinite, find_nonfinite, keep_if
from rnnjax.training._state import TrainState

Metrics: TypeAlias = dict[str, Any]
Loss: TypeAlias = Callable[
    [Params, Carry, PyTree, Any], tuple[Array, tuple[Carry, Metrics]]
]
"""``loss(params, carry, batch, key) -> (loss, (carry, metrics))``, a scalar loss."""


def train_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    donate: bool = True,
    skip_nonfinite: bool = False,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """Makes a compiled step: gradient of ``loss``, update by ``optimizer``.

    For window ``k`` with parameters ``w_k`` and carry ``s_k``

    ``L_k, s_{k+1} = loss(w_k, stop_gradient(s_k), batch_k, key_k)``,
    ``w_{k+1} = w_k + update(dL_k / dw_k)``

    With windows of a long stream as batches and the carry of `init_state` this is
    stateful truncated backpropagation through time: values flow from window to window,
    gradients do not.

    Args:
      loss: ``(params, carry, batch, key) -> (loss, (carry, metrics))`` with a scalar
        loss, the carry after the batch (None if it was given None) and a dict of
        metrics. It passes ``key`` on to ``rnn.unroll``.
      optimizer: an Optax transformation; `rnnjax.training.optimizer` makes one.
      donate: give the memory of the old state to the new one. The old state cannot be
        used after the step; with False it can, at the cost of a second copy.
      skip_nonfinite: leave the state as it was, but for ``step``, where the loss, its
        gradient or the carry has NaN or Inf.

    Returns:
      ``step(state, batch, key) -> (state, metrics)``, compiled once for all batches of
      one shape. To the metrics of the loss it adds "loss" and "grad_norm", the global
      norm of the gradient before the optimiser clips it; with ``skip_nonfinite`` also
      "skipped", 1 or 0, and "nonfinite", a `NonFinite`. ``key`` is used as it is: give
      every step its own, such as ``jax.random.fold_in(key, k)``.

    Raises:
      ValueError: from the step, where the key is missing (a training step without
        randomness would leave out dropout unnoticed), or the carry that the loss
        returns is of another structure, shape or dtype than the one it was given.
      TypeError: from the step, where the key is no PRNG key.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax, rnnjax.training as training
      >>> rnn = rnnjax.stack(rnnjax.gru(8), rnnjax.dense(1))
      >>> def loss(params, carry, batch, key):
      ...     carry, ys = rnn.unroll(params, carry, batch["inputs"], key=key)
      ...     return jnp.mean((ys - batch["targets"]) ** 2), (carry, {})
      >>> optimizer = training.optimizer("adam", 1e-2, clip_norm=1.0)
      >>> step = training.train_step(loss, optimizer)
      >>> key = jax.random.key(0)
      >>> params = rnn.init(key, jnp.ones(1))
      >>> carry = rnn.initial_carry(params, (2,))
      >>> state = training.init_state(params, optimizer, carry)
      >>> wave = jnp.sin(jnp.arange(41.0)).reshape(-1, 1, 1).repeat(2, 1)
      >>> stream = {"inputs": wave[:-1], "targets": wave[1:]}
      >>> for k, batch in enumerate(training.windows(stream, 10)):
      ...     state, metrics = step(state, batch, jax.random.fold_in(key, k))
      >>> int(state.step), sorted(metrics)
      (4, ['grad_norm', 'loss'])

    References: Williams and Peng, "An Efficient Gradient-Based Algorithm for On-Line
    Training of Recurrent Network Trajectories", Neural Computation 1990 (truncated
    backpropagation through time); Pascanu, Mikolov and Bengio, "On the Difficulty of
    Training Recurrent Neural Networks", ICML 2013 (clipping).
    """

    def step(state: TrainState, batch: PyTree, key: Any = None):
        check_key(key)
        given = jax.lax.stop_gradient(state.carry)
        gradient = jax.value_and_grad(loss, has_aux=True)
        (value, (carry, metrics)), grads = gradient(state.params, given, batch, key)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        norm = optax.tree.norm(grads)
        metrics = {**metrics, "loss": value, "grad_norm": norm}
        carry = hand_on(given, carry)
        if skip_nonfinite:
            found = find_nonfinite(value, carry, grads)
            bad = any_nonfinite(found)
            old, new = tuple(state[:3]), (params, opt_state, carry)
            params, opt_state, carry = keep_if(bad, old, new)
            metrics |= {"skipped": bad.astype(jnp.int32), "nonfinite": found}
        return TrainState(params, opt_state, carry, state.step + 1), metrics

    return jax.jit(step, donate_argnames="state" if donate else ())


def check_key(key: Any) -> None:
    """Raises unless ``key`` is a PRNG key."""
    if key is None:
        raise ValueError(
            "key: expected a PRNG key, got None. A training step always takes one, "
            "such as jax.random.fold_in(key, k); key=None is evaluation, see eval_step."
        )
    dtype = jnp.result_type(key)
    if not (jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == jnp.uint32):
        raise TypeError(
            f"key: expected a PRNG key, got {dtype}{list(jnp.shape(key))}. Make one by "
            f"jax.random.key(seed)."
        )
