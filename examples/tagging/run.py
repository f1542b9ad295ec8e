"""One run: sentences, training, the table, the pictures."""

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
from examples.common.vocabulary import PAD, Vocabulary
from rnnjax import metrics, plotting

from . import treebank
from .config import PRESETS, Config, parse
from .model import build, make_loss

BASELINE = "most frequent tag of the word"


class Numbers:
    """From sentences to numbers: characters, words, tags."""

    def __init__(self, train: Sequence[treebank.Sentence]):
        self.characters = Vocabulary.of(word for s in train for word, _ in s)
        # Words of one occurrence share the embedding that unseen ones get.
        self.words = Vocabulary.of(([word for word, _ in s] for s in train), minimum=2)
        self.tags = Vocabulary.of([tag for _, tag in s] for s in train)


class Sentences:
    """Sentences as numbers, and how batches are made of them.

    A batch has ``words`` and ``tags [T, B]``, ``lengths [B]``, ``characters [C, T, B]``
    and ``spelled [T, B]``, the number of characters of each word.
    """

    def __init__(self, given: Sequence[treebank.Sentence], numbers: Numbers, most: int):
        words = [[word for word, _ in sentence] for sentence in given]
        self.given = words
        self.words = [numbers.words.encode(w) for w in words]
        self.tags = [numbers.tags.encode([tag for _, tag in s]) for s in given]
        self.spelled = [
            [numbers.characters.encode(word[-most:]) for word in w] for w in words
        ]
        self.lengths = np.array([len(w) for w in words], np.int32)
        self.most = most

    def collate(self, examples: np.ndarray, shape: tuple[int, ...]) -> dict:
        """The batch of some sentences, padded to ``shape``."""
        characters = np.full((self.most, shape[0], len(examples)), PAD, np.int32)
        spelled = np.zeros((shape[0], len(examples)), np.int32)
        for column, example in enumerate(examples):
            for place, word in enumerate(self.spelled[example]):
                characters[: len(word), place, column] = word
                spelled[place, column] = len(word)
        return {
            "words": padded(self.words, examples, shape[0]),
            "tags": padded(self.tags, examples, shape[0]),
            "lengths": self.lengths[examples],
            "characters": characters,
            "spelled": spelled,
        }


def main(arguments: Sequence[str] | None = None) -> dict:
    """Does everything that ``python -m examples.tagging`` promises."""
    return run(parse(arguments))


def run(config: Config) -> dict:
    """Trains, tags the held-out sentences once, and writes what came of it."""
    console = distributed.start(config)
    data = treebank.load(config.data)
    numbers = Numbers(data.train)
    splits = {
        name: Sentences(getattr(data, name), numbers, config.longest_word)
        for name in ("train", "dev", "test")
    }
    sizes = ", ".join(f"{name} {len(s.given):,}" for name, s in splits.items())
    console.print("\n".join(data.source) + f"\nsentences: {sizes}")
    model = build(
        config, numbers.characters.size, numbers.words.size, numbers.tags.size
    )
    label = jax.jit(lambda params, batch: model.logits(params, batch).argmax(-1))
    trained = _train(config, data, model, label, splits, console)

    tagged = predict(label, trained.params, splits["test"], config.batch_size)
    baseline = [
        numbers.tags.encode(tags)
        for tags in treebank.most_frequent(data.train, data.test)
    ]
    seen = {word for sentence in data.train for word, _ in sentence}
    scores = {
        name: score(tags, splits["test"], seen, numbers)
        for name, tags in ((BASELINE, baseline), ("characters and words", tagged))
    }
    console.print(f"\n{table(scores)}\n")
    result = _write(config, data, trained, scores, splits["test"])
    if distributed.is_first():
        _draw(config, trained, scores["characters and words"], numbers)
    console.print(f"Everything is in {config.output}/")
    return result


def _train(config: Config, data, model, label, splits, console) -> Trained:
    examples, dev = splits["train"], splits["dev"]
    batches = Buckets(
        examples.lengths, config.batch_size, examples.collate, seed=config.seed
    )

    def validate(params):
        tagged = predict(label, params, dev, config.batch_size)
        return {"dev_accuracy": _share(tagged, dev.tags)}

    return train(
        config,
        make_loss(model),
        jax.jit(model.init)(jax.random.key(config.seed)),
        batches,
        validate=validate,
        watch="dev_accuracy",
        mode="max",
        units={"words": lambda batch: int(batch["lengths"].sum())},
        identity={"data": data.source},
        console=console,
        axes={"characters": 2},
    )


def predict(label, params, sentences: Sentences, batch_size: int) -> list[np.ndarray]:
    """The tags of every word, in the order of the sentences."""
    out: list = [None] * len(sentences.given)
    batches = in_order(sentences.lengths, 2 * batch_size, sentences.collate)
    for found, batch in batches:
        tags = np.asarray(label(params, batch))
        for column, example in enumerate(found):
            out[example] = tags[: sentences.lengths[example], column]
    return out


def _share(tagged: Sequence[np.ndarray], tags: Sequence[np.ndarray]) -> float:
    return float(np.mean(np.concatenate(tagged) == np.concatenate(tags)))


def score(tagged, sentences: Sentences, seen: set[str], numbers: Numbers) -> dict:
    """Accuracy over all words and over those not seen in training, F1, confusion."""
    got, want = np.concatenate(tagged), np.concatenate(sentences.tags)
    unseen = np.array([w not in seen for words in sentences.given for w in words])
    size = numbers.tags.size
    matrix, f1 = metrics.confusion_matrix(size), metrics.f1(size, average="weighted")
    return {
        "accuracy": float(np.mean(got == want)),
        # Where all words were seen there is nothing to be wrong about.
        "accuracy_of_unseen": float(np.mean((got == want)[unseen]))
        if any(unseen)
        else 1.0,
        "unseen": float(np.mean(unseen)),
        "weighted_f1": float(f1.compute(f1.update(f1.init(), got, want))),
        "confusion": np.asarray(
            matrix.compute(matrix.update(matrix.init(), got, want))
        ).tolist(),
    }


def table(scores: dict[str, dict]) -> str:
    """The tagger beside the baseline, on the held-out sentences."""
    return markdown_table(
        ("tagger", "accuracy", "of unseen words", "weighted F1"),
        [
            (
                name,
                f"{s['accuracy']:.2%}",
                f"{s['accuracy_of_unseen']:.2%}",
                f"{s['weighted_f1']:.2%}",
            )
            for name, s in scores.items()
        ],
    )


def _write(config: Config, data, trained: Trained, scores, test: Sentences) -> dict:
    ours, base = scores["characters and words"], scores[BASELINE]
    row = Row(
        task=f"tags of {int(test.lengths.sum()):,} words of held-out sentences",
        measure="accuracy (of unseen words)",
        result=f"{ours['accuracy']:.2%} ({ours['accuracy_of_unseen']:.2%})",
        beside=f"{BASELINE} {base['accuracy']:.2%} ({base['accuracy_of_unseen']:.2%})",
    )
    return write_result(
        config.output,
        example="tagging",
        config=config,
        presets=PRESETS,
        data=data.source,
        training_seconds=trained.seconds,
        rows=[row],
        parameters=sum(p.size for p in jax.tree.leaves(trained.params)),
        chosen_step=trained.step,
        scores=scores,
    )


def _draw(config: Config, trained: Trained, scores: dict, numbers: Numbers) -> None:
    plotting.learning_curves(
        trained.history,
        {"dev_accuracy": "development words"},
        y_label="accuracy",
        title="tagging",
        path=config.output / "learning_curve.png",
    )
    first = numbers.tags.size - len(numbers.tags.tokens)
    plotting.confusion_matrix(
        np.asarray(scores["confusion"])[first:, first:],
        numbers.tags.tokens,
        title="tags of held-out words",
        path=config.output / "confusion.png",
    )
