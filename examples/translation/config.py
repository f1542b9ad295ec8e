"""Settings of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.common.config import check_positive
from examples.common.config import parse as common_parse
from examples.common.writer import WriterConfig


@dataclass(frozen=True)
class Config(WriterConfig):
    """Learns to translate: attention, scheduled sampling, beam search.

    A preset sets the defaults of all other options; each can still be given.
    """

    output: Path = Path("runs/translation")
    """Folder for metrics, checkpoints, pictures and the result."""

    source: Path | None = None
    """Your own sentences, one on each line; by default English verses."""

    target: Path | None = None
    """Their translations on the same lines; by default Spanish verses."""

    steps: int = 300
    """Number of optimiser steps."""

    longest: int = 25
    """Pairs with more tokens on a side are left out."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        super().__post_init__()
        check_positive(self, "longest")


PRESETS = {
    "quick": Config(),
    "full": Config(
        preset="full",
        steps=2_500,
        hidden_size=192,
        vocabulary=6_000,
        longest=30,
        warmup_steps=100,
        validate_every=500,
    ),
}


def parse(arguments: Sequence[str] | None = None) -> Config:
    """Reads the command line: the preset first, then what differs from it."""
    return common_parse(PRESETS, "quick", "python -m examples.translation", arguments)
