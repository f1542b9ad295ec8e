"""The study: what is drawn, what a trial is, and what several processes share."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import platform
import shutil
from pathlib import Path

import optuna
import rich.console
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from examples.char_lm.config import Config as CharLM
from examples.char_lm.model import build_model
from examples.char_lm.train import Text, train
from rnnjax import training

from .config import RANGES, Config

JOURNAL = "journal.log"
NAME = "char_lm"
ENDED = TrialState.COMPLETE, TrialState.PRUNED
BEGUN = *ENDED, TrialState.RUNNING


@contextlib.contextmanager
def in_turn(config: Config):
    """Of the processes that share the study one at a time, the others wait.

    A killed one keeps them waiting for half a minute.
    """
    lock = JournalFileOpenLock(str(config.output / "turn"))
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def open_study(config: Config) -> optuna.Study:
    """The study in the output folder, new or as earlier runs and others left it.

    The journal is a file to which every process appends; it needs no server.
    """
    config.output.mkdir(parents=True, exist_ok=True)
    backend = JournalFileBackend(str(config.output / JOURNAL))
    study = optuna.create_study(
        study_name=NAME,
        storage=JournalStorage(backend),
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=config.unpruned),
    )
    with in_turn(config):
        # A seed for each process and each resumption: none draws what another drew.
        seed = config.seed + config.worker + 1000 * len(study.trials)
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        if not study.trials:
            study.enqueue_trial(baseline(config), user_attrs={"baseline": True})
    return study


def baseline(config: Config) -> dict:
    """The settings of `examples.char_lm`, as far as the ranges reach: the first trial.

    They were chosen on the development text of longer runs.
    """
    given = CharLM()

    def within(name):
        low, high = getattr(config, name)
        value = getattr(given, name)
        if name in ("hidden_size", "window"):
            return min(powers(low, high), key=lambda size: abs(size - value))
        return min(max(value, low), high)

    return {name: within(name) for name in RANGES.split()}


def next_trial(config: Config, study: optuna.Study) -> optuna.Trial | None:
    """Begins a trial; None where as many as asked for have ended or are under way."""
    with in_turn(config):
        give_back(study)
        begun = study.get_trials(deepcopy=False, states=BEGUN)
        if len(begun) >= config.trials:
            return None
        trial = study.ask()
        trial.set_user_attr("process", os.getpid())
        trial.set_user_attr("machine", platform.node())
        return trial


def give_back(study: optuna.Study) -> None:
    """Ends trials whose process was killed, and has their settings tried again."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        attributes = trial.user_attrs
        # Without a machine it was killed in its turn, and now it is ours.
        mine = attributes.get("machine") in (None, platform.node())
        if mine and not _is_alive(attributes.get("process")):
            study.tell(trial.number, state=TrialState.FAIL)
            drawn = trial.system_attrs.get("fixed_params", {}) | trial.params
            again = {"baseline": True} if attributes.get("baseline") else {}
            study.enqueue_trial(drawn, user_attrs=again)


def _is_alive(process: int | None) -> bool:
    if process is None:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def draw(config: Config, trial: optuna.Trial) -> dict:
    """The hyperparameters of one trial."""
    drawn: dict = {}
    for name in ("hidden_size", "window"):
        drawn[name] = trial.suggest_categorical(name, powers(*getattr(config, name)))
    for name in ("learning_rate", "clip_norm"):
        drawn[name] = trial.suggest_float(name, *getattr(config, name), log=True)
    drawn["num_layers"] = trial.suggest_int("num_layers", *config.num_layers)
    drawn["dropout"] = trial.suggest_float("dropout", *config.dropout)
    return drawn


def powers(low: int, high: int) -> list[int]:
    """``low``, twice that, ... up to ``high``, which is among them."""
    count = math.floor(math.log2(high / low))
    return sorted({*(low << k for k in range(count + 1)), high})


def settings(config: Config, drawn: dict, output: Path) -> CharLM:
    """The run of `examples.char_lm` that a trial is; all read as many characters."""
    steps = config.characters // (config.batch_size * drawn["window"])
    every = steps // config.looks
    return dataclasses.replace(
        CharLM(),
        **drawn,
        output=output,
        data=config.data,
        cell=config.cell,
        batch_size=config.batch_size,
        steps=every * config.looks,
        warmup_steps=steps // 20,
        log_every=every,
        evaluate_every=every,
        evaluate_characters=config.evaluate_characters,
        checkpoint_every=steps,
        seed=config.seed,
    )


def search(config: Config, text: Text, console: rich.console.Console) -> optuna.Study:
    """Runs trials until as many as asked for have ended or are others' to end."""
    study = open_study(config)
    while (trial := next_trial(config, study)) is not None:
        done = carry_out(config, text, study, trial)
        console.print(describe(study, done, config.trials))
    return study


def carry_out(
    config: Config, text: Text, study: optuna.Study, trial: optuna.Trial
) -> FrozenTrial:
    """Runs a trial and notes how it ended; one that is interrupted is given back."""
    try:
        bits = run_trial(config, text, trial)
        if not math.isfinite(bits):
            raise optuna.TrialPruned
        return study.tell(trial, bits)
    except optuna.TrialPruned:
        return study.tell(trial, state=TrialState.PRUNED)
    except Exception:
        study.tell(trial, state=TrialState.FAIL)
        raise


def ended(study: optuna.Study) -> int:
    """How many trials have ended; those that were killed are tried again in others."""
    return len(study.get_trials(deepcopy=False, states=ENDED))


def run_trial(config: Config, text: Text, trial: optuna.Trial) -> float:
    """Trains one network; returns its bits per character of development text.

    Raises:
        TrialPruned: it was behind the median of the others at one of its looks, or its
            loss was not finite.
    """
    output = config.output / "trials" / f"{trial.number}"
    run = settings(config, draw(config, trial), output)
    model = build_model(run, text.vocabulary.size)
    bits: list[float] = []

    def look(record: dict) -> None:
        if "dev_bits" in record:
            bits.append(record["dev_bits"])
            trial.report(bits[-1], len(bits))
            if len(bits) < config.looks and trial.should_prune():
                raise optuna.TrialPruned

    try:
        train(run, text, model, rich.console.Console(quiet=True), logs=[look])
    except training.NonFiniteError as error:
        trial.set_user_attr("diverged", str(error).splitlines()[0])
        raise optuna.TrialPruned from error
    finally:
        shutil.rmtree(output / "checkpoints", ignore_errors=True)
    return bits[-1]


def describe(study: optuna.Study, trial: FrozenTrial, trials: int) -> str:
    """One line about a trial that ended."""
    # Of a pruned trial Optuna keeps the last look as its value.
    score = "diverged" if trial.value is None else f"{trial.value:.3f} bits"
    if trial.state == TrialState.PRUNED:
        score += ", pruned"
    drawn = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.params.items()
    )
    return f"trial {trial.number} ({ended(study)} of {trials}): {score}; {drawn}"
