"""How each cell is trained on each task: sizes, steps, learning rates."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from .config import Config
from .regular import LANGUAGES

LINEAR = ("lru", "min_gru")  # Cells that are linear in their carry.


@dataclass(frozen=True)
class Settings:
    """The training of one cell on one task.

    Attributes:
        hidden_size: of the recurrence, and of the readout layer after it.
        hidden_readout: whether there is one; without it the class must be linear in
            what the recurrence puts out.
        features: size of what the recurrence is fed.
        batch_size: sequences of a step (rows of two strings for the regular tasks).
        steps: most optimiser steps.
        learning_rates: tried in this order until one is good enough.
        warmup_steps: of the learning rate.
        evaluate_every: steps between two looks at the development data.
        curriculum: greatest lengths of training strings; the next one comes when
            nearly all training strings since the last look were right. Empty: the full
            length from the start.
        longest_memory: gates begin as slow as this many steps ask; None: as they do.
        min_radius: of the LRU's ring.
        ring_rate: learning rate of the LRU's ring, as a part of the others'.
    """

    hidden_size: int = 128
    hidden_readout: bool = True
    features: int = 32
    batch_size: int = 64
    steps: int = 3_000
    learning_rates: tuple[float, ...] = (3e-3,)
    warmup_steps: int = 50
    evaluate_every: int = 100
    curriculum: tuple[int, ...] = ()
    longest_memory: int | None = None
    min_radius: float = 0.0
    ring_rate: float = 0.1


REGULAR = Settings(curriculum=(5, 10, 20))
LONG = {
    "copy_memory": Settings(
        batch_size=8, steps=300, evaluate_every=25, min_radius=0.999, ring_rate=1e-3
    ),
    "adding": Settings(
        hidden_size=64,
        batch_size=32,
        steps=1_000,
        evaluate_every=50,
        min_radius=0.999,
        ring_rate=1e-3,
    ),
}
# What probes on training and development data asked for, and what little was left for
# the cells that others have seen fail.
OTHERWISE: dict[tuple[str, str], dict[str, Any]] = {
    ("copy_memory", "simple"): {"steps": 100},
    ("copy_memory", "gru"): {"steps": 100},
    ("copy_memory", "min_gru"): {"steps": 100},
    ("adding", "simple"): {"steps": 200},
    ("adding", "lstm"): {"steps": 500},
    ("adding", "lru"): {"steps": 400},
    ("adding", "min_gru"): {"steps": 200},
    ("modular_arithmetic", "simple"): {"steps": 2_000, "learning_rates": (1e-3,)},
    ("modular_arithmetic", "lstm"): {"steps": 4_000},
    ("modular_arithmetic", "gru"): {"steps": 2_500},
    **{
        ("cycle_navigation", cell): {"hidden_size": 64, "hidden_readout": False}
        for cell in ("simple", "lstm")
    },
    ("cycle_navigation", "gru"): {
        "hidden_size": 64,
        "hidden_readout": False,
        "steps": 1_500,
    },
    **{(task, cell): {"steps": 1_000} for task in LANGUAGES for cell in LINEAR},
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
    if config.preset == "smoke":
        settings = SMOKE
    else:
        settings = LONG.get(task, REGULAR)
        otherwise = OTHERWISE.get((task, cell), {})
        settings = dataclasses.replace(settings, **otherwise)
        if config.preset == "quick":
            settings = dataclasses.replace(settings, **QUICK)
    longest = {"copy_memory": config.copy_delay, "adding": config.adding_length}
    shorter = [n for n in settings.curriculum if n < config.train_length]
    curriculum = () if task in LONG else tuple(shorter)
    settings = dataclasses.replace(
        settings, curriculum=curriculum, longest_memory=longest.get(task)
    )
    given = {
        name: value
        for name in ("steps", "learning_rates", "hidden_size")
        if (value := getattr(config, name)) is not None
    }
    return dataclasses.replace(settings, **given)
