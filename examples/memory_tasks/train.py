"""The training of one cell on one task: candidates, choice, one look at the test."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from examples.common import distributed
from rnnjax import training

from .budgets import Settings
from .config import Config
from .model import build_model, build_optimizer
from .tasks import Task

PROMOTED = 0.95  # Accuracy on training strings at which longer ones come.
Report = Callable[[dict[str, float]], None]


class Candidate(NamedTuple):
    """A model trained with one learning rate.

    Attributes:
        learning_rate: the peak.
        params: after training.
        development: metrics on the development data.
        enough: whether these are good enough; training then ended early.
        steps: optimiser steps made.
        seconds: of training and looks at the development data, with compilation.
        curve: a record for each look.
    """

    learning_rate: float
    params: Any
    development: dict[str, float]
    enough: bool
    steps: int
    seconds: float
    curve: list[dict[str, float]]


def study(
    task: Task, cell: str, settings: Settings, config: Config, report: Report
) -> dict:
    """Trains the candidates, chooses on development data, tests the chosen one.

    Args:
        task: what to learn.
        cell: an alias of rnnjax.
        settings: how.
        config: for the seed.
        report: told of every look at the development data.

    Returns:
        The result, as JSON can hold it.
    """
    model = build_model(task, cell, settings)
    loss = task.loss(model)
    score = _scorer(loss)
    candidates = []
    for rate in settings.learning_rates:
        run = _Run(task, model, loss, score, settings, rate, config, report)
        candidates.append(run.train())
        if candidates[-1].enough:
            break
    best = min(candidates, key=lambda c: c.development["loss"])
    by_length = {n: score(best.params, [batch]) for n, batch in task.test().items()}
    test = float(np.mean([metrics[task.metric] for metrics in by_length.values()]))
    return {
        "metric": task.metric,
        "chance": task.chance,
        "test": test,
        "solved": task.solved(test),
        "learning_rate": best.learning_rate,
        "steps": best.steps,
        "seconds": round(sum(c.seconds for c in candidates), 1),
        "parameters": sum(p.size for p in jax.tree.leaves(best.params)),
        "development": best.development,
        "test_by_length": by_length,
        "candidates": [_as_json(c) for c in candidates],
    }


def _as_json(candidate: Candidate) -> dict:
    return {k: v for k, v in candidate._asdict().items() if k != "params"}


class _Run:
    """The training of one candidate."""

    def __init__(self, task, model, loss, score, settings, rate, config, report):
        self.task, self.settings, self.rate = task, settings, rate
        self.report = report
        self.key = jax.random.key(config.seed)
        development = task.development()
        self.validate = lambda params: score(params, development)
        params = model.init(self.key, development[0]["inputs"][0])
        optimizer = build_optimizer(settings, rate)
        self.state = training.init_state(params, optimizer)
        self.spread = None
        if config.distributed:
            self.spread = distributed.Spread(settings.batch_size, task.axes)
            self.state = self.spread.state(self.state)
            self.validate = distributed.agreed(self.validate)
        self.step = training.train_step(loss, optimizer)
        self.levels = list(settings.curriculum)
        self.curve = []

    def train(self) -> Candidate:
        """Trains until the development data say enough or all steps are made."""
        begun, seen, k, enough = time.perf_counter(), [], 0, False
        while k < self.settings.steps and not enough:
            lengths = self.levels[:1]
            batch = self.task.train_batch(k, self.settings.batch_size, *lengths)
            if self.spread is not None:
                batch = self.spread.batch(batch)
            key = jax.random.fold_in(self.key, k)
            self.state, metrics = self.step(self.state, batch, key)
            seen.append(metrics)
            k += 1
            if k % self.settings.evaluate_every == 0 or k == self.settings.steps:
                metrics = self._look(k, seen, time.perf_counter() - begun)
                enough, seen = self.task.enough(metrics), []
                if not math.isfinite(metrics["loss"]):
                    metrics["loss"] = math.inf
                    break
        seconds = round(time.perf_counter() - begun, 1)
        params = self.state.params
        if self.spread is not None:  # from here on every process is by itself
            params = distributed.own(params)
        return Candidate(self.rate, params, metrics, enough, k, seconds, self.curve)

    def _look(self, k: int, seen: list[dict], seconds: float) -> dict[str, float]:
        """Scores the development data, and may pass on to longer strings."""
        metrics = self.validate(self.state.params)
        trained = {name: _mean(seen, name) for name in metrics}
        record = {"step": k, "seconds": round(seconds, 1), "learning_rate": self.rate}
        for split, values in (("train", trained), ("development", metrics)):
            record |= {f"{split}_{n}": float(f"{v:.5g}") for n, v in values.items()}
        if self.levels:
            record["length"] = self.levels[0]
            if trained["accuracy"] > PROMOTED:
                del self.levels[0]
        self.curve.append(record)
        self.report(record)
        return metrics


def _scorer(loss):
    """Makes ``(params, batches) -> metrics``, the means over the batches."""
    step = training.eval_step(loss)

    def score(params, batches) -> dict[str, float]:
        _, metrics = training.evaluate(step, params, None, batches)
        return {name: float(value) for name, value in metrics.items()}

    return score


def _mean(seen: list[dict], name: str) -> float:
    return float(np.mean(jax.device_get([metrics[name] for metrics in seen])))
