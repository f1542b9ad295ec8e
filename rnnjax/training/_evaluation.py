"""Evaluation: the loss without randomness, gradient or update."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from rnnjax.base import Carry, Params, PyTree
from rnnjax.training._carry import hand_on
from rnnjax.training._means import RunningMeans
from rnnjax.training._step import Loss, Metrics


def eval_step(loss: Loss) -> Callable[[Params, Carry, PyTree], tuple[Carry, Metrics]]:
    """Makes a compiled step that computes the metrics of a batch with ``key=None``.

    Args:
      loss: what `train_step` takes.

    Returns:
      ``step(params, carry, batch) -> (carry, metrics)``; the metrics are those of the
      loss, and "loss".

    Raises:
      ValueError: from the step, where the carry that the loss returns is of another
        structure, shape or dtype than the one it was given.
    """

    @jax.jit
    def step(params: Params, carry: Carry, batch: PyTree):
        value, (new_carry, metrics) = loss(params, carry, batch, None)
        return hand_on(carry, new_carry), {**metrics, "loss": value}

    return step


def evaluate(
    step: Callable[[Params, Carry, PyTree], tuple[Carry, Metrics]],
    params: Params,
    carry: Carry,
    batches: Iterable[PyTree],
) -> tuple[Carry, dict[str, np.ndarray]]:
    """Runs an `eval_step` over batches, the carry handed on, and averages the metrics.

    ``metric = sum_k count_k metric_k / sum_k count_k``

    Args:
      step: made by `eval_step`, once: it is compiled once.
      params: the parameters.
      carry: before the first batch, ``rnn.initial_carry(params, (B,))``; None where
        every batch starts afresh.
      batches: such as `windows` with ``pad=True``.

    Returns:
      The carry after the last batch, and the averages in float64. Batches are weighted
      by the metric "count" where the loss gives one (its sum is returned), else alike.

    Raises:
      ValueError: no batches, or all their counts are 0.

    Example:
      >>> import jax, numpy as np, rnnjax, rnnjax.training as training
      >>> rnn = rnnjax.stack(rnnjax.embed(5, 3), rnnjax.gru(4), rnnjax.dense(5))
      >>> text = np.arange(23) % 5
      >>> stream = {"inputs": text[:-1], "targets": text[1:], "mask": text[1:] >= 0}
      >>> lanes = training.streams(stream, 2, pad=True)
      >>> params = rnn.init(jax.random.key(0), lanes["inputs"][0])
      >>> step = training.eval_step(training.language_model_loss(rnn))
      >>> carry = rnn.initial_carry(params, (2,))
      >>> batches = training.windows(lanes, 4, pad=True)
      >>> carry, metrics = training.evaluate(step, params, carry, batches)
      >>> sorted(metrics), int(metrics["count"])
      (['bits', 'count', 'loss'], 22)
    """
    of_batches = []
    for batch in batches:
        carry, metrics = step(params, carry, batch)
        of_batches.append(metrics)
    if not of_batches:
        raise ValueError(
            "batches: expected at least one, got none. An iterator is used up by the "
            "first call; windows(...) can be used again."
        )
    running = RunningMeans()
    for metrics in jax.device_get(of_batches):
        running.add(metrics)
    if running.weight == 0:
        raise ValueError(
            "batches: expected something to score, got a count of 0. The mask is false "
            "everywhere, or the windows are empty."
        )
    means = running.means()
    if running.counted:
        means["count"] = np.asarray(running.weight)
    return carry, means


def evaluator(
    loss: Loss,
    batches: Iterable[PyTree],
    carry: Carry = None,
    *,
    prefix: str = "val_",
) -> Callable[[Params], dict[str, Any]]:
    """Makes the function that `fit` calls to validate: `evaluate` on these batches.

    Args:
      loss: what `fit` takes.
      batches: such as `windows` with ``pad=True``; they can be run through again.
      carry: before the first batch; None where every batch starts afresh.
      prefix: of the names of the metrics.

    Returns:
      ``evaluate(params) -> metrics``, compiled once; "count" is left out.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax, rnnjax.training as training
      >>> rnn = rnnjax.gru(1)
      >>> def loss(params, carry, batch, key):
      ...     carry, ys = rnn.unroll(params, carry, batch, key=key)
      ...     return jnp.mean((ys - batch) ** 2), (carry, {})
      >>> xs = jnp.ones((6, 2, 1))
      >>> params = rnn.init(jax.random.key(0), xs[0])
      >>> carry = rnn.initial_carry(params, (2,))
      >>> score = training.evaluator(loss, training.windows(xs, 3), carry)
      >>> list(score(params))
      ['val_loss']
    """
    step = eval_step(loss)

    def score(params: Params) -> dict[str, Any]:
        _, metrics = evaluate(step, params, carry, batches)
        metrics.pop("count", None)
        return {prefix + name: value.tolist() for name, value in metrics.items()}

    return score
