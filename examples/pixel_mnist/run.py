"""All cells in all orders, those done left alone; the table and the picture."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from examples.common import distributed
from examples.common.config import as_json, parse
from examples.common.errors import InputError
from examples.common.fitting import fit, key_of_steps
from examples.common.machine import describe_machine, describe_versions
from examples.common.results import NAME, write_result
from examples.memory_tasks.model import ring_optimizer
from examples.memory_tasks.run import check_same
from rnnjax import training

from . import report
from .baseline import nearest_neighbour
from .config import PRESETS, Config
from .data import Digits, load
from .model import build_classifier, classification_loss

EVALUATED = 100  # Images at a time.
# Options that may differ between a run and the one that goes on with it.
FREE = ("preset", "output", "orders", "cells", "train", "distributed", "data")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    run(parse(PRESETS, "quick", "python -m examples.pixel_mnist", arguments))


def run(config: Config) -> dict:
    """Runs what is missing, then writes ``result.json``, the table and the picture."""
    console = distributed.start(config)
    results: dict[str, dict[str, dict]] = {}
    sources: list[str] = []
    beside = 0.0
    for order in config.orders:
        permuted = order == "permuted"
        splits, sources = load(config.data, config.pool, permuted, config.images)
        beside = nearest_neighbour(splits["train"], splits["test"])
        sizes = {name: len(digits.labels) for name, digits in splits.items()}
        of_cells = {
            cell: _result(order, cell, splits, sizes, sources, config, console)
            for cell in config.cells
            if config.train or (config.output / order / cell / NAME).exists()
        }
        if of_cells:
            results[order] = of_cells
            if distributed.is_first():
                report.draw(order, of_cells, config.output / f"{order}.png")
    if not results:
        raise InputError(
            f"--no-train: expected results in {config.output}, found none of the "
            "orders and cells asked for."
        )
    table = report.table(results, config.cells, beside)
    console.print(f"\n{table}\n")
    pages = f"{table}\n\n{report.budgets(results)}\n"
    if distributed.is_first():
        (config.output / "table.md").write_text(pages, encoding="utf-8")
    whole = write_result(
        config.output,
        example="pixel_mnist",
        # The command that finds these numbers is the one that trains.
        config=dataclasses.replace(config, train=True),
        presets=PRESETS,
        data=sources,
        training_seconds=sum(
            result["seconds"] for of in results.values() for result in of.values()
        ),
        rows=report.rows(results, beside, config),
        nearest_neighbour=beside,
        studies=report.summary(results),
    )
    console.print(f"Everything is in {config.output}/")
    return whole


def _result(order, cell, splits, sizes, sources, config: Config, console) -> dict:
    """The stored result of a cell in an order, or that of training it now."""
    folder = config.output / order / cell
    asked = {
        "order": order,
        "cell": cell,
        "settings": as_json(config, but=FREE),
        "data": {"files": sources, **sizes},
    }
    if (folder / NAME).exists():
        stored = json.loads((folder / NAME).read_text(encoding="utf-8"))
        check_same(folder / NAME, stored, asked)
        console.print(f"{order}, {cell}: done before")
        return stored
    console.print(f"{order}, {cell}")
    found = _train(cell, splits, config, folder, asked, console)
    made = {"machine": describe_machine(), "versions": describe_versions()}
    result = {**asked, **made, **found}
    if distributed.is_first():
        text = json.dumps(result, indent=1)
        (folder / NAME).write_text(text + "\n", encoding="utf-8")
    console.print(f"{order}, {cell}: test accuracy {100 * result['test']:.1f} %")
    return result


def _train(
    cell: str,
    splits: dict[str, Digits],
    config: Config,
    folder: Path,
    asked: dict,
    console,
) -> dict:
    """Trains, takes the epoch best on the development images, tests it once."""
    train, development, test = (
        splits[name] for name in ("train", "development", "test")
    )
    pixels = train.pixels.shape[1]
    classifier = build_classifier(cell, pixels, config)
    params = classifier.init(jax.random.key(config.seed))
    steps = config.epochs * (len(train.labels) // config.batch_size)
    optimizer = ring_optimizer(config.learning_rate, steps, ring_rate=config.ring_rate)
    score = _scorer(classifier)
    begun = time.perf_counter()
    trained = fit(
        config,
        classification_loss(classifier),
        optimizer,
        params,
        training.array_batches(
            tuple(train), config.batch_size, key=key_of_steps(config)
        ),
        checkpoints=training.Checkpoints(
            folder / "checkpoints", best="dev_loss", config=asked
        ),
        metrics=folder / "metrics.jsonl",
        console=console,
        units={"pixels": lambda batch: batch[0].size},
        axes={"0": 0},  # The images; labels have no other axis.
        epochs=config.epochs,
        validation=lambda params: {
            f"dev_{name}": value for name, value in score(params, development).items()
        },
        resume="auto",
    )
    history = [record for record in trained.history if "dev_loss" in record]
    return {
        "test": score(trained.params, test)["accuracy"],
        "best_step": trained.step,
        "steps": history[-1]["step"],
        "seconds": round(time.perf_counter() - begun, 1),
        "parameters": sum(p.size for p in jax.tree.leaves(params)),
        "curve": history,
    }


def _scorer(classifier):
    """Makes ``(params, digits) -> {"loss", "accuracy"}``."""
    forward = jax.jit(classifier.logits)

    def score(params, digits: Digits) -> dict[str, float]:
        logits = training.predict(forward, params, digits.pixels, batch_size=EVALUATED)
        logits = np.asarray(logits, np.float64)
        nats = (
            np.logaddexp.reduce(logits, 1)
            - np.take_along_axis(logits, digits.labels[:, None], 1)[:, 0]
        )
        right = logits.argmax(1) == digits.labels
        return {"loss": float(nats.mean()), "accuracy": float(right.mean())}

    return score
