"""Settings of a study, as a typed dataclass that is also the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from examples.common.config import check, check_positive

Preset = Literal["smoke", "quick", "full"]
TaskName = Literal[
    "copy_memory",
    "adding",
    "even_pairs",
    "modular_arithmetic",
    "parity_check",
    "cycle_navigation",
]
CellName = Literal["simple", "lstm", "gru", "lru", "min_gru"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)
CELLS: tuple[CellName, ...] = get_args(CellName)


@dataclass(frozen=True)
class Config:
    """Trains every cell on every task and puts the results beside the published ones.

    A preset sets the defaults of all other options; each can still be given. What is
    done already is left as it is, so that the same command goes on after an
    interruption.
    """

    preset: Preset = "quick"
    """smoke: seconds. quick: two minutes, full: about two hours, on 2 cores."""

    tasks: tuple[TaskName, ...] = ("copy_memory", "parity_check")
    """Which tasks."""

    cells: tuple[CellName, ...] = ("lstm", "lru")
    """Which cells."""

    output: Path = Path("runs/memory_tasks")
    """Folder for the results, the table and the pictures."""

    train: bool = True
    """Train what is missing; without it, table and pictures of what is there."""

    distributed: bool = False
    """Train on the devices of all processes together; see docs/distributed.md."""

    seed: int = 0
    """Seed of the data and of the initial parameters."""

    copy_delay: int = 100
    """T of copy memory; a sequence has 20 steps more."""

    adding_length: int = 50
    """T of the adding problem."""

    train_length: int = 20
    """Greatest length of the strings that the regular tasks train on."""

    test_length: int = 50
    """Greatest length of the test strings; the least is the train length and one."""

    evaluated: int = 16
    """Measure of the development and test data: sequences of copy memory, 4 times as
    many of adding and of each length of string; the test sets have 4 times that."""

    steps: int | None = None
    """Most optimiser steps of each run, instead of those of the preset."""

    learning_rates: tuple[float, ...] | None = None
    """What to try, instead of those of the preset."""

    hidden_size: int | None = None
    """Size of the hidden state, instead of those of the preset."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        check_positive(self, "copy_delay evaluated train_length")
        optional = "None or at least 1"
        check(self, "steps hidden_size", optional, lambda n: n is None or n >= 1)
        check(self, "adding_length", "at least 2", lambda n: n >= 2)
        least = self.train_length + 2
        check(self, "test_length", f"at least {least}", lambda n: n >= least)
        check(self, "tasks cells", "at least one", bool)
        check(
            self,
            "learning_rates",
            "None or one and more, all above 0",
            lambda rates: rates is None or (rates and min(rates) > 0),
        )


PRESETS: dict[str, Config] = {
    "quick": Config(),
    "smoke": Config(
        preset="smoke",
        tasks=("copy_memory", "modular_arithmetic"),
        cells=("lru",),
        copy_delay=5,
        adding_length=6,
        train_length=5,
        test_length=8,
        evaluated=2,
    ),
    "full": Config(
        preset="full",
        tasks=TASKS,
        cells=CELLS,
        copy_delay=1000,
        adding_length=600,
        train_length=40,
        test_length=100,
        evaluated=32,
    ),
}
