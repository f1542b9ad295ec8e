"""Settings of a sweep: a typed dataclass that is also the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from examples.common import config as common
from examples.common.errors import InputError

RANGES = "hidden_size window learning_rate num_layers dropout clip_norm"


@dataclass(frozen=True)
class Config:
    """Looks for good hyperparameters of the character language model, by Optuna.

    Every trial trains on as many characters as the others, and is scored by the bits
    per character of the development text. Run the command several times at once with
    the same --output, each with a --worker of its own, and they share the work; run it
    again after an interruption, and it goes on.
    """

    preset: Literal["quick", "full"] = "quick"
    """quick: minutes, full: hours, on 2 cores."""

    output: Path = Path("runs/sweep")
    """Folder of the study: its journal, the trials, the pictures and the result."""

    data: Path | None = None
    """Your own text: a UTF-8 file, or a folder with train.txt, valid.txt, test.txt."""

    trials: int = 12
    """Number of trials in all, those of other processes and earlier runs included."""

    worker: int = 0
    """Number of this process among those that share the study, from 0 on."""

    characters: int = 100_000
    """Characters of training text that a trial reads."""

    evaluate_characters: int = 10_000
    """Characters of development text that score it."""

    looks: int = 4
    """How often a trial is scored; after each it may be pruned."""

    unpruned: int = 3
    """Trials that are finished in any case, before any is pruned."""

    cell: str = "lstm"
    """Any cell alias of rnnjax: simple, lstm, gru, ..."""

    batch_size: int = 32
    """Number of places in the text that are read side by side."""

    hidden_size: tuple[int, int] = (32, 128)
    """Least and largest, drawn by powers of 2."""

    window: tuple[int, int] = (16, 128)
    """Least and largest, drawn by powers of 2."""

    learning_rate: tuple[float, float] = (5e-4, 3e-2)
    """Least and largest, drawn uniformly in the logarithm."""

    num_layers: tuple[int, int] = (1, 2)
    """Least and largest."""

    dropout: tuple[float, float] = (0.0, 0.4)
    """Least and largest."""

    clip_norm: tuple[float, float] = (0.1, 10.0)
    """Threshold of the gradient's norm, drawn uniformly in the logarithm."""

    seed: int = 0
    """Seed of the search and of every trial."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        common.check_positive(
            self, "trials characters evaluate_characters looks unpruned batch_size"
        )
        common.check(self, "worker", "at least 0", lambda value: value >= 0)
        common.check(
            self, RANGES, "the least value first", lambda pair: pair[0] <= pair[1]
        )
        common.check(
            self,
            "hidden_size window learning_rate num_layers clip_norm",
            "above 0",
            lambda pair: pair[0] > 0,
        )
        common.check(self, "dropout", "in [0, 1)", lambda p: p[0] >= 0 and p[1] < 1)
        need = self.looks * self.batch_size * self.window[1]
        if self.characters < need:
            raise InputError(
                f"Expected --characters of at least {need:,}, a step for each of "
                f"--looks {self.looks} at the largest --window, got "
                f"{self.characters:,}."
            )


PRESETS: dict[str, Config] = {
    "quick": Config(),
    "full": Config(
        preset="full",
        trials=60,
        characters=2_000_000,
        evaluate_characters=100_000,
        looks=8,
        unpruned=10,
        hidden_size=(64, 512),
        window=(16, 256),
        num_layers=(1, 3),
    ),
}


def parse(arguments: Sequence[str] | None = None) -> Config:
    """Reads the command line: the preset first, then what differs from it."""
    return common.parse(PRESETS, "quick", "python -m examples.sweep", arguments)
