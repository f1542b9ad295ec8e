"""The six tasks as the training loop sees them: batches, loss, metrics, when solved.

Every batch follows from the seed, the split and its number, so a run can be repeated,
and development and test data are never trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import rnnjax
from rnnjax import losses

from . import long_range, regular
from .config import Config

TRAIN, DEVELOPMENT, TEST = 0, 1, 2
Batch = dict[str, np.ndarray]


class Task(NamedTuple):
    """What to train on, and how to tell that it is learnt.

    Attributes:
        symbols: number of input symbols, None where inputs are numbers.
        outputs: size of the model's output.
        train_batch: ``(step, count) -> batch``; for the regular tasks also
            ``(step, count, length)``, with shorter strings.
        development: batches that choose among candidates and end the training.
        test: ``() -> batches``, by what the score is averaged over.
        loss: ``model -> loss`` for `rnnjax.training`.
        metric: the metric that is reported.
        chance: its value for a model that has learnt nothing of the memory.
        enough: ``development metrics -> bool``, where training ends early.
        solved: ``test metric -> bool``.
        axes: of the rows of a batch, for `examples.common.distributed.Spread`.
    """

    symbols: int | None
    outputs: int
    train_batch: Callable[..., Batch]
    development: Callable[[], list[Batch]]
    test: Callable[[], dict[str, Batch]]
    loss: Callable[[rnnjax.RNN], Callable[..., Any]]
    metric: str
    chance: float
    enough: Callable[[dict[str, float]], bool]
    solved: Callable[[float], bool]
    axes: Mapping[str, int] = {}


def make_task(name: str, config: Config) -> Task:
    """The task of a name, at the lengths that the settings give."""
    makers = {"copy_memory": _copy_memory, "adding": _adding}
    if name in makers:
        return makers[name](config)
    return _regular(regular.LANGUAGES[name], config)


def _copy_memory(config: Config) -> Task:
    def batch(split, number, count):
        generator = _generator(config, split, number)
        return long_range.copy_memory(generator, count, config.copy_delay)

    chance = long_range.copy_memory_chance(config.copy_delay)
    return Task(
        symbols=long_range.SYMBOLS,
        outputs=long_range.SYMBOLS,
        train_batch=lambda step, count: batch(TRAIN, step, count),
        development=lambda: [batch(DEVELOPMENT, 0, config.evaluated)],
        test=lambda: {"all": batch(TEST, 0, 4 * config.evaluated)},
        loss=_copy_loss,
        metric="loss",
        chance=chance,
        enough=lambda metrics: metrics["loss"] < 0.01 * chance,
        solved=lambda loss: loss < 0.05 * chance,
    )


def _adding(config: Config) -> Task:
    def batch(split, number, count):
        generator = _generator(config, split, number)
        return long_range.adding(generator, count, config.adding_length)

    return Task(
        symbols=None,
        outputs=1,
        train_batch=lambda step, count: batch(TRAIN, step, count),
        development=lambda: [batch(DEVELOPMENT, 0, 4 * config.evaluated)],
        test=lambda: {"all": batch(TEST, 0, 16 * config.evaluated)},
        loss=_adding_loss,
        metric="loss",
        chance=long_range.ADDING_CHANCE,
        enough=lambda metrics: metrics["loss"] < 5e-4,
        solved=lambda loss: loss < 1e-3,
        axes={"targets": 0},
    )


def _regular(language: regular.Language, config: Config) -> Task:
    longest = config.test_length
    first = config.train_length + 1
    lengths = [n for n in range(first, longest + 1) if n % 2 or not language.odd_only]

    def packed(split, number, rows, length=config.train_length):
        generator = _generator(config, split, number)
        return regular.packed_batch(language, generator, rows, length)

    def of_length(length):
        generator = _generator(config, TEST, length)
        return regular.strings_of_length(
            language, generator, 4 * config.evaluated, length, longest
        )

    return Task(
        symbols=language.symbols,
        outputs=language.classes,
        train_batch=lambda step, *sizes: packed(TRAIN, step, *sizes),
        development=lambda: [packed(DEVELOPMENT, 0, 16 * config.evaluated)],
        test=lambda: {str(length): of_length(length) for length in lengths},
        loss=_class_loss,
        metric="accuracy",
        chance=1 / language.classes,
        enough=lambda metrics: metrics["accuracy"] == 1 and metrics["loss"] < 1e-3,
        solved=lambda accuracy: accuracy >= 0.99,
    )


def _generator(config: Config, split: int, number: int) -> np.random.Generator:
    return np.random.default_rng((config.seed, split, number))


def _copy_loss(model: rnnjax.RNN):
    """Cross-entropy over all steps, and how many of the ten symbols are right."""

    def loss(params, carry, batch, key):
        _, logits = model.unroll(params, carry, batch["inputs"], key=key)
        value, _ = losses.softmax_cross_entropy(logits, batch["targets"])
        copied = slice(-long_range.COPIED, None)
        right = logits[copied].argmax(-1) == batch["targets"][copied]
        return value, (None, {"accuracy": right.mean()})

    return loss


def _adding_loss(model: rnnjax.RNN):
    """Mean squared error after the last step."""

    def loss(params, carry, batch, key):
        _, ys = model.unroll(params, carry, batch["inputs"], key=key)
        return jnp.mean((ys[-1] - batch["targets"]) ** 2), (None, {})

    return loss


def _class_loss(model: rnnjax.RNN):
    """Cross-entropy of the class where a string ends."""

    def loss(params, carry, batch, key):
        _, logits = model.unroll(
            params, carry, batch["inputs"], resets=batch["resets"], key=key
        )
        scored = batch["scored"]
        value, _ = losses.softmax_cross_entropy(logits, batch["targets"], scored)
        right = (logits.argmax(-1) == batch["targets"]) & scored
        return value, (None, {"accuracy": right.sum() / scored.sum()})

    return loss
