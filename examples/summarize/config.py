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
    """Learns to write the summary line of a docstring from its body.

    A preset sets the defaults of all other options; each can still be given.
    """

    output: Path = Path("runs/summarize")
    """Folder for metrics, checkpoints, pictures and the result."""

    data: Path | None = None
    """Your own CSV with the columns text and summary; by default docstrings of the
    standard library, numpy, scipy and jax."""

    steps: int = 200
    """Number of optimiser steps."""

    longest_text: int = 50
    """Of a longer text the first tokens are read."""

    longest_summary: int = 20
    """Texts whose summary has more tokens are left out."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        super().__post_init__()
        check_positive(self, "longest_text longest_summary")


PRESETS = {
    "quick": Config(),
    "full": Config(preset="full", steps=1_500, vocabulary=5_000, validate_every=250),
}


def parse(arguments: Sequence[str] | None = None) -> Config:
    """Reads the command line: the preset first, then what differs from it."""
    return common_parse(PRESETS, "quick", "python -m examples.summarize", arguments)
