"""The training: buckets of about one length, the best state by development loss."""

from __future__ import annotations

import jax
import rich.console

from ..common.buckets import Buckets, in_order
from ..common.epochs import train_by_epochs
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
    """Trains; returns the model and what `fit` gives."""
    examples = splits["training"]
    batches = Buckets(
        sizes(examples), config.batch_size, collate(examples), BUCKETS, config.seed
    )
    model = build(config)
    params = model.init(jax.random.key(config.seed), examples[0].steps[0])
    trained = train_by_epochs(
        config,
        make_loss(config, model),
        params,
        batches,
        validation=evaluation_batches(config, splits["development"]),
        watch="val_loss",
        units={"frames": lambda batch: int(batch["lengths"].sum())},
        resumable=RESUMABLE,
        sources=sources,
        console=console,
    )
    return model, trained


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
