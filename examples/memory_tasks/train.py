"""The training of one cell on one task: candidates, choice, one look at the test."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

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
        solved: whether these say so; training then ended early.
        steps: optimiser steps made.
        seconds: of training and looks at the development data, with compilation.
        curve: a record for each look.
    """

    learning_rate: float
    params: Any
    development: dict[str, float]
    solved: bool
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
    candidates = []
    for rate in settings.learning_rates:
        candidates.append(_train(task, cell, settings, rate, config, report))
        if candidates[-1].solved:
            break
    best = min(candidates, key=lambda c: c.development["loss"])
    by_length = _test(task, cell, settings, best.params)
    return {
        "metric": task.metric,
        "chance": task.chance,
        "test": float(np.mean([m[task.metric] for m in by_length.values()])),
        "solved": best.solved,
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


def _train(task, cell, settings, rate, config, report) -> Candidate:
    """Trains one candidate until it is solved or its steps are made."""
    model = build_model(task, cell, settings)
    loss, optimizer = task.loss(model), build_optimizer(settings, rate)
    step = training.train_step(loss, optimizer)
    score = _scorer(loss)
    development = task.development()
    key = jax.random.key(config.seed)
    params = model.init(key, development[0]["inputs"][0])
    state = training.init_state(params, optimizer)
    levels, curve, seen, begun = list(settings.curriculum), [], [], time.perf_counter()
    solved, k, metrics = False, 0, {"loss": math.inf}
    while k < settings.steps and not solved:
        batch = task.train_batch(k, settings.batch_size, *levels[:1])
        state, shown = step(state, batch, jax.random.fold_in(key, k))
        seen.append(shown)
        k += 1
        if k % settings.evaluate_every and k < settings.steps:
            continue
        metrics = score(state.params, development)
        trained = {n: _mean(seen, n) for n in metrics}
        seconds = time.perf_counter() - begun
        record = {"step": k, "seconds": round(seconds, 1), "learning_rate": rate}
        record |= {f"train_{n}": v for n, v in trained.items()}
        record |= {f"development_{n}": v for n, v in metrics.items()}
        if levels:
            record["length"] = levels[0]
        curve.append(record)
        report(record)
        if not math.isfinite(metrics["loss"]):
            metrics["loss"] = math.inf
            break
        solved = task.solved(metrics)
        if levels and trained["accuracy"] > PROMOTED:
            del levels[0]
        seen = []
    return Candidate(
        rate,
        state.params,
        metrics,
        solved,
        k,
        round(time.perf_counter() - begun, 1),
        curve,
    )


def _test(task, cell, settings, params) -> dict[str, dict[str, float]]:
    score = _scorer(task.loss(build_model(task, cell, settings)))
    return {name: score(params, [batch]) for name, batch in task.test().items()}


def _scorer(loss):
    """Makes ``(params, batches) -> metrics``, the means over the batches."""
    step = training.eval_step(loss)

    def score(params, batches) -> dict[str, float]:
        _, metrics = training.evaluate(step, params, None, batches)
        return {name: float(value) for name, value in metrics.items()}

    return score


def _mean(seen: list[dict], name: str) -> float:
    return float(np.mean(jax.device_get([metrics[name] for metrics in seen])))
