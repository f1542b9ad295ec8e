"""Losses of windows of a long stream, language models first of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import RNN
from rnnjax.base import Array
from rnnjax.losses import softmax_cross_entropy
from rnnjax.training._step import Loss, Metrics


def stateful_loss(
    rnn: RNN, sequence_loss: Callable[..., tuple[Array, Metrics]]
) -> Loss:
    """Makes the loss of one window of a stream: the carry comes in and goes out.

    Args:
      rnn: inputs to outputs.
      sequence_loss: ``(ys, targets, mask) -> (loss, metrics)``, such as
        `softmax_cross_entropy`.

    Returns:
      A loss for `train_step` and `eval_step` on batches that are dicts with "inputs"
      and "targets", and optionally "mask", bool ``[T, B]`` (false for padding, which
      leaves the carry as it is), and "resets", bool ``[T, B]`` (true where another
      sequence begins).

    Raises:
      ValueError: from the loss, where "inputs" or "targets" are missing, or the rnn
        cannot step, as `bidirectional` cannot: its backward half would need the carry
        of windows to come.
    """

    def loss(params, carry, batch: Mapping[str, Any], key):
        _check_batch(batch)
        inputs, mask = batch["inputs"], batch.get("mask")
        _check_steps(rnn, params, carry, inputs)
        carry, ys = rnn.unroll(
            params, carry, inputs, resets=batch.get("resets"), mask=mask, key=key
        )
        value, metrics = sequence_loss(ys, batch["targets"], mask)
        return value, (carry, metrics)

    return loss


def language_model_loss(rnn: RNN) -> Loss:
    """`stateful_loss` of `softmax_cross_entropy`: a language model on a long text.

    Args:
      rnn: tokens ``[T, B]`` to logits ``[T, B, V]``.

    Returns:
      A loss for `train_step` and `eval_step` on batches ``{"inputs", "targets"}``, both
      int ``[T, B]``, the targets one token on; "mask" and "resets" as for
      `stateful_loss`. Its metrics are "bits" (bits per token: per character where
      tokens are characters) and "count".

    Example:
      >>> import jax, numpy as np, rnnjax, rnnjax.training as training
      >>> rnn = rnnjax.stack(rnnjax.embed(5, 3), rnnjax.gru(4), rnnjax.dense(5))
      >>> tokens = (np.arange(18) % 5).reshape(9, 2)
      >>> params = rnn.init(jax.random.key(0), tokens[0])
      >>> loss = training.language_model_loss(rnn)
      >>> batch = {"inputs": tokens[:-1], "targets": tokens[1:]}
      >>> value, (carry, metrics) = loss(params, None, batch, None)
      >>> sorted(metrics)
      ['bits', 'count']
    """
    return stateful_loss(rnn, softmax_cross_entropy)


def supervised_loss(
    forward: Callable[[Any, Any, Any], Any],
    loss: Callable[[Any, Any], Any],
    metrics: Mapping[str, Callable[[Any, Any], Any]] | None = None,
) -> Loss:
    """Makes the loss of examples ``(x, y)``, each on its own, without a carry.

    Args:
      forward: ``(params, x, key) -> predictions`` of a batch; ``key=None`` is
        evaluation.
      loss: ``(predictions, y) -> loss``, or ``(loss, metrics)`` as those of
        `rnnjax.losses` give.
      metrics: further such functions by name; of a pair the first is taken.

    Returns:
      A loss for `fit`, `train_step` and `eval_step` on batches ``(x, y)``. Its metrics
      are those of ``loss`` and ``metrics``.

    Example:
      >>> import jax.numpy as jnp, rnnjax.training as training
      >>> from rnnjax import losses
      >>> forward = lambda params, x, key: params * x
      >>> loss = training.supervised_loss(
      ...     forward, losses.mean_squared_error, {"mae": losses.mean_absolute_error}
      ... )
      >>> batch = (jnp.arange(4.0), jnp.ones(4))
      >>> value, (carry, metrics) = loss(jnp.asarray(2.0), None, batch, None)
      >>> float(value), sorted(metrics), float(metrics["mae"])
      (9.0, ['count', 'mae'], 2.5)
    """

    def whole(params, carry, batch, key):
        if not (isinstance(batch, tuple | list) and len(batch) == 2):
            raise TypeError(
                f"batch: expected a pair (x, y), got {type(batch).__name__}."
            )
        x, y = batch
        predictions = forward(params, x, key)
        value, found = _pair(loss(predictions, y))
        more = {
            name: _pair(function(predictions, y))[0]
            for name, function in (metrics or {}).items()
        }
        return value, (carry, {**found, **more})

    return whole


def _pair(result: Any) -> tuple[Any, Metrics]:
    return result if isinstance(result, tuple) else (result, {})


def _check_batch(batch: Any) -> None:
    if not isinstance(batch, Mapping):
        raise TypeError(
            f"batch: expected a dict with 'inputs' and 'targets', got "
            f"{type(batch).__name__}."
        )
    for name in ("inputs", "targets"):
        if name not in batch:
            raise ValueError(
                f"batch: expected 'inputs' and 'targets', got {sorted(batch)}; "
                f"{name!r} is missing."
            )


def _check_steps(rnn: RNN, params, carry, inputs) -> None:
    """Raises unless the rnn can go on from a carry, a step at a time."""

    def one_step(leaf):
        return jax.ShapeDtypeStruct(jnp.shape(leaf)[1:], jnp.result_type(leaf))

    x = jax.tree.map(one_step, inputs)
    try:
        jax.eval_shape(rnn.step, params, carry, x)
    except (NotImplementedError, ValueError) as error:
        raise ValueError(
            "rnn: expected one that can step, since stateful training hands the carry "
            f"of a window to the next, but its step raises: {error} For bidirectional "
            "layers train on whole sequences, with a loss of your own that starts "
            "every batch from carry None and returns None."
        ) from error
