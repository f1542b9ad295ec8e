"""Settings of a run, as a typed dataclass that is also the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..common.config import check, check_positive

Preset = Literal["smoke", "quick", "full"]
PROG = "python -m examples.glyph_names"


@dataclass(frozen=True)
class Config:
    """Names characters from their pictures, word by word.

    The pictures are the glyphs of a font, by default DejaVu Sans, which comes with
    Matplotlib; the names are those of Unicode, which come with Python.
    """

    preset: Preset = "quick"
    """smoke: seconds. quick: 1 minute, full: 3 minutes, on 2 quiet cores."""

    font: Path | None = None
    """Your own font file (TrueType or OpenType)."""

    output: Path = Path("runs/glyph_names")
    """Folder for metrics, checkpoints, pictures and the result."""

    resume: bool = False
    """Go on from the newest checkpoint in the output folder."""

    distributed: bool = False
    """Train on the devices of all processes together; see docs/distributed.md."""

    seed: int = 0
    """Seed of initial parameters, dropout and the order of examples."""

    image_size: int = 32
    """Pixels of a picture, each way."""

    first_code: int = 0x21
    """The first code point."""

    last_code: int = 0x1FFFF
    """The last code point."""

    channels: int = 32
    """Channels of the first convolution; each further one has twice as many."""

    embedding_size: int = 64
    """Size of the word embedding."""

    hidden_size: int = 192
    """Size of the hidden state of the LSTM that writes."""

    dropout: float = 0.3
    """Probability of dropping a feature, before and after the LSTM."""

    shift: int = 2
    """Training pictures are moved by up to so many pixels each way."""

    epochs: int = 8
    """Passes over the training glyphs."""

    batch_size: int = 64
    """Glyphs between two updates."""

    learning_rate: float = 3e-3
    """Peak of the cosine schedule."""

    weight_decay: float = 1e-2
    """Decoupled weight decay of kernels."""

    clip_norm: float = 1.0
    """Gradients are clipped to this global norm."""

    beam: int = 5
    """Hypotheses that the beam search keeps."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        check_positive(
            self,
            "channels embedding_size hidden_size epochs batch_size beam first_code",
        )
        check(self, "image_size", "a multiple of 8", lambda v: v > 0 and v % 8 == 0)
        check(self, "dropout", "in [0, 1)", lambda v: 0 <= v < 1)
        check(self, "learning_rate clip_norm", "above 0", lambda v: v > 0)
        check(self, "shift weight_decay seed", "at least 0", lambda v: v >= 0)
        last = f"at least --first-code {self.first_code} and below 0x110000"
        check(self, "last_code", last, lambda v: self.first_code <= v < 0x110000)


PRESETS = {
    "quick": Config(),
    "smoke": Config(
        preset="smoke",
        last_code=0x7E,
        image_size=16,
        channels=2,
        embedding_size=4,
        hidden_size=4,
        epochs=1,
        beam=2,
    ),
    "full": Config(preset="full", epochs=25),
}

# Options that may differ between a run and the run that resumes it.
RESUMABLE = frozenset("preset output resume distributed font beam".split())
