"""Cross-entropy of labels."""

from __future__ import annotations

import math

import jax.numpy as jnp
import optax

from rnnjax._checks import check_flags, check_labels, check_logits
from rnnjax.base import Array


def softmax_cross_entropy(
    logits: Array,
    targets: Array,
    mask: Array | None = None,
    *,
    label_smoothing: float = 0.0,
) -> tuple[Array, dict[str, Array]]:
    """Mean cross-entropy of tokens, where the mask is true.

    ``loss = sum_t mask_t ((1 - s) nats_t(targets_t) + s mean_v nats_t(v)) / count``,
    ``nats_t(v) = log sum_w exp(logits_tw) - logits_tv``, ``count = sum_t mask_t``,
    with s the label smoothing

    Args:
      logits: ``[..., V]``.
      targets: int ``[...]`` in ``[0, V)``.
      mask: bool ``[...]``; None is true everywhere. What stands in masked places, NaN
        included, does not matter.
      label_smoothing: from 0 to 1.

    Returns:
      The loss in nats, float32 at least (0 where all is masked), and the metrics
      "bits", the cross-entropy without smoothing in bits, and "count", by which
      `rnnjax.training.evaluate` weighs it.

    Raises:
      ValueError: the shapes do not fit, or targets that are concrete are out of range.
      TypeError: logits are not floats, targets not integers, or the mask is not bool.

    Example:
      >>> import jax.numpy as jnp, rnnjax.losses as losses
      >>> logits, targets = jnp.zeros((3, 2, 4)), jnp.zeros((3, 2), int)
      >>> loss, metrics = losses.softmax_cross_entropy(logits, targets)
      >>> float(metrics["bits"]), int(metrics["count"])
      (2.0, 6)

    References: Szegedy et al., "Rethinking the Inception Architecture for Computer
    Vision", CVPR 2016 (label smoothing).
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing: expected 0 to 1, got {label_smoothing}.")
    logits = check_logits("logits", logits)
    shape, size = logits.shape[:-1], logits.shape[-1]
    mask = check_flags("mask", mask, shape)
    targets = check_labels("targets", targets, shape, size, mask)
    if mask is None:
        count = jnp.asarray(math.prod(shape))
    else:
        count = jnp.sum(mask)
        logits = jnp.where(mask[..., None], logits, 0)
        targets = jnp.where(mask, targets, 0)

    # Under a trace nothing could be checked: an index that is too large gives NaN, a
    # negative one would count from the end.
    targets = jnp.where(targets < 0, logits.shape[-1], targets)

    def mean(nats: Array) -> Array:
        total = jnp.sum(nats if mask is None else jnp.where(mask, nats, 0))
        return total / jnp.maximum(count, 1).astype(total.dtype)

    nats = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    loss = plain = mean(nats)
    if label_smoothing:
        of_targets = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
        uniform = nats + of_targets - logits.mean(-1)  # mean_v nats(v)
        loss = mean((1 - label_smoothing) * nats + label_smoothing * uniform)
    return loss, {"bits": plain / math.log(2), "count": count}
