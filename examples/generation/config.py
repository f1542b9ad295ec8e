"""Settings of a run, as a typed dataclass that is also the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..common.config import check, check_positive

Preset = Literal["smoke", "quick", "full"]
PROG = "python -m examples.generation"


@dataclass(frozen=True)
class Config:
    """Continues held-out texts with every strategy, and says how each one writes.

    The model is one that ``python -m examples.char_lm`` has trained.
    """

    preset: Preset = "quick"
    """smoke: seconds. quick: a minute, full: a few minutes, on 2 cores."""

    model: Path = Path("runs/char_lm")
    """The output folder of examples.char_lm."""

    data: Path | None = None
    """What --data of examples.char_lm was, if it was given."""

    output: Path = Path("runs/generation")
    """Folder for the samples and the result."""

    seed: int = 0
    """Seed of the draws."""

    prompts: int = 16
    """Places of the held-out text that are continued."""

    prompt_length: int = 100
    """Characters of each prompt."""

    length: int = 300
    """Characters of each continuation."""

    temperature: float = 0.7
    """Of the strategy "temperature"."""

    top_k: int = 10
    """Of the strategy "top-k"."""

    top_p: float = 0.9
    """Of the strategy "top-p"."""

    min_p: float = 0.1
    """Of the strategy "min-p"."""

    repetition_penalty: float = 1.2
    """Of the strategy "repetition penalty", at the temperature above."""

    beam: int = 5
    """Hypotheses of the strategy "beam"."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        check_positive(self, "prompts length top_k beam")
        check(self, "prompt_length", "at least 2", lambda v: v >= 2)
        check(self, "temperature repetition_penalty", "above 0", lambda v: v > 0)
        check(self, "top_p min_p", "in (0, 1]", lambda v: 0 < v <= 1)
        check(self, "seed", "at least 0", lambda v: v >= 0)


PRESETS = {
    "quick": Config(),
    "smoke": Config(preset="smoke", prompts=2, prompt_length=5, length=6, beam=2),
    "full": Config(preset="full", prompts=64, length=500),
}
