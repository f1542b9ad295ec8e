"""Records on their way: TensorBoard's files, the profile, the bar."""

import struct

import pytest

from rnnjax import training
from tests.training import test_fit

event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
# Fixtures of the module that has the small run.
run, step, state, windows = (
    test_fit.run,
    test_fit.step,
    test_fit.state,
    test_fit.windows,
)


def scalars(folder):
    """``(name, step, value)`` of all files, oldest first, and the purges."""
    found, purged = [], []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = event_pb2.Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            if event.session_log.status == event_pb2.SessionLog.START:
                purged.append(event.step)
            for value in event.summary.value:
                found.append((value.tag, event.step, value.simple_value))
    return found, purged


def test_tensorboard_gets_every_number_and_hides_what_a_resume_makes_again(tmp_path):
    board = training.TensorBoard(tmp_path)
    board({"step": 1, "loss": 0.5, "text": "x", "values": [1]})
    board({"step": 4, "loss": 0.25})
    board.rewind([{"step": 1, "loss": 0.5}])
    board({"step": 2, "loss": 0.75})
    board.close()
    found, purged = scalars(tmp_path)
    assert sorted(found) == [("loss", 1, 0.5), ("loss", 2, 0.75), ("loss", 4, 0.25)]
    assert purged == [2]


def test_a_trace_of_some_steps_of_a_run(run, windows, tmp_path):
    trace = training.Trace(tmp_path, first=1, steps=2)
    run(windows, steps=4, trace=trace)
    assert len(list(tmp_path.rglob("*.xplane.pb"))) == 1
    # A run that ends within the profile ends it, too.
    run(windows, steps=2, trace=training.Trace(tmp_path / "short", first=1, steps=9))
    assert len(list((tmp_path / "short").rglob("*.xplane.pb"))) == 1
