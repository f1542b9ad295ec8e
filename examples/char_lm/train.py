"""Training: stateful truncated BPTT with metrics, checkpoints and exact resume."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
import rich.console

import rnnjax
from rnnjax import training

from . import report
from .checkpoints import Checkpoints
from .config import RESUMABLE, Config, InputError
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
    stop_at: int | None = None,
) -> tuple[training.TrainState, float]:
    """Trains, or goes on training, with metrics and checkpoints as it goes.

    Args:
        config: the settings.
        text: the corpus as symbols.
        model: symbols to logits.
        console: where progress is shown.
        stop_at: leave off after this step, as an interruption would.

    Returns:
        The state after the last step and the seconds spent, with those before a resume.
    """
    state = initial_state(config, model, build_optimizer(config))
    record = {
        "config": as_json(config),
        "characters": text.vocabulary.characters,
        "sha256": text.corpus.sha256,
        "seconds": 0.0,
    }
    if not config.resume:
        set_aside(config.output)
    with Checkpoints(config.output / "checkpoints") as checkpoints:
        if config.resume:
            newest = checkpoints.newest()
            earlier = checkpoints.record(newest)
            _check_resumable(earlier, record)
            record["seconds"] = earlier["seconds"]
            state = checkpoints.state(newest, state)
        step = int(state.step)
        metrics = report.MetricsLog(config.output / "metrics.jsonl", step)
        loop = _Loop(config, text, model, checkpoints, metrics, record, console)
        return loop.run(state, min(stop_at or config.steps, config.steps))


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


class _Loop:
    """The training loop with its bar, metrics, looks at the dev text, checkpoints."""

    def __init__(self, config, text, model, checkpoints, metrics, record, console):
        self.config = config
        self.checkpoints = checkpoints
        self.metrics = metrics
        self.record = record
        self.console = console
        self.windows = Windows(text.train, config.batch_size, config.window)
        self.dev = text.dev[: config.evaluate_characters]
        self.step = training.train_step(
            training.language_model_loss(model), build_optimizer(config)
        )
        self.evaluate = make_evaluator(model, text.vocabulary)
        self.key = jax.random.fold_in(jax.random.key(config.seed), 1)
        self.begun = time.perf_counter() - record["seconds"]

    def run(self, state, stop: int):
        """Trains from ``state`` to step ``stop``."""
        config, step = self.config, int(state.step)
        if step >= stop:
            return state, self.record["seconds"]
        nats, since = [], (step, time.perf_counter())
        with report.progress_bar(self.console) as bar:
            task = report.add_training_task(bar, config.cell, config.steps, step)
            while step < stop:
                key = jax.random.fold_in(self.key, step)
                state, metrics = self.step(state, self.windows[step], key)
                nats.append(metrics["loss"])
                step += 1
                last = step == stop
                if step % config.log_every == 0 or last:
                    shown = self._log(step, np.mean(jax.device_get(nats)), since)
                    bar.update(task, completed=step, **shown)
                    nats, since = [], (step, time.perf_counter())
                if step % config.evaluate_every == 0 or last:
                    self._look(step, state.params)
                if step % config.checkpoint_every == 0 or last:
                    self.record["seconds"] = self._seconds()
                    self.checkpoints.save(step, state, self.record)
        return state, self._seconds()

    def _seconds(self) -> float:
        return time.perf_counter() - self.begun

    def _log(self, step, loss, since) -> dict[str, float]:
        """Writes a line of metrics and returns what the bar shows."""
        now = time.perf_counter()
        shown = {
            "loss": float(loss),
            "bits": float(loss) / np.log(2),
            "rate": self._characters(step - since[0]) / (now - since[1]),
        }
        self.metrics.write(
            step=step,
            characters=self._characters(step),
            seconds=round(self._seconds(), 2),
            loss=shown["loss"],
            train_bits=shown["bits"],
            characters_per_second=round(shown["rate"]),
        )
        return shown

    def _look(self, step, params) -> None:
        """Scores the beginning of the development text."""
        bits = self.evaluate(params, self.dev)
        seconds = self._seconds()
        self.metrics.write(
            step=step,
            characters=self._characters(step),
            seconds=round(seconds, 2),
            dev_bits=bits,
        )
        self.console.print(
            f"step {step:,} of {self.config.steps:,}: {bits:.3f} bits per character of "
            f"development text after {seconds:,.0f} s"
        )

    def _characters(self, steps: int) -> int:
        return steps * self.config.batch_size * self.config.window


def as_json(config: Config) -> dict:
    """The settings as JSON can hold them."""
    fields = dataclasses.asdict(config)
    return {k: str(v) if isinstance(v, Path) else v for k, v in fields.items()}


def _check_resumable(earlier: dict, now: dict) -> None:
    """Refuses to go on with a run that was another one."""
    changed = [
        f"--{name.replace('_', '-')} was {was}, is {now['config'][name]}"
        for name, was in earlier["config"].items()
        if name not in RESUMABLE and now["config"][name] != was
    ]
    if earlier["sha256"] != now["sha256"]:
        changed.append(f"corpus sha256 was {earlier['sha256']}, is {now['sha256']}")
    if changed:
        raise InputError(
            "--resume expects the settings and the text of the run it goes on with: "
            + "; ".join(changed)
        )


def set_aside(output: Path) -> None:
    """Renames the folder of an earlier run, so that nothing is mixed or lost."""
    if output.exists() and any(output.iterdir()):
        number = 1
        while (old := output.with_name(f"{output.name}.{number}")).exists():
            number += 1
        output.rename(old)
    output.mkdir(parents=True, exist_ok=True)
