"""Runs that are killed, at any moment, and end as if they never had been."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rnnjax.training import read_metrics
from tests.faults import trainer

ROOT = Path(__file__).parents[2]
STEPS = 100


def start(folder):
    """A process that trains in ``folder``, once it has begun to."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, trainer.__file__, str(folder), str(STEPS)],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )


def has_begun(process):
    return process.stdout.readline() == "training\n"


def kill(process, generator, in_save, folder):
    """Kills it after a while, or in the middle of a save; True if it was not done."""
    if in_save:
        end = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < end:
            if list((folder / "checkpoints").glob("*.new")):
                break
            time.sleep(0.001)
        time.sleep(generator.uniform(0, 0.04))
    else:
        time.sleep(generator.uniform(0, 1.5))
    process.kill()
    return process.wait() == -signal.SIGKILL


def finish(folder):
    with start(folder) as process:
        process.communicate()
    assert process.returncode == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that is never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    return trainer.train(folder, STEPS)


def assert_same(folder, whole):
    final = dict(np.load(folder / "final.npz"))
    expected = trainer.leaves(whole.state)
    assert final.keys() == expected.keys()
    for name, leaf in expected.items():
        assert final[name].dtype == leaf.dtype
        np.testing.assert_array_equal(final[name], leaf)
    records = read_metrics(folder / "metrics.jsonl")
    for ours, theirs in zip(records, whole.history, strict=True):
        assert ours | {"seconds": 0} == theirs | {"seconds": 0}


def killed_run(folder, kills, generator, whole):
    """Kills runs, each as often as it takes to end; where the kills struck."""
    struck = {"kills": 0, "in a save": 0, "runs": 0}
    while struck["kills"] < kills:
        run = folder / str(struck["runs"])
        run.mkdir(exist_ok=True)
        with start(run) as process:
            begun = has_begun(process)
            in_save = struck["kills"] % 2 == 1
            killed = begun and kill(process, generator, in_save, run)
        if killed:
            saves = list((run / "checkpoints").glob("*.new"))
            struck["kills"] += 1
            struck["in a save"] += bool(saves)
        else:
            assert process.returncode == 0
            assert_same(run, whole)
            struck["runs"] += 1
    run = folder / str(struck["runs"])
    if run.exists():
        finish(run)
        assert_same(run, whole)
        struck["runs"] += 1
    return struck


def test_killed_twice_then_terminated_then_resumed(whole, tmp_path):
    generator = random.Random(1)
    for in_save in (False, True):
        with start(tmp_path) as process:
            assert has_begun(process)
            assert kill(process, generator, in_save, tmp_path)

    with start(tmp_path) as process:
        assert has_begun(process)
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        process.communicate()
    assert process.returncode == 0
    assert time.monotonic() - begun < 30  # seconds of grace
    assert not (tmp_path / "final.npz").exists()

    finish(tmp_path)
    assert_same(tmp_path, whole)


@pytest.mark.slow
def test_killed_50_times(whole, tmp_path):
    struck = killed_run(tmp_path, 50, random.Random(2), whole)
    print(json.dumps(struck))
    assert struck["kills"] == 50
    assert struck["in a save"] >= 10
