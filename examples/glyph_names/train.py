"""The training: glyphs in a new order each epoch, the best state by their loss."""

from __future__ import annotations

import jax
import numpy as np
import rich.console

from ..common.buckets import Buckets, in_order, padded
from ..common.epochs import train_by_epochs
from ..common.vocabulary import PAD, Vocabulary
from .config import RESUMABLE, Config
from .data import Glyph
from .model import build, make_loss


def collate(glyphs: list[Glyph], vocabulary: Vocabulary):
    """A function for `examples.common.buckets`: glyphs to a batch, time-major."""
    tokens = [vocabulary.encode(glyph.name, end=True) for glyph in glyphs]

    def batch(places: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        targets = padded(tokens, places, shape[0], PAD)
        start = np.full((1, len(places)), PAD, np.int32)
        return {
            "images": np.stack([glyphs[place].image for place in places]),
            "inputs": np.concatenate([start, targets[:-1]]),
            "targets": targets,
            "lengths": np.array([len(tokens[place]) for place in places], np.int32),
        }

    return batch


def lengths(glyphs: list[Glyph]) -> np.ndarray:
    """Words of each name, and its end."""
    return np.array([len(glyph.name) + 1 for glyph in glyphs])


def train(
    config: Config,
    splits: dict[str, list[Glyph]],
    vocabulary: Vocabulary,
    sources: list[str],
    console: rich.console.Console,
):
    """Trains; returns the model and what `fit` gives."""
    glyphs = splits["training"]
    batches = Buckets(
        lengths(glyphs),
        config.batch_size,
        collate(glyphs, vocabulary),
        count=2,
        seed=config.seed,
    )
    namer = build(config, vocabulary.size)
    params = namer.init(jax.random.key(config.seed), glyphs[0].image, np.int32(PAD))
    trained = train_by_epochs(
        config,
        make_loss(config, namer),
        params,
        batches,
        validation=evaluation_batches(config, splits["development"], vocabulary),
        watch="val_bits",
        units={"words": lambda batch: int(batch["lengths"].sum())},
        resumable=RESUMABLE,
        sources=sources,
        console=console,
        axes={"images": 0},
    )
    return namer, trained


def evaluation_batches(
    config: Config, glyphs: list[Glyph], vocabulary: Vocabulary
) -> list[dict[str, np.ndarray]]:
    """Every glyph once; what fills up a batch has the length 0 and does not count."""
    batches = []
    for places, batch in in_order(
        lengths(glyphs), config.batch_size, collate(glyphs, vocabulary), count=1
    ):
        batch["lengths"][len(places) :] = 0
        batches.append(batch)
    return batches
