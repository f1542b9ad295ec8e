"""examples/sweep on a small text: pruning, going on, sharing, what it leaves behind."""

import dataclasses
import json
import os

import numpy as np
import optuna
import pytest
import rich.console
from optuna.trial import TrialState

from examples.char_lm.config import Config as CharLM
from examples.char_lm.train import load_text
from examples.common.errors import InputError
from examples.sweep import report, search
from examples.sweep.config import RANGES, Config
from examples.sweep.run import main, write

CONSOLE = rich.console.Console(quiet=True)


@pytest.fixture(autouse=True)
def _quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def config(tmp_path):
    generator = np.random.default_rng(0)
    text = "".join(generator.choice(["to be ", "or not ", "that "], 3000))
    (tmp_path / "text.txt").write_text(text)
    return Config(
        output=tmp_path / "out",
        data=tmp_path / "text.txt",
        trials=2,
        characters=512,
        evaluate_characters=200,
        looks=2,
        batch_size=8,
        hidden_size=(4, 8),
        window=(8, 8),
        num_layers=(1, 1),
    )


def fake_trials(config, monkeypatch, score):
    """Trials that train nothing; ``score(drawn)`` in place of a network's."""

    def train(run, text, model, console, logs):
        for _ in range(config.looks):
            for log in logs:
                log({"dev_bits": score(run)})

    monkeypatch.setattr(search, "train", train)
    return load_text(CharLM(data=config.data))


def test_two_trials_from_the_command_line(config, capsys):
    arguments = "--trials 2 --characters 512 --evaluate-characters 200 --looks 2 "
    arguments += "--batch-size 8 --hidden-size 4 8 --window 8 8 --num-layers 1 1 "
    arguments += f"--data {config.data} --output {config.output}"
    result = main(arguments.split())
    shown = capsys.readouterr().out
    assert "trial 1 (2 of 2)" in shown and "the best, trained again" in shown
    assert result == json.loads((config.output / "result.json").read_text())
    assert result["trials"]["ended"] == 2
    assert set(RANGES.split()) < set(result["best"])
    for name in ("history.png", "importances.png"):
        assert (config.output / name).read_bytes().startswith(b"\x89PNG")
    assert not list(config.output.glob("trials/*/checkpoints"))
    assert main(arguments.split())["best"] == result["best"]  # nothing is left to do


def test_the_first_trial_has_the_settings_of_char_lm(config):
    wide = dataclasses.replace(
        config, hidden_size=(64, 512), window=(16, 128), characters=4096
    )
    expected = {name: getattr(CharLM(), name) for name in RANGES.split()}
    assert search.baseline(wide) == expected
    assert search.baseline(config)["hidden_size"] == 8


def test_all_trials_read_the_same_text(config):
    wide = dataclasses.replace(config, window=(8, 32))
    for window in search.powers(8, 32):
        drawn = search.baseline(wide) | {"window": window}
        run = search.settings(wide, drawn, config.output)
        assert run.steps * run.window * run.batch_size == config.characters
        assert run.steps // run.evaluate_every == config.looks


def test_the_worse_are_pruned_and_a_bad_number_too(config, monkeypatch):
    config = dataclasses.replace(config, trials=8, unpruned=3, num_layers=(1, 2))
    text = fake_trials(config, monkeypatch, lambda run: 2.0 + run.learning_rate)
    study = search.search(config, text, CONSOLE)
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.PRUNED) >= 1
    pruned = study.trials[states.index(TrialState.PRUNED)]
    assert "bits, pruned; hidden_size" in search.describe(study, pruned, 8)
    assert len(states) == 8
    shares = report.importances(study)
    assert set(shares) == set(RANGES.split())
    assert max(shares, key=shares.__getitem__) == "learning_rate"
    finished = study.get_trials(states=(TrialState.COMPLETE,))
    best = min(trial.params["learning_rate"] for trial in finished)
    assert study.best_params["learning_rate"] == best


@pytest.mark.filterwarnings("ignore:The value nan is not acceptable")
def test_a_study_without_a_finished_trial_ends_and_says_so(config, monkeypatch):
    text = fake_trials(config, monkeypatch, lambda run: float("nan"))
    study = search.search(config, text, CONSOLE)
    with pytest.raises(InputError, match="at least one trial .* got none of 2"):
        write(config, text, study, 1.0, CONSOLE)


def test_a_second_run_goes_on_and_a_killed_trial_is_tried_again(config, monkeypatch):
    text = fake_trials(config, monkeypatch, lambda run: 2.0)
    study = search.search(config, text, CONSOLE)
    killed = study.ask()
    search.draw(config, killed)
    killed.set_user_attr("machine", search.platform.node())
    killed.set_user_attr("process", 2**22 + 1)  # above the largest number there is
    alive = study.ask()
    alive.set_user_attr("machine", search.platform.node())
    alive.set_user_attr("process", os.getpid())
    unknown = study.ask()  # killed before it said whose it is
    config = dataclasses.replace(config, trials=5, worker=1)
    study = search.search(config, text, CONSOLE)
    states = [trial.state for trial in study.trials[2:]]
    failed, running, done = TrialState.FAIL, TrialState.RUNNING, TrialState.COMPLETE
    assert states == [failed, running, failed, done, done]
    assert study.trials[5].params == study.trials[2].params
    assert study.trials[unknown.number].params == {}


def test_processes_share_a_study(config, monkeypatch):
    """Two that take turns, each with the study opened anew from the journal."""
    text = fake_trials(config, monkeypatch, lambda run: run.clip_norm)
    for count, worker in ((1, 0), (2, 1), (3, 0)):
        now = dataclasses.replace(config, trials=count, worker=worker)
        study = search.search(now, text, CONSOLE)
    assert [trial.number for trial in study.trials] == [0, 1, 2]
    drawn = {trial.params["clip_norm"] for trial in study.trials}
    assert len(drawn) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": (64, 32)}, "--hidden-size the least value first"),
        ({"dropout": (0.0, 1.0)}, "--dropout in"),
        ({"characters": 100}, "--characters of at least"),
        ({"learning_rate": (0.0, 1.0)}, "--learning-rate above 0"),
        ({"worker": -1}, "--worker at least 0"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(InputError, match=message):
        Config(**options)
