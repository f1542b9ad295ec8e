"""How the examples train: `rnnjax.training.fit`, in one process or in many.

`examples.common.training` and `examples.common.epochs` choose the rest of it for many
examples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
import rich.console

from rnnjax import training

from . import distributed


class Trained(NamedTuple):
    """What training gives.

    Attributes:
        params: of the best look at the development data where the checkpoints watch a
            number of it, else of the last step.
        step: when that was.
        history: all records.
        seconds: spent in training, with those before a resume.
    """

    params: Any
    step: int
    history: list[dict]
    seconds: float


def fit(
    config: Any,
    loss: Callable,
    optimizer: optax.GradientTransformation,
    params: Any,
    data: Any,
    *,
    checkpoints: training.Checkpoints,
    metrics: Path,
    console: rich.console.Console,
    units: Mapping[str, Callable[[Any], int]],
    axes: Mapping[str, int] | None = None,
    validation: Any = None,
    logs: Sequence[Callable[[dict], None]] = (),
    **options: Any,
) -> Trained:
    """Trains, or goes on training.

    Args:
        config: the settings, with ``seed``, ``batch_size`` and ``distributed``.
        loss: as `rnnjax.training.fit` takes it, and so ``data`` and ``validation``.
        optimizer: of Optax.
        params: the first parameters.
        data: the batches.
        checkpoints: where to save, and which number chooses the parameters.
        metrics: the file of the records.
        console: where progress is shown.
        units: what to count in batches.
        axes: of the rows of a batch, for `distributed.Spread`.
        validation: on development data.
        logs: called with every record, beside the file.
        options: further ones of `rnnjax.training.fit`.
    """
    state = training.init_state(params, optimizer)
    if config.distributed:
        spread = distributed.Spread(config.batch_size, axes)
        state, data, units = spread.state(state), spread.data(data), spread.units(units)
        if validation is not None:
            if not callable(validation):
                validation = training.evaluator(loss, validation)
            validation = distributed.agreed(validation)
    fitted = training.fit(
        loss,
        optimizer,
        state,
        data,
        key=key_of_steps(config),
        validation=validation,
        logs=[training.MetricsLog(metrics), *logs],
        progress=console,
        units=units,
        checkpoints=checkpoints,
        **options,
    )
    params, step = fitted.state.params, int(fitted.state.step)
    if checkpoints.best is not None:
        best = checkpoints.restore(state, "best")
        params, step = best.state.params, best.step
    if config.distributed:  # from here on every process is by itself
        params = distributed.own(params)
    return Trained(params, step, fitted.history, fitted.history[-1]["seconds"])


def key_of_steps(config: Any) -> jax.Array:
    """The randomness of the steps; that of the first parameters is the seed's own."""
    return jax.random.fold_in(jax.random.key(config.seed), 1)


def adamw(config: Any, steps: int, warmup: int) -> optax.GradientTransformation:
    """AdamW with clipping; warmed up, cosine to 0.

    Args:
        config: the settings, with ``learning_rate``, ``clip_norm``, ``weight_decay``.
        steps: of the training.
        warmup: steps of it at most; a tenth of a shorter training.
    """
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, min(steps // 10, warmup), steps
    )
    return training.optimizer(
        "adamw",
        schedule,
        clip_norm=config.clip_norm,
        weight_decay=config.weight_decay,
    )
