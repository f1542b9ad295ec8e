"""How each cell is trained on each task: sizes, steps, learning rates."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from .config import Config


@dataclass(frozen=True)
class Settings:
    """The training of one cell on one task.

    Attributes:
        hidden_size: of the recurrence, and of the readout layer after it.
        features: size of what the recurrence is fed.
        batch_size: sequences of a step (rows of two strings for the regular tasks).
        steps: most optimiser steps.
        learning_rates: tried in this order until one is good enough.
        warmup_steps: of the learning rate.
        evaluate_every: steps between two looks at the development data.
        curriculum: greatest lengths of training strings; the next one comes when
            nearly all training strings since the last look were right. Empty: the full
            length from the start.
        min_radius: of the LRU's ring.
        ring_rate: learning rate of the LRU's ring, as a part of the others'.
    """

    hidden_size: int = 128
    features: int = 32
    batch_size: int = 64
    steps: int = 4_000
    learning_rates: tuple[float, ...] = (3e-3, 1e-3)
    warmup_steps: int = 50
    evaluate_every: int = 100
    curriculum: tuple[int, ...] = ()
    min_radius: float = 0.0
    ring_rate: float = 0.1


REGULAR = Settings(curriculum=(5, 10, 20))
LONG = {
    "copy_memory": Settings(
        features=32, batch_size=8, steps=1_000, min_radius=0.999, ring_rate=1e-3
    ),
    "adding": Settings(
        hidden_size=64, batch_size=32, steps=1_000, min_radius=0.999, ring_rate=1e-3
    ),
}
SMOKE = Settings(
    hidden_size=4,
    features=4,
    batch_size=4,
    steps=2,
    learning_rates=(1e-2,),
    warmup_steps=1,
    evaluate_every=1,
    curriculum=(3,),
)
QUICK = {"steps": 400, "hidden_size": 64, "learning_rates": (3e-3,)}


def settings_for(task: str, cell: str, config: Config) -> Settings:
    """The settings of the preset, with what the command line says instead."""
    del cell
    if config.preset == "smoke":
        settings = SMOKE
    else:
        settings = LONG.get(task, REGULAR)
        if config.preset == "quick":
            settings = dataclasses.replace(settings, **QUICK)
    shorter = [n for n in settings.curriculum if n < config.train_length]
    curriculum = () if task in LONG else tuple(shorter)
    settings = dataclasses.replace(settings, curriculum=curriculum)
    given = {
        name: value
        for name in ("steps", "learning_rates", "hidden_size")
        if (value := getattr(config, name)) is not None
    }
    return dataclasses.replace(settings, **given)
