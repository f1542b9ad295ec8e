"""The transducer (RNN-T): forward and backward over the lattice of alignments."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from rnnjax._checks import check_logits
from rnnjax.base import Array
from rnnjax.losses._alignments import (
    check_blank,
    check_lengths,
    check_targets,
    longest_target,
    mean_over_sequences,
)

LOG_ZERO = -1e30  # finite, so that differences of two are no NaN in the gradient


def transducer(
    logits: Array,
    targets: Array,
    lengths: Array | None = None,
    target_lengths: Array | None = None,
    *,
    blank: int = 0,
) -> tuple[Array, dict[str, Array]]:
    """Mean of ``-log p(targets | logits)`` over sequences, all alignments summed.

    At node (t, u), after t steps of input and u labels, a blank (probability
    ``blank_tu``) takes the next step and the label ``targets_u`` (``label_tu``) stays:

    ``alpha_00 = 1``,
    ``alpha_tu = alpha_{t-1,u} blank_{t-1,u} + alpha_{t,u-1} label_{t,u-1}``,
    ``p(targets) = alpha_{T-1,U} blank_{T-1,U}``

    The nodes of one diagonal t + u are computed side by side, in logarithms, so the
    loop has T + U steps. Its derivative, which JAX takes, is the backward recursion:
    ``dp/dblank_tu = alpha_tu beta_{t+1,u}``, ``dp/dlabel_tu = alpha_tu beta_{t,u+1}``.

    Args:
      logits: floats ``[T, U + 1, *batch, K]`` of the joint network, finite where they
        count: encoder steps by prediction steps, the first before any label.
      targets: int ``[U, *batch]`` in ``[0, K)``, without blanks.
      lengths: int ``[*batch]``, steps of the encoder; None is T.
      target_lengths: int ``[*batch]``; None is U.
      blank: the class that takes the next step.

    Returns:
      The loss in nats for each sequence (not each label), float32 at least, and the
      metrics "count" and "impossible". Sequences of length 0 do not count: they are
      padding of the batch; if they have targets they are "impossible". What stands
      beyond the lengths, NaN included, does not matter. Lengths out of range raise
      where they are concrete and act as if clamped under a trace, where targets out of
      range make the loss NaN.

    Raises:
      ValueError: shapes, lengths, concrete targets or the blank do not fit.
      TypeError: logits are not floats, or targets or lengths not integers.

    Example:
      >>> import jax.numpy as jnp, rnnjax.losses as losses
      >>> encoded, predicted = jnp.ones((4, 2, 8)), jnp.ones((3, 2, 8))
      >>> joint = jnp.tanh(encoded[:, None] + predicted[None]) @ jnp.zeros((8, 5))
      >>> loss, metrics = losses.transducer(joint, jnp.ones((2, 2), int))
      >>> round(float(jnp.exp(-loss) * 5**6), 3)           # as many alignments
      10.0

    References: Graves, "Sequence Transduction with Recurrent Neural Networks", ICML
    2012 workshop; Bagby et al., "Efficient Implementation of Recurrent Neural Network
    Transducer in TensorFlow", SLT 2018 (diagonals).
    """
    logits = check_logits("logits", logits)
    if logits.ndim < 3:
        raise ValueError(
            f"logits: expected [T, U + 1, *batch, K], got shape {logits.shape}."
        )
    longest, nodes, *batch, classes = logits.shape
    batch = tuple(batch)
    blank = check_blank(blank, classes)
    most = longest_target(targets, batch)
    if nodes != most + 1:
        raise ValueError(
            f"logits: expected [T, U + 1, ...] with U = {most}, the length of targets, "
            f"got shape {logits.shape}."
        )
    lengths = check_lengths("lengths", lengths, longest, batch)
    target_lengths = check_lengths("target_lengths", target_lengths, most, batch)
    targets = check_targets(targets, target_lengths, batch, classes, blank)

    size = math.prod(batch)
    lengths, target_lengths = lengths.reshape(size), target_lengths.reshape(size)
    targets = targets.reshape(most, size)
    moves = _moves(
        logits.reshape(longest, nodes, size, classes),
        targets,
        lengths,
        target_lengths,
        blank,
    )
    alphas = _alphas(*map(_by_diagonals, moves))
    ends = (lengths + target_lengths, target_lengths, jnp.arange(size))
    possible = (lengths > 0) | (target_lengths == 0)
    return mean_over_sequences(-alphas[ends], lengths, possible, targets, classes)


def _moves(
    logits: Array, targets: Array, lengths: Array, target_lengths: Array, blank: int
) -> tuple[Array, Array]:
    """Logarithms of ``blank_tu`` and ``label_tu``, both ``[T, U + 1, B]``."""
    time = jnp.arange(logits.shape[0])[:, None, None] < lengths[None, None]
    node = jnp.arange(logits.shape[1])[None, :, None]
    blanks = time & (node <= target_lengths[None, None])
    labels = time & (node < target_lengths[None, None])
    logits = jnp.where(blanks[..., None], logits, 0)
    total = jax.nn.logsumexp(logits, axis=-1)
    targets = jnp.pad(targets, ((0, 1), (0, 0)), constant_values=blank)
    index = jnp.broadcast_to(targets[None, ..., None], (*total.shape, 1))
    of_labels = jnp.take_along_axis(logits, index, -1)[..., 0]
    return (
        jnp.where(blanks, logits[..., blank] - total, LOG_ZERO),
        jnp.where(labels, of_labels - total, LOG_ZERO),
    )


def _by_diagonals(moves: Array) -> Array:
    """``[T, U + 1, B]`` to ``[T + U, U + 1, B]``: node (t, u) goes to (t + u, u)."""
    time, nodes, size = moves.shape
    # Rows one too long, read as rows of the right length, shift each by one more.
    rows = moves.swapaxes(0, 1)
    rows = jnp.pad(rows, ((0, 0), (0, nodes), (0, 0)), constant_values=LOG_ZERO)
    rows = rows.reshape(nodes * (time + nodes), size)[:-nodes]
    return rows.reshape(nodes, time + nodes - 1, size).swapaxes(0, 1)


def _alphas(blank: Array, label: Array) -> Array:
    """Logarithms of alpha by diagonals, ``[T + U + 1, U + 1, B]``."""
    start = jnp.full(blank.shape[1:], LOG_ZERO, blank.dtype).at[0].set(0)

    def step(alpha, moves):
        blank, label = moves
        came = jnp.pad((alpha + label)[:-1], ((1, 0), (0, 0)), constant_values=LOG_ZERO)
        alpha = jnp.logaddexp(alpha + blank, came)
        return alpha, alpha

    _, alphas = jax.lax.scan(step, start, (blank, label))
    return jnp.concatenate([start[None], alphas])
