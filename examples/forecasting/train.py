"""The training: random windows of the training part, the best state by the next."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
import optax
import rich.console

from rnnjax import training

from ..common.config import as_json
from .config import RESUMABLE, Config
from .data import Split, Windows, origins
from .model import build, make_loss

EVALUATION_BATCH = 128


@dataclass(frozen=True)
class Batches:
    """Batch k of an endless training: windows in an order that seed and k make.

    Attributes:
        windows: looks them up.
        firsts: the first steps of all forecasts of the training part.
    """

    windows: Windows
    firsts: np.ndarray

    def __len__(self) -> int:
        """Batches in a pass over the training part."""
        return max(len(self.firsts) // self.windows.config.batch_size, 1)

    def __call__(self, epoch: int):
        """The batches of an epoch."""
        config = self.windows.config
        order = np.random.default_rng((config.seed, epoch)).permutation(self.firsts)
        size = min(config.batch_size, len(order))
        for k in range(len(self)):
            yield self.windows(order[k * size : (k + 1) * size])


def in_batches(windows: Windows, firsts: np.ndarray) -> list[dict[str, np.ndarray]]:
    """All windows of some forecasts, in order, for an evaluation."""
    return [
        windows(firsts[k : k + EVALUATION_BATCH])
        for k in range(0, len(firsts), EVALUATION_BATCH)
    ]


def train(
    config: Config,
    series: Split,
    windows: Windows,
    sources: list[str],
    console: rich.console.Console,
):
    """Trains and returns model, parameters of the best state, records and seconds."""
    model = build(config)
    firsts = origins(config, 0, series.dev)
    dev = in_batches(windows, origins(config, series.dev, series.test))
    example = windows(firsts[:1])
    params = model.init(
        jax.random.key(config.seed), example["past"][0], example["coming"][0]
    )
    loss = make_loss(model)
    optimizer = make_optimizer(config)
    state = training.init_state(params, optimizer)
    settings = {k: v for k, v in as_json(config).items() if k not in RESUMABLE}
    checkpoints = training.Checkpoints(
        config.output / "checkpoints",
        every=config.evaluate_every,
        best="val_loss",
        config={**settings, "data": sources},
    )
    fitted = training.fit(
        loss,
        optimizer,
        state,
        Batches(windows, firsts),
        key=jax.random.fold_in(jax.random.key(config.seed), 1),
        steps=config.steps,
        validation=dev,
        validate_every=config.evaluate_every,
        log_every=max(config.evaluate_every // 5, 1),
        logs=[training.MetricsLog(config.output / "metrics.jsonl")],
        progress=console,
        units={"values": lambda batch: batch["targets"].size},
        checkpoints=checkpoints,
        resume=config.resume,
    )
    best = checkpoints.restore(state, "best").state.params
    return model, best, fitted.history, fitted.history[-1]["seconds"]


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """AdamW with clipping; warmed up, cosine to 0."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, min(config.steps // 10, 100), config.steps
    )
    return training.optimizer(
        "adamw",
        schedule,
        clip_norm=config.clip_norm,
        weight_decay=config.weight_decay,
    )
