"""Chooses the settings by cross-validation on the training series alone.

``python -m examples.japanese_vowels.select`` scores the candidates below that are not
yet in the log, ``results/selection.jsonl``, and prints the log, best first.

A candidate is trained on four fifths of the training series and scored on the fifth
left out, five times, and that ``repeats`` times with other seeds. It is ranked by its
mean number of errors, and among equal ones by the log probability of the truth.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import jax
import numpy as np

from rnnjax import training

from ..common.tables import markdown_table
from . import data
from .config import Config
from .model import build
from .train import batches, make_scorer, make_step

LOG = Path(__file__).parent / "results" / "selection.jsonl"
FOLDS = 5

# What differs from the settings of `START`, in the order in which it was thought of:
# each alone, and then what helped, together.
START = Config(
    hidden_size=64,
    pool="mean",
    deltas=True,
    dropout=0.5,
    crop=0.6,
    speed=1.25,
    noise=0.1,
    offset=0.1,
    label_smoothing=0.1,
    epochs=60,
    learning_rate=5e-3,
)
ALONE = [
    {},
    {"deltas": False},
    {"pool": "mean_max"},
    {"pool": "max"},
    {"noise": 0.3},
    {"noise": 0.0},
    {"offset": 0.3},
    {"offset": 0.0},
    {"crop": 1.0},
    {"crop": 0.4},
    {"speed": 1.0},
]
HELPED = {"pool": "max", "noise": 0.3, "offset": 0.3}
TOGETHER = [
    {},
    {"offset": 0.5},
    {"noise": 0.5},
    {"cell": "lstm"},
    {"epochs": 120},
]
CANDIDATES = [
    *((changes, 1) for changes in ALONE),
    *(({**HELPED, **changes}, 1) for changes in TOGETHER),
]


def cross_validate(config: Config, series: data.Series, repeats: int) -> dict:
    """Errors of each repeat over all folds, and the mean log probability."""
    fold = data.block_folds(series.labels, FOLDS)
    classifier = build(config, series.xs.shape[2], len(series.classes))
    optimizer, step = make_step(config, classifier, int((fold != 0).sum()))
    score = make_scorer(classifier)
    errors, nats = np.zeros(repeats, int), []
    for repeat in range(repeats):
        for k in range(FOLDS):
            parts = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            train, held_out = data.standardise(*map(series.take, parts))
            seed = 1000 + FOLDS * repeat + k  # None of the final runs has it.
            state = training.init_state(
                classifier.init(jax.random.key(seed)), optimizer
            )
            key = jax.random.key(seed + 500)
            for epoch in range(config.epochs):
                for batch in batches(config, train, seed, epoch):
                    state, _ = step(state, batch, jax.random.fold_in(key, state.step))
            scores = score(state.params, held_out)
            errors[repeat] += scores.errors
            nats.append(scores.nats)
    return {"errors": errors.tolist(), "nats": round(float(np.mean(nats)), 4)}


def read_log() -> list[dict]:
    """The records of the log."""
    if not LOG.exists():
        return []
    return [json.loads(line) for line in LOG.read_text().splitlines()]


def main() -> None:
    """Scores what is not in the log, and prints it."""
    series, _, _ = data.load(None, None)
    known = [(record["changes"], record["repeats"]) for record in read_log()]
    LOG.parent.mkdir(exist_ok=True)
    for changes, repeats in CANDIDATES:
        if (changes, repeats) in known:
            continue
        start = time.perf_counter()
        config = dataclasses.replace(START, **changes)
        record = {"changes": changes, "repeats": repeats}
        record |= cross_validate(config, series, repeats)
        record["seconds"] = round(time.perf_counter() - start)
        with LOG.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(json.dumps(record), flush=True)
    rows = sorted(read_log(), key=lambda r: (np.mean(r["errors"]), r["nats"]))
    print(
        markdown_table(
            ("errors of 270", "nats", "repeats", "settings"),
            [
                (f"{np.mean(r['errors']):.2f}", r["nats"], r["repeats"], r["changes"])
                for r in rows
            ],
        )
    )


if __name__ == "__main__":
    main()
