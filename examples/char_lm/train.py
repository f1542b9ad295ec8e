"""Training: stateful truncated BPTT by `rnnjax.training.fit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
import optax
import rich.console

import rnnjax
from examples.common import distributed
from examples.common.config import as_json
from examples.common.results import set_aside
from rnnjax import training

from .config import RESUMABLE, Config
from .corpus import Corpus, load_corpus
from .data import Windows
from .model import make_evaluator
from .vocabulary import Vocabulary


class Text(NamedTuple):
    """The corpus as symbols."""

    corpus: Corpus
    vocabulary: Vocabulary
    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray


def load_text(config: Config) -> Text:
    """Loads the corpus and encodes it with the vocabulary of its training text."""
    corpus = load_corpus(config.data)
    vocabulary = Vocabulary.from_text(corpus.train)
    parts = (vocabulary.encode(t) for t in (corpus.train, corpus.dev, corpus.test))
    return Text(corpus, vocabulary, *parts)


def train(
    config: Config,
    text: Text,
    model: rnnjax.RNN,
    console: rich.console.Console,
    logs: Sequence[Callable[[dict], None]] = (),
) -> training.Fitted:
    """Trains, or goes on training, with metrics and checkpoints as it goes.

    Args:
        config: the settings.
        text: the corpus as symbols.
        model: symbols to logits.
        console: where progress is shown.
        logs: called with each record, beside the file of metrics.

    Returns:
        What `fit` gives: the state after the last step, and the records.
    """
    if not config.resume:
        set_aside(config.output)
    optimizer = build_optimizer(config)
    evaluate = make_evaluator(model, text.vocabulary)
    dev = text.dev[: config.evaluate_characters]
    state = initial_state(config, model, optimizer)
    batches = Windows(text.train, config.batch_size, config.window)

    def validate(params):
        return {"dev_bits": evaluate(params, dev)}

    if config.distributed:
        spread = distributed.Spread(config.batch_size)
        state, batches = spread.state(state), spread.data(batches)
        validate = distributed.agreed(validate)

    def show(record: dict) -> None:
        if "dev_bits" in record:
            console.print(
                f"step {record['step']:,} of {config.steps:,}: "
                f"{record['dev_bits']:.3f} bits per character of development text "
                f"after {record['seconds']:,.0f} s"
            )

    return training.fit(
        training.language_model_loss(model),
        optimizer,
        state,
        batches,
        key=jax.random.fold_in(jax.random.key(config.seed), 1),
        steps=config.steps,
        validation=validate,
        validate_every=config.evaluate_every,
        log_every=config.log_every,
        logs=[training.MetricsLog(config.output / "metrics.jsonl"), show, *logs],
        progress=console,
        units={"characters": lambda batch: batch["inputs"].size},
        checkpoints=training.Checkpoints(
            config.output / "checkpoints",
            every=config.checkpoint_every,
            config=identity(config, text),
        ),
        resume=config.resume,
    )


def initial_state(
    config: Config, model: rnnjax.RNN, optimizer: optax.GradientTransformation
) -> training.TrainState:
    """Draws the parameters and makes the rest of the state before the first step."""
    symbol = jax.ShapeDtypeStruct((), np.int32)
    params = jax.jit(lambda key: model.init(key, symbol))(jax.random.key(config.seed))
    return training.init_state(
        params,
        optimizer,
        model.initial_carry(params, (config.batch_size,)),
    )


def build_optimizer(config: Config) -> optax.GradientTransformation:
    """Clipping, then the optimiser, under a warmed-up cosine schedule."""
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.learning_rate,
        warmup_steps=min(config.warmup_steps, config.steps - 1),
        decay_steps=config.steps,
        end_value=0.01 * config.learning_rate,
    )
    return training.optimizer(
        config.optimizer,
        schedule,
        clip_norm=config.clip_norm,
        weight_decay=config.weight_decay,
    )


def identity(config: Config, text: Text) -> dict:
    """What a run must agree in with the one that it goes on with, as JSON."""
    return as_json(config, but=RESUMABLE) | {
        "characters": text.vocabulary.characters,
        "sha256": text.corpus.sha256,
    }
