"""Simple, LSTM and GRU at equal time: ``python -m examples.char_lm.compare``.

Every cell is trained for the same number of seconds, with each of the learning rates.
The runs are interleaved: the next step always goes to the run that has used the least
time, so a busy machine slows all of them alike. The cosine schedule follows the share
of the time that is used up. Compilation does not count. The learning rate of each cell
is chosen on the development text, and the held-out text is scored once for each cell.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import optax
import rich.console
import tyro

from examples.common.config import as_json
from examples.common.machine import describe_machine, describe_versions
from rnnjax import training

from . import report
from .config import PRESETS, Config
from .data import Windows
from .model import build_model, make_evaluator
from .train import initial_state, load_text


@dataclass(frozen=True)
class CompareConfig:
    """Compares cells at equal training time on the same text."""

    cells: tuple[str, ...] = ("simple", "lstm", "gru")
    """Cell aliases of rnnjax."""

    learning_rates: tuple[float, ...] = (2e-3, 6e-3)
    """Each cell is trained with each; the better one on the development text counts."""

    seconds: float = 180.0
    """Training time of each run."""

    hidden_size: int = PRESETS["default"].hidden_size
    """Size of the hidden state of each layer."""

    num_layers: int = 1
    """Number of stacked recurrent layers."""

    data: Path | None = None
    """Your own text, as for python -m examples.char_lm."""

    seed: int = 0
    """Seed of the initial parameters."""

    output: Path = Path("runs/char_lm_compare")
    """Folder for the JSON and the table."""

    def settings(self, cell: str, learning_rate: float) -> Config:
        """The settings of one run: the default preset but for what is given here."""
        return dataclasses.replace(
            PRESETS["default"],
            cell=cell,
            learning_rate=learning_rate,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            data=self.data,
            seed=self.seed,
        )


# What all runs share; the rest of the settings is for a run on its own.
_SHARED = frozenset(
    "data hidden_size num_layers embedding_size layer_norm dropout batch_size window "
    "optimizer warmup_steps weight_decay clip_norm seed".split()
)


class _Run:
    """One cell with one learning rate."""

    def __init__(self, config: Config, text, seconds: float):
        self.config = config
        self.seconds = seconds
        self.used = 0.0
        self.steps = 0
        self.model = build_model(config, text.vocabulary.size)
        optimizer = optax.inject_hyperparams(
            lambda learning_rate: training.optimizer(
                config.optimizer,
                learning_rate,
                clip_norm=config.clip_norm,
                weight_decay=config.weight_decay,
            )
        )(learning_rate=config.learning_rate)
        self.state = initial_state(config, self.model, optimizer)
        self.train_step = training.train_step(
            training.language_model_loss(self.model), optimizer, donate=False
        )
        self.evaluate = make_evaluator(self.model, text.vocabulary)
        self.windows = Windows(text.train, config.batch_size, config.window)
        self.key = jax.random.key(config.seed)
        jax.block_until_ready(self._next())  # Compiles.

    def _next(self):
        rate = self.config.learning_rate * min(
            (self.steps + 1) / max(self.config.warmup_steps, 1),
            0.5 + 0.5 * math.cos(math.pi * min(self.used / self.seconds, 1.0)),
        )
        self.state.opt_state.hyperparams["learning_rate"] = np.float32(rate)
        key = jax.random.fold_in(self.key, self.steps)
        return self.train_step(self.state, self.windows[self.steps], key)

    def advance(self) -> None:
        begun = time.perf_counter()
        self.state, _ = jax.block_until_ready(self._next())
        self.steps += 1
        self.used += time.perf_counter() - begun


def compare(config: CompareConfig) -> dict:
    """Trains all runs and returns what is also written to ``comparison.json``."""
    console = rich.console.Console(highlight=False, soft_wrap=True)
    settings = [
        config.settings(cell, rate)
        for cell in config.cells
        for rate in config.learning_rates
    ]
    text = load_text(settings[0])
    runs = [_Run(s, text, config.seconds) for s in settings]
    console.print(f"{len(runs)} runs of {config.seconds:g} s, interleaved ...")
    while (run := min(runs, key=lambda r: r.used)).used < config.seconds:
        run.advance()
    rows = []
    for cell in config.cells:
        candidates = [_score(run, text) for run in runs if run.config.cell == cell]
        best = min(candidates, key=lambda row: row["dev_bits"])
        run = best.pop("run")
        best["test_bits"] = run.evaluate(run.state.params, text.test)
        best["dev_bits_by_learning_rate"] = {
            f"{row['learning_rate']:g}": row["dev_bits"] for row in candidates
        }
        rows.append(best)
    result = {
        "config": {k: v for k, v in as_json(settings[0]).items() if k in _SHARED},
        "seconds": config.seconds,
        "machine": describe_machine(),
        "versions": describe_versions() | text.corpus.versions,
        "corpus": {"source": text.corpus.source, "sha256": text.corpus.sha256},
        "rows": rows,
    }
    config.output.mkdir(parents=True, exist_ok=True)
    (config.output / "comparison.json").write_text(json.dumps(result, indent=2) + "\n")
    (config.output / "comparison.md").write_text(comparison_table(rows) + "\n")
    console.print(comparison_table(rows))
    return result


def _score(run: _Run, text) -> dict:
    parameters = sum(p.size for p in jax.tree.leaves(run.state.params))
    characters = run.steps * run.config.batch_size * run.config.window
    return {
        "run": run,
        "cell": run.config.cell,
        "parameters": parameters,
        "learning_rate": run.config.learning_rate,
        "steps": run.steps,
        "characters": characters,
        "characters_per_second": round(characters / run.used),
        "dev_bits": run.evaluate(run.state.params, text.dev),
    }


def comparison_table(rows: list[dict]) -> str:
    """The comparison as a Markdown table."""
    return report.markdown_table(
        (
            "cell",
            "parameters",
            "learning rate",
            "characters read",
            "characters/s",
            "dev bits/char",
            "held-out bits/char",
        ),
        [
            (
                row["cell"],
                f"{row['parameters']:,}",
                f"{row['learning_rate']:g}",
                f"{row['characters']:,}",
                f"{row['characters_per_second']:,}",
                f"{row['dev_bits']:.3f}",
                f"{row['test_bits']:.3f}",
            )
            for row in rows
        ],
    )


if __name__ == "__main__":
    try:
        compare(tyro.cli(CompareConfig, prog="python -m examples.char_lm.compare"))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"error: {error}")
