"""Killed before each operation on the disk in turn, of a save and of a deletion."""

import itertools
import json
import os
import shutil
import sys

import chex
import jax.numpy as jnp
import pytest

from rnnjax import training

# When a write fails, Orbax leaves other writes to an event loop that it closes.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}
WRITES = os.O_WRONLY | os.O_RDWR


class Killed(BaseException):
    """In place of SIGKILL: nothing in the package catches it."""


class Death:
    """Lets so many changes of the disk pass, and then none in any thread."""

    def __init__(self):
        self.left = None
        sys.addaudithook(self._heard)  # for good: there is no way to take it off

    def _heard(self, event, arguments):
        if self.left is None:
            return
        if event in CHANGES or (event == "open" and arguments[2] & WRITES):
            if self.left == 0:
                raise Killed
            self.left -= 1

    def strikes(self, act, after):
        """Whether it came before ``act`` was over."""
        self.left = after
        try:
            act()
            return False
        except Killed:
            return True
        finally:
            self.left = None


@pytest.fixture(scope="module")
def death():
    return Death()


def state(value):
    return {"a": jnp.full(3, value)}


def save(folder, step, value):
    with training.Checkpoints(folder) as checkpoints:
        checkpoints.save(state(value), {"value": value}, step=step)


def discard(folder):
    training.Checkpoints(folder).discard_after(1)


@pytest.mark.parametrize(
    ("before", "act", "found"),
    [
        # The only checkpoint is saved again: it is the old one, then the new one.
        ([2], lambda folder: save(folder, 2, 20), [(2, 2), (2, 20)]),
        # Two are kept, so that the third makes the first go.
        ([1, 2], lambda folder: save(folder, 3, 3), [(2, 2), (3, 3)]),
        ([1, 2], discard, [(2, 2), (1, 1)]),
    ],
    ids=["saved again", "saved", "discarded"],
)
def test_killed_before_each_operation(tmp_path, death, before, act, found):
    """Whoever comes next finds a whole checkpoint, and no warning: they are errors."""
    for step in before:
        save(tmp_path / "before", step, step)
    seen = []
    for count in itertools.count():
        folder = tmp_path / str(count)
        shutil.copytree(tmp_path / "before", folder)
        killed = death.strikes(lambda folder=folder: act(folder), count)
        checkpoints = training.Checkpoints(folder)
        restored = checkpoints.restore(state(0))
        value = restored.record["value"]
        chex.assert_trees_all_equal(restored.state, state(value))
        seen.append((restored.step, value))
        # It also ends what was begun, and the same checkpoint is found.
        steps = checkpoints.steps()
        checkpoints.discard_after(restored.step)
        names = {path.name for path in folder.iterdir()}
        assert names == set(map(str, steps))
        content = json.loads((folder / str(restored.step) / "record.json").read_text())
        assert content["record"] == restored.record
        if not killed:
            break
    assert list(dict.fromkeys(seen)) == found  # each only after the one before it
    assert seen[-1] == found[-1] and len(seen) > 5
