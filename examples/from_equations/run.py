"""The example: a sine wave, three networks, each beside its twin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.progress import track

from examples.from_equations.comparison import train_beside_twin
from examples.from_equations.gru import GRU
from examples.from_equations.lstm import LSTM
from examples.from_equations.report import draw_losses, gradient_table, loss_table
from examples.from_equations.simple_rnn import SimpleRNN

TOLERANCE = 1e-9


@dataclass(frozen=True)
class Config:
    """Trains NumPy networks beside their JAX twins and compares their gradients.

    The task is to predict the next value of a sine wave. Both sides start from the same
    weights, work in float64, and then go their own ways: each computes its own
    gradients, and takes its own steps of SGD.
    """

    epochs: int = 300
    """How often to go through the sequence."""

    learning_rate: float = 0.01
    """Learning rate of SGD."""

    hidden_size: int = 16
    """Size of the hidden state."""

    steps: int = 40
    """Length of the sequence."""

    period: float = 20.0
    """Period of the wave, in steps."""

    seed: int = 0
    """Seed of the initial weights."""

    output: Path = Path("runs/from_equations")
    """Folder for the picture of the losses."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        for name in ("epochs", "hidden_size", "steps"):
            _check(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("learning_rate", "period"):
            _check(self, name, getattr(self, name) > 0, "above 0")
        _check(self, "seed", self.seed >= 0, "at least 0")


def _check(config: Config, name: str, valid: bool, expected: str) -> None:
    if not valid:
        option = "--" + name.replace("_", "-")
        raise ValueError(f"Expected {option} {expected}, got {getattr(config, name)}.")


def run(config: Config) -> bool:
    """Trains and compares, prints two tables, draws the losses.

    Returns:
        Whether losses and gradients agree to `TOLERANCE` in every epoch.
    """
    console = Console()
    wave = np.sin(2 * np.pi * np.arange(config.steps + 1) / config.period)[:, None]
    inputs, targets = wave[:-1], wave[1:]
    baseline = 0.5 * np.sum((targets - inputs) ** 2)

    results = {}
    with jax.enable_x64(True):
        for network in (SimpleRNN, LSTM, GRU):
            model = network(1, config.hidden_size, 1, seed=config.seed)
            epochs = track(range(config.epochs), network.__name__, console=console)
            results[network.__name__] = train_beside_twin(
                model, inputs, targets, epochs, config.learning_rate
            )

    console.print(gradient_table(results), loss_table(results))
    console.print(f"Repeating the last value instead has loss {baseline:.4f}.")
    equal = all(result.agrees(TOLERANCE) for result in results.values())
    console.print(
        f"Gradients and losses are {'equal' if equal else '[red]NOT equal[/red]'} to "
        f"{TOLERANCE:.0e}, in each of {config.epochs} epochs."
    )
    picture = draw_losses(results, baseline, config.output / "losses.png")
    console.print(f"Losses drawn in {picture}", soft_wrap=True)
    return equal
