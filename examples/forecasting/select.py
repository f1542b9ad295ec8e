"""Chooses the settings on the development part.

``python -m examples.forecasting.select`` trains the candidates below that are not yet
in the log, ``results/selection.jsonl``, on the training part, and prints the log, best
first. A candidate is ranked by its lowest pinball loss on the development part.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from pathlib import Path

import rich.console

from ..common.tables import markdown_table
from .config import Config
from .data import load, make_windows
from .model import build
from .train import fit

LOG = Path(__file__).parent / "results" / "selection.jsonl"

# What differs from the settings of `START`, in the order in which it was thought of.
START = Config(
    hidden_size=48,
    dropout=0.1,
    learning_rate=5e-3,
    weight_decay=1e-2,
    evaluate_every=100,
    steps=400,
)
CANDIDATES = [
    {},
    {"weight_decay": 0.1, "dropout": 0.3},
    {"hidden_size": 24, "weight_decay": 0.1},
    {"steps": 150, "evaluate_every": 25, "learning_rate": 2e-3},
    {"steps": 150, "evaluate_every": 25, "learning_rate": 2e-3, "hidden_size": 16},
]


def read_log() -> list[dict]:
    """The records of the log."""
    if not LOG.exists():
        return []
    return [json.loads(line) for line in LOG.read_text().splitlines()]


def main() -> None:
    """Trains what is not in the log, and prints it."""
    known = [record["changes"] for record in read_log()]
    LOG.parent.mkdir(exist_ok=True)
    quiet = rich.console.Console(quiet=True)
    for changes in CANDIDATES:
        if changes in known:
            continue
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            config = dataclasses.replace(START, output=Path(folder), **changes)
            series, sources = load(config)
            windows, _, _ = make_windows(config, series)
            trained = fit(
                config,
                build(config),
                windows,
                sources,
                quiet,
                series.dev,
                series.test,
            )
        looks = {r["step"]: r["val_loss"] for r in trained.history if "val_loss" in r}
        record = {
            "changes": changes,
            "dev_loss": round(looks[trained.step], 6),
            "steps": trained.step,
            "train_loss": round(trained.history[-2]["loss"], 6),
            "seconds": round(time.perf_counter() - start),
        }
        with LOG.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(json.dumps(record), flush=True)
    rows = sorted(read_log(), key=lambda record: record["dev_loss"])
    print(
        markdown_table(
            ("development loss", "after steps", "settings"),
            [(r["dev_loss"], r["steps"], r["changes"]) for r in rows],
        )
    )


if __name__ == "__main__":
    main()
