"""Settings of a run, as a typed dataclass that is also the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..common.config import check, check_positive

Preset = Literal["smoke", "quick", "full"]
PROG = "python -m examples.japanese_vowels"


@dataclass(frozen=True)
class Config:
    """Classifies short multivariate series; by default, who says two vowels.

    Networks of several seeds are trained side by side, and each is scored once on the
    test series. Nothing else looks at these: the settings come from the log of
    ``python -m examples.japanese_vowels.select``.
    """

    preset: Preset = "quick"
    """smoke: seconds. quick: one seed. full: the five seeds of the result."""

    train: Path | None = None
    """Your own series in sktime's .ts format, with --test."""

    test: Path | None = None
    """Your own test series."""

    output: Path = Path("runs/japanese_vowels")
    """Folder for metrics, checkpoints, pictures and the result."""

    resume: bool = False
    """Go on from the newest checkpoint in the output folder."""

    distributed: bool = False
    """Train on the devices of all processes together; see docs/distributed.md."""

    seed: int = 0
    """The first seed; further runs take the next ones."""

    runs: int = 1
    """Number of seeds that are trained side by side."""

    cell: Literal["simple", "lstm", "gru", "lru", "min_gru"] = "gru"
    """The recurrent layer, one in each direction."""

    hidden_size: int = 64
    """Size of the hidden state of each direction."""

    num_layers: int = 1
    """Number of stacked bidirectional layers."""

    projection: int = 0
    """Size of a linear layer before the recurrent ones; 0 for none."""

    pool: Literal["mean", "max", "mean_max"] = "max"
    """How outputs become one vector."""

    deltas: bool = True
    """Also give the network how each channel changes from step to step."""

    dropout: float = 0.5
    """Probability of dropping a pooled feature."""

    input_dropout: float = 0.0
    """Probability of dropping a feature of a layer's input for a whole series."""

    recurrent_dropout: float = 0.0
    """Probability of dropping a hidden unit for a whole series."""

    crop: float = 0.6
    """Training series are cut to at least this part of them."""

    speed: float = 1.25
    """Training series are read up to so many times faster or slower."""

    noise: float = 0.3
    """Deviation of the noise added to each step of a training series."""

    offset: float = 0.5
    """Deviation of the noise added to a whole channel of a training series."""

    label_smoothing: float = 0.1
    """Probability that is spread over all classes in the loss."""

    epochs: int = 60
    """Passes over the training series."""

    batch_size: int = 32
    """Series between two updates."""

    learning_rate: float = 5e-3
    """Peak of the cosine schedule."""

    weight_decay: float = 1e-2
    """Decoupled weight decay of kernels."""

    clip_norm: float = 1.0
    """Gradients are clipped to this global norm."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        check_positive(self, "runs hidden_size num_layers epochs batch_size")
        at_least_0 = "projection noise offset weight_decay seed"
        check(self, at_least_0, "at least 0", lambda v: v >= 0)
        probabilities = "dropout input_dropout recurrent_dropout label_smoothing"
        check(self, probabilities, "in [0, 1)", lambda v: 0 <= v < 1)
        check(self, "crop", "in (0, 1]", lambda v: 0 < v <= 1)
        check(self, "speed", "at least 1", lambda v: v >= 1)
        check(self, "learning_rate clip_norm", "above 0", lambda v: v > 0)


PRESETS = {
    "quick": Config(),
    "smoke": Config(preset="smoke", hidden_size=4, epochs=1, runs=2),
    "full": Config(preset="full", runs=5),
}

# Options that may differ between a run and the run that resumes it.
RESUMABLE = frozenset("preset output resume distributed train test seed runs".split())
