"""Settings of a run, as a typed dataclass that is also the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..common.config import check, check_positive
from ..common.errors import InputError

Preset = Literal["smoke", "quick", "full"]
PROG = "python -m examples.forecasting"


@dataclass(frozen=True)
class Config:
    """Forecasts a series with two seasons, with intervals.

    By default, half-hourly electricity demand, whose seasons are the day and the week.
    """

    preset: Preset = "quick"
    """smoke: seconds. quick: under a minute, full: a minute, on 2 quiet cores."""

    data: Path | None = None
    """Your own CSV file with a header, one row a step; see --column."""

    column: str = "value"
    """The column of --data that is to be foretold."""

    output: Path = Path("runs/forecasting")
    """Folder for metrics, checkpoints, pictures and the result."""

    resume: bool = False
    """Go on from the newest checkpoint in the output folder."""

    distributed: bool = False
    """Train on the devices of all processes together; see docs/distributed.md."""

    seed: int = 0
    """Seed of initial parameters, dropout and the order of examples."""

    day: int = 48
    """Steps of the short season."""

    week: int = 336
    """Steps of the long season."""

    horizon: int = 48
    """Steps to foretell; at most a day."""

    past: int = 96
    """Steps that the encoder reads."""

    test_share: float = 1 / 3
    """The last part of the series, for the test."""

    dev_share: float = 1 / 6
    """The part before it, for choices."""

    cell: Literal["simple", "lstm", "gru", "lru", "min_gru"] = "gru"
    """The recurrent layer of encoder and decoder."""

    hidden_size: int = 24
    """Size of the hidden state."""

    dropout: float = 0.1
    """Probability of dropping an output of the decoder's recurrent layer."""

    steps: int = 150
    """Number of optimiser steps."""

    batch_size: int = 32
    """Windows between two updates."""

    learning_rate: float = 5e-3
    """Peak of the cosine schedule."""

    weight_decay: float = 0.1
    """Decoupled weight decay of kernels."""

    clip_norm: float = 1.0
    """Gradients are clipped to this global norm."""

    evaluate_every: int = 50
    """Steps between two looks at the development part."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        check_positive(
            self, "day week horizon past hidden_size steps batch_size evaluate_every"
        )
        check(self, "dropout", "in [0, 1)", lambda v: 0 <= v < 1)
        check(self, "test_share dev_share", "in (0, 1)", lambda v: 0 < v < 1)
        check(self, "learning_rate clip_norm", "above 0", lambda v: v > 0)
        check(self, "weight_decay seed", "at least 0", lambda v: v >= 0)
        if not self.horizon <= self.day <= self.week:
            raise InputError(
                f"Expected --horizon <= --day <= --week, got {self.horizon}, "
                f"{self.day}, {self.week}."
            )


PRESETS = {
    "quick": Config(),
    "smoke": Config(
        preset="smoke", hidden_size=4, steps=2, batch_size=4, evaluate_every=1
    ),
    "full": Config(preset="full", steps=400),
}

# Options that may differ between a run and the run that resumes it.
RESUMABLE = frozenset("preset output resume distributed data".split())
