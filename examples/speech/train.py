"""The training: buckets of about one length, the best state by development loss."""

from __future__ import annotations

import jax
import optax
import rich.console

from rnnjax import training

from ..common.buckets import Buckets, in_order
from ..common.config import as_json
from .config import RESUMABLE, Config
from .data import Example, collate, sizes
from .model import build, make_loss

BUCKETS = 3


def train(
    config: Config,
    splits: dict[str, list[Example]],
    sources: list[str],
    console: rich.console.Console,
):
    """Trains and returns model, parameters of the best state, records and seconds."""
    examples = splits["training"]
    batches = Buckets(
        sizes(examples), config.batch_size, collate(examples), BUCKETS, config.seed
    )
    model = build(config)
    key = jax.random.key(config.seed)
    params = model.init(key, examples[0].steps[0])
    loss, optimizer = make_loss(config, model), make_optimizer(config, len(batches))
    state = training.init_state(params, optimizer)
    settings = {k: v for k, v in as_json(config).items() if k not in RESUMABLE}
    checkpoints = training.Checkpoints(
        config.output / "checkpoints",
        best="val_loss",
        config={**settings, "data": sources},
    )
    fitted = training.fit(
        loss,
        optimizer,
        state,
        batches,
        key=jax.random.fold_in(key, 1),
        epochs=config.epochs,
        validation=evaluation_batches(config, splits["development"]),
        logs=[training.MetricsLog(config.output / "metrics.jsonl")],
        progress=console,
        units={"frames": lambda batch: int(batch["lengths"].sum())},
        checkpoints=checkpoints,
        resume=config.resume,
    )
    best = checkpoints.restore(state, "best").state.params
    return model, best, fitted.history, fitted.history[-1]["seconds"]


def evaluation_batches(config: Config, examples: list[Example]) -> list[dict]:
    """Every example once; what fills up a batch has the length 0 and does not count."""
    batches = []
    for places, batch in in_order(
        sizes(examples), config.batch_size, collate(examples), BUCKETS
    ):
        batch["lengths"][len(places) :] = 0
        batch["target_lengths"][len(places) :] = 0
        batches.append(batch)
    return batches


def make_optimizer(config: Config, batches: int) -> optax.GradientTransformation:
    """AdamW with clipping; warmed up, cosine to 0."""
    steps = config.epochs * batches
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, min(steps // 10, 200), steps
    )
    return training.optimizer(
        "adamw",
        schedule,
        clip_norm=config.clip_norm,
        weight_decay=config.weight_decay,
    )
