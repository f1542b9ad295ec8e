"""Settings of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.common.config import check, check_positive
from examples.common.config import parse as common_parse
from examples.common.training import TrainingConfig


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Learns to tag words by their characters and by their neighbours.

    A preset sets the defaults of all other options; each can still be given.
    """

    output: Path = Path("runs/tagging")
    """Folder for metrics, checkpoints, pictures and the result."""

    data: Path | None = None
    """Your own CoNLL-U file; by default the package turkish-treebanks."""

    steps: int = 300
    """Number of optimiser steps."""

    batch_size: int = 32
    """Sentences in a batch."""

    learning_rate: float = 4e-3
    """Peak of the cosine schedule."""

    hidden_size: int = 128
    """Size of the hidden states over words, of both directions together."""

    embedding_size: int = 64
    """Size of the embedding of words."""

    character_size: int = 64
    """Size of what the characters of a word give, of both directions together."""

    dropout: float = 0.4
    """Probability of dropping a feature of words and of their hidden states."""

    longest_word: int = 16
    """Of a longer word only the last characters are read, which carry its endings."""

    validate_every: int = 100
    """Steps between two looks at the development data, and between checkpoints."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        super().__post_init__()
        check_positive(self, "longest_word")
        check(self, "character_size", "at least 2", lambda value: value >= 2)


PRESETS = {
    "quick": Config(),
    "full": Config(preset="full", steps=1_500, validate_every=250),
}


def parse(arguments: Sequence[str] | None = None) -> Config:
    """Reads the command line: the preset first, then what differs from it."""
    return common_parse(PRESETS, "quick", "python -m examples.tagging", arguments)
