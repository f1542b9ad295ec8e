"""Connectionist temporal classification, by Optax."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import optax

from rnnjax._checks import check_logits
from rnnjax.base import Array
from rnnjax.losses._alignments import (
    check_blank,
    check_lengths,
    check_targets,
    longest_target,
    mean_over_sequences,
)


def ctc(
    logits: Array,
    targets: Array,
    lengths: Array | None = None,
    target_lengths: Array | None = None,
    *,
    blank: int = 0,
) -> tuple[Array, dict[str, Array]]:
    """Mean of ``-log p(targets | logits)`` over sequences, all alignments summed.

    ``p(targets) = sum_a prod_t softmax(logits_t)[a_t]`` over all labellings a of the T
    steps that give the targets when repetitions are merged and then blanks removed.

    Args:
      logits: floats ``[T, *batch, K]``, finite where they count.
      targets: int ``[U, *batch]`` in ``[0, K)``, without blanks.
      lengths: int ``[*batch]``, steps of the logits; None is T.
      target_lengths: int ``[*batch]``; None is U.
      blank: the class that stands for no label.

    Returns:
      The loss in nats for each sequence (not each label), float32 at least, and the
      metrics "count" and "impossible". Sequences of length 0 do not count: they are
      padding of the batch. Nor do those of which no alignment exists, as the targets
      with a blank between equal neighbours are longer than the steps; they have no
      gradient and are reported as "impossible". What stands beyond the lengths, NaN
      included, does not matter. Lengths out of range raise where they are concrete and
      act as if clamped under a trace, where targets out of range make the loss NaN.

    Raises:
      ValueError: shapes, lengths, concrete targets or the blank do not fit.
      TypeError: logits are not floats, or targets or lengths not integers.

    Example:
      >>> import jax.numpy as jnp, rnnjax.losses as losses
      >>> logits, targets = jnp.zeros((2, 1, 3)), jnp.asarray([[1]])
      >>> loss, metrics = losses.ctc(logits, targets)      # _1, 1_ and 11, of 9
      >>> round(float(jnp.exp(-loss)) * 9, 4), int(metrics["count"])
      (3.0, 1)

    References: Graves et al., "Connectionist Temporal Classification: Labelling
    Unsegmented Sequence Data with Recurrent Neural Networks", ICML 2006.
    """
    logits = check_logits("logits", logits)
    if logits.ndim < 2:
        raise ValueError(f"logits: expected [T, *batch, K], got shape {logits.shape}.")
    batch, classes = logits.shape[1:-1], logits.shape[-1]
    blank = check_blank(blank, classes)
    most = longest_target(targets, batch)
    lengths = check_lengths("lengths", lengths, len(logits), batch)
    target_lengths = check_lengths("target_lengths", target_lengths, most, batch)
    targets = check_targets(targets, target_lengths, batch, classes, blank)
    # Optax needs a step and a target at least.
    size = math.prod(batch)
    logits = _at_least_one(logits.reshape(len(logits), size, classes))
    targets = _at_least_one(targets.reshape(most, size), blank)
    steps = jnp.arange(len(logits))[:, None] < lengths.reshape(1, size)
    labels = jnp.arange(len(targets))[:, None] < target_lengths.reshape(1, size)
    repeated = (targets[1:] == targets[:-1]) & labels[1:]
    needed = target_lengths.reshape(size) + repeated.sum(0)
    with jax.default_matmul_precision("highest"):  # for the products that pick labels
        nats = optax.ctc_loss(
            jnp.where(steps[..., None], logits, 0).swapaxes(0, 1),
            1 - steps.T.astype(logits.dtype),
            targets.T,
            1 - labels.T.astype(logits.dtype),
            blank_id=blank,
        )
    lengths = lengths.reshape(size)
    possible = lengths >= needed
    return mean_over_sequences(nats, lengths, possible, targets, classes)


def _at_least_one(sequence: Array, fill: float = 0) -> Array:
    """The sequence, or one step of padding where it has none."""
    missing = max(0, 1 - len(sequence))
    widths = [(0, missing)] + [(0, 0)] * (sequence.ndim - 1)
    return jnp.pad(sequence, widths, constant_values=fill)
