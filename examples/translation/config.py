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

    learning_rate: float = 4e-3
    """Peak of the cosine schedule."""

    hidden_size: int = 128
    """Size of the hidden state of the decoder, and of the encoder's two directions."""

    embedding_size: int = 64
    """Size of the embeddings of words."""

    num_layers: int = 1
    """Recurrent layers of the encoder."""

    dropout: float = 0.2
    """Probability of dropping a feature of embeddings and outputs."""

    vocabulary: int = 2_000
    """Words of each language that have a number of their own, the most frequent."""

    longest: int = 25
    """Pairs with more tokens on a side are left out."""

    least_truth: float = 0.8
    """Scheduled sampling: the decoder is given the true word before with a probability
    that falls linearly from 1 to this one."""

    beam: int = 5
    """Hypotheses of the beam search."""

    length_penalties: tuple[float, ...] = (0.0, 0.6, 1.0)
    """Of the beam search; the one that counts is chosen on development pairs."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        super().__post_init__()
        check_positive(self, "vocabulary longest")
        check(self, "least_truth", "in [0, 1]", lambda value: 0 <= value <= 1)
        check(
            self,
            "length_penalties",
            "at least one, none below 0",
            lambda values: bool(values) and min(values) >= 0,
        )


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
