"""The training: random windows, their number of steps by the development part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
import rich.console

from rnnjax import seq2seq, training

from ..common import fitting
from ..common.config import as_json
from .config import RESUMABLE, Config
from .data import Split, Windows, origins
from .model import build, make_loss

EVALUATION_BATCH = 128


@dataclass(frozen=True)
class Batches:
    """Batch k of an endless training: windows in an order that seed and k make.

    Attributes:
        windows: looks them up.
        firsts: the first steps of all forecasts of the training part.
    """

    windows: Windows
    firsts: np.ndarray

    def __len__(self) -> int:
        """Batches in a pass over the training part."""
        return max(len(self.firsts) // self.windows.config.batch_size, 1)

    def __call__(self, epoch: int):
        """The batches of an epoch."""
        config = self.windows.config
        order = np.random.default_rng((config.seed, epoch)).permutation(self.firsts)
        size = min(config.batch_size, len(order))
        for k in range(len(self)):
            yield self.windows(order[k * size : (k + 1) * size])


def in_batches(windows: Windows, firsts: np.ndarray) -> list[dict[str, np.ndarray]]:
    """All windows of some forecasts, in order, for an evaluation."""
    return [
        windows(firsts[k : k + EVALUATION_BATCH])
        for k in range(0, len(firsts), EVALUATION_BATCH)
    ]


class Trained(NamedTuple):
    """What a training leaves.

    Attributes:
        model: the network.
        params: those to forecast with.
        history: the records of the training with a development part.
        steps: after which the development part was foretold best.
        seconds: of all training.
    """

    model: seq2seq.EncoderDecoder
    params: dict
    history: list[dict]
    steps: int
    seconds: float


def train(
    config: Config,
    series: Split,
    windows: Windows,
    sources: list[str],
    console: rich.console.Console,
) -> Trained:
    """Finds the number of steps on the development part, then trains on both parts.

    What is nearest to the test part is the development part. It would be lost to a
    training that ends with the choice.
    """
    model = build(config)
    choice = fit(config, model, windows, sources, console, series.dev, series.test)
    best = choice.step
    console.print(f"the development part is foretold best after {best} steps")
    final = fit(config, model, windows, sources, console, series.test, None, best)
    seconds = choice.seconds + final.seconds
    return Trained(model, final.params, choice.history, best, seconds)


def fit(
    config: Config,
    model: seq2seq.EncoderDecoder,
    windows: Windows,
    sources: list[str],
    console: rich.console.Console,
    end: int,
    dev_end: int | None,
    steps: int | None = None,
) -> fitting.Trained:
    """One training on all before ``end``, validated on what lies up to ``dev_end``."""
    firsts = origins(config, 0, end)
    example = windows(firsts[:1])
    key = jax.random.key(config.seed)
    name = "chosen" if dev_end else "final"
    dev = in_batches(windows, origins(config, end, dev_end)) if dev_end else None
    return fitting.fit(
        config,
        make_loss(model, windows.change),
        fitting.adamw(config, config.steps, warmup=100),
        model.init(key, example["past"][0], example["coming"][0]),
        Batches(windows, firsts),
        checkpoints=training.Checkpoints(
            config.output / "checkpoints" / name,
            every=config.evaluate_every,
            best="val_loss" if dev_end else None,
            config={**as_json(config, but=RESUMABLE), "data": sources},
        ),
        metrics=config.output / f"metrics_{name}.jsonl",
        console=console,
        units={"values": lambda batch: batch["targets"].size},
        steps=steps or config.steps,
        validation=dev,
        validate_every=config.evaluate_every if dev else None,
        log_every=max(config.evaluate_every // 5, 1),
        resume="auto" if config.resume else False,
    )
