"""examples/sweep by two processes at once that share one journal."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from examples.sweep.search import ENDED, JOURNAL, NAME

ROOT = Path(__file__).parents[2]
SIZES = """--characters 512 --evaluate-characters 200 --looks 2 --batch-size 8
    --hidden-size 4 8 --window 8 8 --num-layers 1 1""".split()


@pytest.fixture
def start(tmp_path):
    """Starts ``python -m module`` as a worker; none outlives the test."""
    words = np.random.default_rng(0).choice(["to be ", "or not ", "that "], 3000)
    (tmp_path / "text.txt").write_text("".join(words))
    processes = []

    def start(module, worker, trials):
        options = ["--worker", worker, "--trials", trials, "--output", tmp_path / "out"]
        options += ["--data", tmp_path / "text.txt", *SIZES]
        command = [sys.executable, "-m", module, *map(str, options)]
        with (tmp_path / f"{worker}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                text=True,
            )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def trials_in(folder):
    if not (folder / JOURNAL).exists():
        return []
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    try:
        return optuna.load_study(study_name=NAME, storage=storage).trials
    except KeyError:  # the study is not in it yet
        return []


def check(folder, trials):
    """As many as asked for have ended, no more; and the result has them all."""
    found = trials_in(folder)
    ended = [trial for trial in found if trial.state in ENDED]
    assert len(ended) == trials
    assert {t.state for t in found} <= {*ENDED, TrialState.FAIL}
    settings = [tuple(trial.params.values()) for trial in ended]
    assert len(set(settings)) == trials, "two trials drew the same"
    assert sum(bool(trial.user_attrs.get("baseline")) for trial in ended) == 1
    result = json.loads((folder / "result.json").read_text())
    finished = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    assert result["trials"] == {"ended": trials, "finished": len(finished)}
    assert result["best"]["dev_bits"] == min(trial.value for trial in finished)
    return found


def test_two_processes_share_the_trials(start, tmp_path):
    processes = [start("tests.examples.sweeper", worker, 20) for worker in (0, 1)]
    for process in processes:
        assert process.stdout.readline() == "ready\n", logs(tmp_path)
    for process in processes:  # at the same moment
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.wait() for process in processes] == [0, 0], logs(tmp_path)
    found = check(tmp_path / "out", 20)
    assert not any(trial.state == TrialState.FAIL for trial in found)
    shares = [trial.user_attrs["process"] for trial in found]
    assert set(shares) == {process.pid for process in processes}


@pytest.mark.slow
def test_one_is_killed_and_its_trial_is_tried_again(start, tmp_path):
    """Trials that train: the other worker takes the settings of the killed one over."""
    killed, other = [start("examples.sweep", worker, 8) for worker in (0, 1)]

    def at_work(process):
        return [
            trial
            for trial in trials_in(tmp_path / "out")
            if trial.state == TrialState.RUNNING
            and trial.params.keys() >= {"dropout"}
            and trial.user_attrs["process"] == process.pid
        ]

    while not (under_way := at_work(killed)):
        assert killed.poll() is None, logs(tmp_path)
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    while not at_work(other):
        assert other.poll() is None, logs(tmp_path)
        time.sleep(0.05)
    other.kill()  # the last one too: the study is left for another day
    other.wait()
    again = [start("examples.sweep", worker, 8) for worker in (0, 1)]
    assert [process.wait() for process in again] == [0, 0], logs(tmp_path)

    found = check(tmp_path / "out", 8)
    failed = [trial for trial in found if trial.state == TrialState.FAIL]
    assert under_way[0].number in {trial.number for trial in failed}
    for trial in failed:
        assert any(
            later.params == trial.params and later.number > trial.number
            for later in found
            if later.state in ENDED
        )


def logs(folder):
    """The end of what each process printed."""
    return "".join(path.read_text()[-3000:] for path in sorted(folder.glob("*.log")))
