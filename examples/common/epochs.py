"""Training in passes over bucketed batches, the best state by the development loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax
import rich.console

from rnnjax import training

from .config import as_json


def train_by_epochs(
    config: Any,
    loss: Callable,
    params: Any,
    batches: Sequence[Any],
    *,
    validation: Sequence[Any],
    watch: str,
    units: Mapping[str, Callable[[Any], int]],
    resumable: frozenset[str],
    sources: list[str],
    console: rich.console.Console,
) -> tuple[Any, list[dict], float]:
    """Trains by AdamW, or goes on training.

    Args:
        config: the settings, with ``epochs``, ``learning_rate``, ``clip_norm``,
            ``weight_decay``, ``seed``, ``output`` and ``resume``.
        loss: as `rnnjax.training.fit` takes it.
        params: the first parameters.
        batches: of one pass.
        validation: batches of the development data.
        watch: the metric that chooses the parameters, lower is better.
        units: what to count in batches.
        resumable: names of the settings that a resumed run may change.
        sources: lines that name the data, which it may not.
        console: where progress is shown.

    Returns:
        The parameters of the best state, the records, and the seconds spent.
    """
    optimizer = _optimizer(config, config.epochs * len(batches))
    state = training.init_state(params, optimizer)
    settings = {k: v for k, v in as_json(config).items() if k not in resumable}
    checkpoints = training.Checkpoints(
        config.output / "checkpoints",
        best=watch,
        config={**settings, "data": sources},
    )
    fitted = training.fit(
        loss,
        optimizer,
        state,
        batches,
        key=jax.random.fold_in(jax.random.key(config.seed), 1),
        epochs=config.epochs,
        validation=validation,
        logs=[training.MetricsLog(config.output / "metrics.jsonl")],
        progress=console,
        units=units,
        checkpoints=checkpoints,
        resume=config.resume,
    )
    best = checkpoints.restore(state, "best").state.params
    return best, fitted.history, fitted.history[-1]["seconds"]


def _optimizer(config: Any, steps: int) -> optax.GradientTransformation:
    """AdamW with clipping; warmed up, cosine to 0."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, min(steps // 10, 200), steps
    )
    return training.optimizer(
        "adamw",
        schedule,
        clip_norm=config.clip_norm,
        weight_decay=config.weight_decay,
    )
