"""What a study found: pictures of its history and of what mattered, and a table."""

from __future__ import annotations

from pathlib import Path

import matplotlib.figure
import optuna
from optuna.trial import TrialState

FEWEST = 4
"""Finished trials below which importances would mean nothing."""


def importances(study: optuna.Study) -> dict[str, float]:
    """The share of each hyperparameter in the variance of the score (fANOVA).

    Empty where fewer than `FEWEST` trials were finished, or all have one score.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(finished) < FEWEST or len({trial.value for trial in finished}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def plot_history(study: optuna.Study, path: Path) -> None:
    """Every trial's score in the order they began, and the best so far."""
    figure, axis = _figure()
    best, so_far = [], float("inf")
    for trial in study.get_trials(deepcopy=False):
        if trial.state == TrialState.COMPLETE:
            so_far = min(so_far, trial.value)
            axis.plot(trial.number, trial.value, "o", color="tab:blue")
        elif trial.state == TrialState.PRUNED and trial.intermediate_values:
            last = list(trial.intermediate_values.values())[-1]
            axis.plot(trial.number, last, "x", color="tab:gray")
        best.append(so_far)
    axis.step(range(len(best)), best, where="post", color="tab:orange")
    for style, color, name in (
        ("o", "tab:blue", "finished"),
        ("x", "tab:gray", "pruned, at its last look"),
        ("-", "tab:orange", "best so far"),
    ):
        axis.plot([], [], style, color=color, label=name)
    axis.legend()
    axis.set(xlabel="trial", ylabel="bits per character of development text")
    axis.grid(alpha=0.25)
    figure.savefig(path)


def plot_importances(shares: dict[str, float], path: Path) -> None:
    """One bar for each hyperparameter."""
    figure, axis = _figure()
    names = list(shares)[::-1]
    axis.barh(names, [shares[name] for name in names])
    axis.set(xlabel="share of the variance of the score (fANOVA)")
    if not shares:
        text = f"fewer than {FEWEST} finished trials that differ"
        axis.text(0.5, 0.5, text, ha="center", transform=axis.transAxes)
    axis.grid(alpha=0.25, axis="x")
    figure.savefig(path)


def table(study: optuna.Study, names: list[str]) -> list[list[str]]:
    """A row for each finished trial, the best first."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [
        [
            str(trial.number),
            f"{trial.value:.3f}",
            *(f"{trial.params[name]:.3g}" for name in names),
        ]
        for trial in sorted(finished, key=lambda trial: trial.value)
    ]


def _figure():
    figure = matplotlib.figure.Figure(figsize=(7, 4), dpi=110, layout="constrained")
    return figure, figure.add_subplot()
