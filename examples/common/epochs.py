"""Training in passes over bucketed batches, the best state by the development loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rich.console

from rnnjax import training

from .config import as_json
from .fitting import Trained, adamw, fit


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
    axes: Mapping[str, int] | None = None,
) -> Trained:
    """Trains by AdamW, or goes on training.

    Args:
        config: the settings, with ``epochs``, ``learning_rate``, ``clip_norm``,
            ``weight_decay``, ``output``, ``resume`` and what `fit` asks for.
        loss: as `rnnjax.training.fit` takes it.
        params: the first parameters.
        batches: of one pass.
        validation: batches of the development data.
        watch: the metric that chooses the parameters, lower is better.
        units: what to count in batches.
        resumable: names of the settings that a resumed run may change.
        sources: lines that name the data, which it may not.
        console: where progress is shown.
        axes: of the rows of a batch, see `fit`.
    """
    return fit(
        config,
        loss,
        adamw(config, config.epochs * len(batches), warmup=200),
        params,
        batches,
        checkpoints=training.Checkpoints(
            config.output / "checkpoints",
            best=watch,
            config={**as_json(config, but=resumable), "data": sources},
        ),
        metrics=config.output / "metrics.jsonl",
        console=console,
        units=units,
        axes=axes,
        epochs=config.epochs,
        validation=validation,
        resume=config.resume,
    )
