"""One model for every cell and task, and its optimiser."""

from __future__ import annotations

import jax
import optax

import rnnjax
from rnnjax import initializers, training

from .budgets import Settings
from .tasks import Task

RING = frozenset({"nu", "theta"})


def build_model(task: Task, cell: str, settings: Settings) -> rnnjax.RNN:
    """Encoder, one recurrent layer, a hidden readout layer, output layer.

    ``embed or dense+relu -> cell -> dense+relu (not always) -> dense``

    The layers around the recurrence give the cells that are linear in their carry what
    the others have inside. Where a long memory is needed, the LRU's ``lambda`` are
    drawn from a narrow ring, and gates begin slow (`slow_gates`).

    Args:
        task: says the sizes of input and output.
        cell: an alias of rnnjax.
        settings: the sizes.

    Returns:
        Inputs ``[T, B]`` or ``[T, B, F]`` to outputs ``[T, B, outputs]``.
    """
    options = slow_gates(cell, settings.longest_memory)
    if cell == "lru":
        options = {"min_radius": settings.min_radius}
    if task.symbols is None:
        encoder = rnnjax.dense(settings.features, jax.nn.relu)
    else:
        encoder = rnnjax.embed(task.symbols, settings.features)
    layers = [encoder, getattr(rnnjax, cell)(settings.hidden_size, **options)]
    if settings.hidden_readout:
        layers.append(rnnjax.dense(settings.hidden_size, jax.nn.relu))
    return rnnjax.stack(*layers, rnnjax.dense(task.outputs))


def slow_gates(cell: str, longest: int | None) -> dict[str, initializers.Initializer]:
    """The option of a gated cell that lets its gates begin as slow as the task asks.

    Reference: Tallec and Ollivier, "Can Recurrent Neural Networks Warp Time?", ICLR
    2018.
    """
    if longest is None:
        return {}
    of_gru = initializers.chrono_gru(longest)

    def of_min_gru(key, shape, dtype):  # Rows z, n, where the GRU has z, r, n.
        return of_gru(key, (3, shape[1]), dtype)[:2]

    biases = {
        "lstm": initializers.chrono_lstm(longest),
        "gru": of_gru,
        "min_gru": of_min_gru,
    }
    return {"bias_init": biases[cell]} if cell in biases else {}


def build_optimizer(settings: Settings, learning_rate: float):
    """The optimiser of a study."""
    return ring_optimizer(
        learning_rate, settings.steps, settings.warmup_steps, settings.ring_rate
    )


def ring_optimizer(
    learning_rate: float, steps: int, warmup_steps: int = 50, ring_rate: float = 0.1
) -> optax.GradientTransformation:
    """Adam with clipping, linear warm-up and cosine decay, slower for an LRU's ring.

    What turns and shrinks the state of an LRU acts once a step: after ``T`` steps a
    phase is off by ``T`` times what an update changed. So these parameters learn at a
    rate of their own (Orvieto et al. 2023 do the same).

    Args:
        learning_rate: the peak.
        steps: at the end of which the learning rate is a twentieth of it.
        warmup_steps: at most; a run has more steps than that.
        ring_rate: the learning rate of the ring, as a part of the others'.
    """

    def adam(rate):
        schedule = optax.warmup_cosine_decay_schedule(
            init_value=0.0 if warmup_steps else rate,
            peak_value=rate,
            warmup_steps=min(warmup_steps, steps - 1),
            decay_steps=steps,
            end_value=0.05 * rate,
        )
        return training.optimizer("adam", schedule)

    rates = {"ring": adam(ring_rate * learning_rate), "rest": adam(learning_rate)}
    return optax.chain(optax.clip_by_global_norm(1.0), optax.partition(rates, _labels))


def _labels(params):
    def label(path, leaf):
        del leaf
        return "ring" if path[-1].key in RING else "rest"

    return jax.tree_util.tree_map_with_path(label, params)
