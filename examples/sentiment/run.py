"""One run: reviews, three networks and bag of words, the table, the pictures."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from examples.common import distributed
from examples.common.buckets import Buckets, in_order, padded
from examples.common.fitting import Trained
from examples.common.results import Row, write_result
from examples.common.tables import markdown_table
from examples.common.training import train
from examples.common.vocabulary import Vocabulary
from rnnjax import metrics, plotting

from . import reviews
from .baseline import bag_of_words
from .config import PRESETS, Config, parse
from .model import Classifier, build, make_loss
from .reviews import LABELS, SENTENCE_ENDS, Review

PUBLISHED = "Kim's CNN 81.5 % on Rotten Tomatoes alone, other split: a rough yardstick"
BASELINE = "bag of words, logistic regression"


class Examples:
    """Reviews as numbers, and how batches are made of them.

    A batch has ``words [T, B]``, ``lengths [B]``, ``ends [T, B]``, the last words of
    sentences, and ``label [B]``.
    """

    def __init__(self, given: Sequence[Review], vocabulary: Vocabulary, most: int):
        short = [reviews.shorten(r.words, most) for r in given]
        self.words = [vocabulary.encode(words) for words in short]
        self.ends = [
            np.array([w in SENTENCE_ENDS for w in words[:-1]] + [True])
            for words in short
        ]
        self.lengths = np.array([len(words) for words in short], np.int32)
        self.labels = np.array([r.label for r in given], np.int32)

    def collate(self, examples: np.ndarray, shape: tuple[int, ...]) -> dict:
        """The batch of some reviews, padded to ``shape``."""
        return {
            "words": padded(self.words, examples, shape[0]),
            "ends": padded(self.ends, examples, shape[0]).astype(bool),
            "lengths": self.lengths[examples],
            "label": self.labels[examples],
        }


def main(arguments: Sequence[str] | None = None) -> dict:
    """Does everything that ``python -m examples.sentiment`` promises."""
    return run(parse(arguments))


def run(config: Config) -> dict:
    """Trains all models, scores each once on the held-out reviews, and reports."""
    console = distributed.start(config)
    data = reviews.load(config.data)
    vocabulary = Vocabulary.of((r.words for r in data.train), most=config.vocabulary)
    splits = {
        name: Examples(getattr(data, name), vocabulary, config.max_words)
        for name in ("train", "dev", "test")
    }
    console.print(
        f"{data.source[0]}\nreviews: training {len(data.train):,}, development "
        f"{len(data.dev):,}, held out {len(data.test):,}; {data.repeated:,} repeated "
        "ones left out"
    )
    predicted, dev_accuracy, trained = {}, {}, {}
    for kind in config.models:
        console.print(f"\n{kind}")
        model = build(kind, config, vocabulary.size)
        label = jax.jit(lambda p, b, model=model: model.logits(p, b).argmax(-1))
        trained[kind] = _train(config, kind, model, label, splits, data.source, console)
        params, size = trained[kind].params, config.batch_size
        right = predict(label, params, splits["dev"], size) == splits["dev"].labels
        dev_accuracy[kind] = float(right.mean())
        predicted[kind] = predict(label, params, splits["test"], size)
    console.print(f"\n{BASELINE} ...")
    predicted[BASELINE], dev_accuracy[BASELINE], strength = bag_of_words(
        data.train, data.dev, data.test
    )
    scores = {
        name: {"dev_accuracy": dev_accuracy[name]} | score(p, splits["test"].labels)
        for name, p in predicted.items()
    }
    console.print(f"\n{table(scores)}\n")
    result = _write(config, data, trained, scores, strength, len(data.test))
    if distributed.is_first():
        _draw(config, trained, scores)
    console.print(f"Everything is in {config.output}/")
    return result


def _train(config, kind, model: Classifier, label, splits, source, console) -> Trained:
    examples = splits["train"]
    batches = Buckets(
        examples.lengths, config.batch_size, examples.collate, count=5, seed=config.seed
    )
    dev = list(
        in_order(
            splits["dev"].lengths[: config.dev_reviews],
            4 * config.batch_size,
            splits["dev"].collate,
        )
    )

    def validate(params):
        right = [
            np.asarray(label(params, batch))[: len(found)]
            == batch["label"][: len(found)]
            for found, batch in dev
        ]
        return {"dev_accuracy": float(np.concatenate(right).mean())}

    return train(
        config,
        make_loss(model),
        jax.jit(model.init)(jax.random.key(config.seed)),
        batches,
        validate=validate,
        watch="dev_accuracy",
        mode="max",
        units={"words": lambda batch: int(batch["lengths"].sum())},
        identity={"data": source, "model": kind},
        console=console,
        folder=kind,
    )


def predict(label, params, examples: Examples, batch_size: int) -> np.ndarray:
    """The labels that a network gives, in the order of the examples."""
    out = np.zeros(len(examples.labels), np.int32)
    for found, batch in in_order(examples.lengths, 4 * batch_size, examples.collate):
        out[found] = np.asarray(label(params, batch))[: len(found)]
    return out


def score(predicted: np.ndarray, labels: np.ndarray) -> dict:
    """Accuracy, precision, recall and F1 of both classes, the confusion matrix."""
    wanted = {
        "accuracy": metrics.accuracy(),
        "precision": metrics.precision(2, average=None),
        "recall": metrics.recall(2, average=None),
        "f1": metrics.f1(2, average=None),
        "macro_f1": metrics.f1(2),
        "confusion": metrics.confusion_matrix(2),
    }
    return {
        name: np.asarray(
            metric.compute(metric.update(metric.init(), predicted, labels))
        ).tolist()
        for name, metric in wanted.items()
    }


def table(scores: dict[str, dict]) -> str:
    """All models beside each other, on the held-out reviews."""
    rows = [
        (
            name,
            f"{s['dev_accuracy']:.2%}",
            f"{s['accuracy']:.2%}",
            *(
                " / ".join(f"{value:.1%}" for value in s[measure])
                for measure in ("precision", "recall", "f1")
            ),
        )
        for name, s in scores.items()
    ]
    of = " / ".join(LABELS)
    header = ("model", "dev accuracy", "accuracy", f"precision {of}", "recall", "F1")
    return markdown_table(header, rows)


def _write(config, data, trained, scores, strength, held_out: int) -> dict:
    best = max(trained, key=lambda kind: scores[kind]["dev_accuracy"])
    others = [name for name in scores if name != best]
    row = Row(
        task=f"{held_out:,} held-out film reviews, {best} encoder (best on dev)",
        measure="accuracy",
        result=f"{scores[best]['accuracy']:.2%}",
        beside=", ".join(f"{name} {scores[name]['accuracy']:.2%}" for name in others),
        published="-" if config.data else PUBLISHED,
    )
    return write_result(
        config.output,
        example="sentiment",
        config=config,
        presets=PRESETS,
        data=data.source,
        training_seconds=sum(t.seconds for t in trained.values()),
        rows=[row],
        packages=["scikit-learn"],
        repeated=data.repeated,
        chosen_steps={kind: t.step for kind, t in trained.items()},
        inverse_penalty_of_baseline=strength,
        scores=scores,
    )


def _draw(config: Config, trained: dict[str, Trained], scores: dict[str, dict]) -> None:
    records = [
        {"step": record["step"], kind: record["dev_accuracy"]}
        for kind, t in trained.items()
        for record in t.history
        if "dev_accuracy" in record
    ]
    plotting.learning_curves(
        records,
        list(trained),
        y_label="accuracy on development reviews",
        levels={"bag of words": scores[BASELINE]["dev_accuracy"]},
        path=config.output / "learning_curve.png",
    )
    best = max(trained, key=lambda kind: scores[kind]["dev_accuracy"])
    plotting.confusion_matrix(
        scores[best]["confusion"],
        LABELS,
        title=f"{best}, held-out reviews",
        path=config.output / "confusion.png",
    )
