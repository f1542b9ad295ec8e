"""Settings of a run, as a typed dataclass that is also the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..common.config import check, check_positive

Preset = Literal["smoke", "quick", "full"]
PROG = "python -m examples.speech"


@dataclass(frozen=True)
class Config:
    """Recognises speech by characters, with a bidirectional LSTM and CTC.

    By default, the prompts of a telephone exchange: some 20 minutes of one speaker,
    which is little. ``python -m examples.fetch asterisk-core-sounds-en-gsm
    asterisk-core-sounds-en`` fetches them on Debian and Ubuntu.
    """

    preset: Preset = "quick"
    """smoke: seconds. quick: 5 minutes, full: half an hour, on 2 cores."""

    data: Path | None = None
    """Your own recordings: a CSV file path,transcript of WAV or FLAC files."""

    output: Path = Path("runs/speech")
    """Folder for metrics, checkpoints, pictures and the result."""

    resume: bool = False
    """Go on from the newest checkpoint in the output folder."""

    distributed: bool = False
    """Train on the devices of all processes together; see docs/distributed.md."""

    seed: int = 0
    """Seed of initial parameters, dropout and the order of examples."""

    longest: float = 12.0
    """Seconds; longer recordings are left out."""

    mel_channels: int = 40
    """Channels of the mel spectrogram."""

    stacked: int = 3
    """Frames of 10 ms that are put together into one step."""

    hidden_size: int = 128
    """Size of the hidden state of each direction."""

    num_layers: int = 2
    """Number of stacked bidirectional layers."""

    dropout: float = 0.3
    """Probability of dropping a feature, between and after the layers."""

    time_masks: int = 2
    """Stretches of time that are hidden in a training example."""

    channel_masks: int = 2
    """Stretches of channels that are hidden in a training example."""

    speed: float = 1.15
    """Training examples are read up to so many times faster or slower."""

    epochs: int = 6
    """Passes over the training recordings."""

    batch_size: int = 8
    """Recordings between two updates."""

    learning_rate: float = 3e-3
    """Peak of the cosine schedule."""

    weight_decay: float = 1e-2
    """Decoupled weight decay of kernels."""

    clip_norm: float = 1.0
    """Gradients are clipped to this global norm."""

    beam: int = 32
    """Prefixes that the beam search keeps."""

    order: int = 6
    """Characters of an n-gram of the language model."""

    weights: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Weights of the language model to try on the development recordings."""

    insertions: tuple[float, ...] = (0.0, 1.0)
    """Bonuses of a character to try on the development recordings."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        check_positive(
            self,
            "mel_channels stacked hidden_size num_layers epochs batch_size beam order",
        )
        check(self, "dropout", "in [0, 1)", lambda v: 0 <= v < 1)
        check(self, "speed", "at least 1", lambda v: v >= 1)
        check(self, "longest learning_rate clip_norm", "above 0", lambda v: v > 0)
        at_least_0 = "time_masks channel_masks weight_decay seed"
        check(self, at_least_0, "at least 0", lambda v: v >= 0)
        check(self, "weights insertions", "at least one number", lambda v: len(v) > 0)


PRESETS = {
    "quick": Config(),
    "smoke": Config(
        preset="smoke",
        hidden_size=4,
        num_layers=1,
        epochs=1,
        batch_size=2,
        beam=2,
        weights=(0.5,),
        insertions=(0.0,),
    ),
    "full": Config(preset="full", epochs=20),
}

# Options that may differ between a run and the run that resumes it.
RESUMABLE = frozenset(
    "preset output resume distributed data beam order weights insertions".split()
)
