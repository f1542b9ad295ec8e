"""One run from the series to the picture: train, score each seed once, report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
import rich.console

from rnnjax import metrics, plotting, training

from ..common import distributed
from ..common.config import as_json, parse
from ..common.fitting import fit
from ..common.results import Row, set_aside, write_result
from ..common.tables import markdown_table
from .baseline import discriminant_analysis
from .config import PRESETS, PROG, RESUMABLE, Config
from .data import Series, load, standardise
from .model import build, make_loss
from .train import Scores, batches, make_scorer, make_step, steps_of_epoch

PUBLISHED = "0.976-0.986 (MLSTM-FCN to KSig); plain LSTM 0.797"


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, scores, compares and draws; see ``--help``."""
    run(parse(PRESETS, "quick", PROG, arguments))


def run(config: Config) -> dict:
    """Does everything that ``python -m examples.japanese_vowels`` promises.

    Args:
        config: the settings.

    Returns:
        What is also written to ``result.json``.
    """
    console = distributed.start(config)
    train, test, sources = load(config.train, config.test)
    train, test = standardise(train, test)
    console.print(*sources, f"{len(train)} training, {len(test)} test", sep="\n")
    if not config.resume:
        set_aside(config.output)
    scores, histories = fit_all(config, train, test, sources, console)

    linear = float((discriminant_analysis(train, test) == test.labels).mean())
    rates = [1 - s.errors / len(test) for s in scores]
    seconds = sum(history[-1]["seconds"] for history in histories)
    console.print(f"\n{table(config, rates, linear)}\n")
    result = write_result(
        config.output,
        example="japanese_vowels",
        config=config,
        presets=PRESETS,
        data=sources,
        training_seconds=seconds,
        rows=[row(config, rates, linear, len(test))],
        accuracies=[round(rate, 5) for rate in rates],
        errors=[s.errors for s in scores],
        mean_accuracy=float(np.mean(rates)),
        deviation=float(np.std(rates)),
        nats=[round(s.nats, 4) for s in scores],
        discriminant_analysis_accuracy=linear,
    )
    if distributed.is_first():
        draw(config, histories[0], train, test, scores[0])
    console.print(f"Everything is in {config.output}/")
    return result


def fit_all(
    config: Config,
    train: Series,
    test: Series,
    sources: list[str],
    console: rich.console.Console,
) -> tuple[list[Scores], list[list[dict]]]:
    """Trains a network of each seed to the end and scores it, once."""
    classifier = build(config, train.xs.shape[2], len(train.classes))
    optimizer, step = make_step(config, classifier, len(train))
    score = make_scorer(classifier)
    settings = as_json(config, but=RESUMABLE)
    scores, histories = [], []
    for seed in range(config.seed, config.seed + config.runs):
        folder = config.output / f"seed_{seed}"
        trained = fit(
            dataclasses.replace(config, seed=seed),
            make_loss(config, classifier),
            optimizer,
            classifier.init(jax.random.key(seed)),
            lambda epoch, seed=seed: batches(config, train, seed, epoch),
            checkpoints=training.Checkpoints(
                folder / "checkpoints",
                every=50 * steps_of_epoch(config, len(train)),
                config={**settings, "seed": seed, "data": sources},
            ),
            metrics=folder / "metrics.jsonl",
            console=console,
            units={"steps": lambda batch: int(batch["lengths"].sum())},
            axes={"xs": 0},
            steps=config.epochs * steps_of_epoch(config, len(train)),
            resume="auto" if config.resume else False,
            step=step,
        )
        scores.append(score(trained.params, test))
        histories.append(trained.history)
    return scores, histories


def table(config: Config, rates: list[float], linear: float) -> str:
    """The accuracy of each seed, their mean, and the baseline."""
    rows = [(f"seed {config.seed + i}", f"{rate:.4f}") for i, rate in enumerate(rates)]
    rows += [
        ("mean over seeds", f"{np.mean(rates):.4f} +- {np.std(rates):.4f}"),
        ("linear discriminant analysis", f"{linear:.4f}"),
    ]
    return markdown_table(("test series", "accuracy"), rows)


def row(config: Config, rates: list[float], linear: float, tests: int) -> Row:
    """The row of the table of all examples."""
    own = config.train is not None
    return Row(
        task=f"{'own series' if own else 'JapaneseVowels'}, {tests} test series",
        measure=f"accuracy, mean over {len(rates)} seeds",
        result=f"{np.mean(rates):.4f}",
        beside=f"linear discriminant analysis {linear:.4f}",
        published="-" if own else PUBLISHED,
    )


def draw(config: Config, history, train: Series, test: Series, scores: Scores) -> None:
    """Draws the training and the confusion of the first seed."""
    plotting.learning_curves(
        history,
        {"loss": "training loss, augmented and smoothed"},
        x="epoch",
        y_label="nats",
        title=f"seed {config.seed}",
        path=config.output / "learning_curves.png",
    )
    confusion = metrics.confusion_matrix(len(train.classes))
    state = confusion.update(confusion.init(), scores.predictions, test.labels)
    right = 1 - scores.errors / len(test)
    plotting.confusion_matrix(
        confusion.compute(state),
        train.classes,
        title=f"test series, seed {config.seed}, accuracy {right:.4f}",
        path=config.output / "confusion.png",
    )
