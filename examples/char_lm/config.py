"""Settings of a run, as a typed dataclass that is also the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from examples.common import config as common
from examples.common.errors import InputError

Preset = Literal["smoke", "default", "full"]
Optimizer = Literal["sgd", "momentum", "rmsprop", "adam", "adamw"]


@dataclass(frozen=True)
class Config:
    """Trains a character language model and compares it with n-grams and xz.

    A preset sets the defaults of all other options; each can still be given.
    """

    preset: Preset = "default"
    """smoke: seconds. default: under 5 minutes, full: about an hour, on 2 cores."""

    data: Path | None = None
    """Your own text: a UTF-8 file, or a folder with train.txt, valid.txt, test.txt."""

    output: Path = Path("runs/char_lm")
    """Folder for metrics, checkpoints, the picture and the result."""

    resume: bool = False
    """Go on from the newest checkpoint in the output folder."""

    distributed: bool = False
    """Train on the devices of all processes together; see docs/distributed.md."""

    cell: str = "lstm"
    """Any cell alias of rnnjax: simple, lstm, gru, ..."""

    hidden_size: int = 256
    """Size of the hidden state of each layer."""

    num_layers: int = 1
    """Number of stacked recurrent layers."""

    embedding_size: int = 64
    """Size of the character embedding."""

    layer_norm: bool = False
    """Layer normalisation inside the recurrence."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; parameters, cell states and losses stay float32."""

    dropout: float = 0.0
    """Probability of dropping a feature, before and after each recurrent layer."""

    steps: int = 1_100
    """Number of optimiser steps."""

    batch_size: int = 32
    """Number of places in the text that are read side by side."""

    window: int = 64
    """Characters between two updates (truncated backpropagation through time)."""

    optimizer: Optimizer = "adam"
    """Which Optax optimiser."""

    learning_rate: float = 4e-3
    """Peak of the cosine schedule."""

    warmup_steps: int = 50
    """Steps of linear warm-up before the cosine decay."""

    weight_decay: float = 0.0
    """Decoupled weight decay of kernels (adamw only)."""

    clip_norm: float = 1.0
    """Gradients are clipped to this global norm."""

    seed: int = 0
    """Seed of initial parameters, dropout and the sample."""

    max_context: int = 5
    """Longest context of the n-gram baselines, in characters."""

    xz_primed: bool = False
    """Also compress the held-out text primed with the training text (slow)."""

    log_every: int = 20
    """Steps between two lines of metrics."""

    evaluate_every: int = 500
    """Steps between two looks at the development text."""

    evaluate_characters: int = 50_000
    """Characters of the development text that such a look reads."""

    checkpoint_every: int = 500
    """Steps between two checkpoints; the last step always makes one."""

    prompt: str = "Returns the "
    """Text that the sample continues."""

    sample_length: int = 400
    """Characters to sample; 0 for none."""

    temperature: float = 0.7
    """Temperature of the sample; 0 takes the most probable character."""

    top_k: int = 0
    """Sample among this many most probable characters; 0 for all."""

    top_p: float = 1.0
    """Sample among the most probable characters that make up this probability."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        for name in (
            "hidden_size num_layers embedding_size steps batch_size window log_every "
            "evaluate_every evaluate_characters checkpoint_every"
        ).split():
            _check(self, name, getattr(self, name) >= 1, "at least 1")
        for name in "warmup_steps sample_length top_k max_context weight_decay".split():
            _check(self, name, getattr(self, name) >= 0, "at least 0")
        _check(self, "dropout", 0 <= self.dropout < 1, "in [0, 1)")
        _check(self, "learning_rate", self.learning_rate > 0, "above 0")
        _check(self, "clip_norm", self.clip_norm > 0, "above 0")
        _check(self, "temperature", self.temperature >= 0, "at least 0")
        _check(self, "top_p", 0 < self.top_p <= 1, "in (0, 1]")
        _check(self, "prompt", bool(self.prompt), "at least one character")


def _check(config: Config, name: str, valid: bool, expected: str) -> None:
    if not valid:
        option = "--" + name.replace("_", "-")
        raise InputError(f"Expected {option} {expected}, got {getattr(config, name)}.")


PRESETS: dict[str, Config] = {
    "default": Config(),
    "smoke": Config(
        preset="smoke",
        hidden_size=16,
        embedding_size=8,
        steps=4,
        batch_size=4,
        window=16,
        warmup_steps=1,
        max_context=2,
        log_every=1,
        evaluate_every=2,
        evaluate_characters=1_000,
        checkpoint_every=2,
        sample_length=40,
    ),
    "full": Config(
        preset="full",
        hidden_size=512,
        embedding_size=128,
        steps=6_000,
        warmup_steps=200,
        max_context=8,
        xz_primed=True,
        sample_length=1_000,
    ),
}

# Options that may differ between a run and the run that resumes it.
RESUMABLE = frozenset(
    "output resume data distributed log_every prompt sample_length temperature top_k "
    "top_p max_context xz_primed".split()
)


def parse(arguments: Sequence[str] | None = None) -> Config:
    """Reads the command line: the preset first, then what differs from it."""
    return common.parse(PRESETS, "default", "python -m examples.char_lm", arguments)
