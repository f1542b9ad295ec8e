"""What the training loop costs: ``python -m benchmarks.training``.

The network and the batches are those of ``python -m examples.char_lm``, on random text.
Three contenders take turns in one process, each for the same number of steps: a bare
loop around the compiled `train_step`; `fit` with all it does by default (skipped bad
steps, metrics of every step) and records to a file; and that with checkpoints. The time
of `fit` is that between its first record and its last, so that all are without their
start. Also: for how long a save stops the loop.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import rich.console
import tyro

import rnnjax
from rnnjax import training

from . import _machine, _report


@dataclass(frozen=True)
class Options:
    """Measures the overhead of `fit` and the stall of a checkpoint."""

    hidden_size: int = 256
    """Size of the hidden state of the LSTM."""

    steps: int = 100
    """Steps of each turn."""

    rounds: int = 3
    """Turns of each contender."""

    log_every: int = 20
    """Steps between two records."""

    save_every: int = 100
    """Steps between two checkpoints; the examples save every 500."""

    output: Path = Path("benchmarks/results")
    """Folder for the JSON."""


VOCABULARY, EMBEDDING, BATCH, WINDOW = 100, 64, 32, 64


class TimedCheckpoints(training.Checkpoints):
    """Notes how long each save stops the loop, the state being there already."""

    def __init__(self, folder: Path, every: int):
        super().__init__(folder, every=every)
        self.stalls: list[float] = []

    def save(self, state, record=None, *, step=None) -> None:
        jax.block_until_ready(state)
        begun = time.perf_counter()
        super().save(state, record, step=step)
        self.stalls.append(time.perf_counter() - begun)


def measure(options: Options) -> dict:
    """Runs both contenders in turns."""
    net = rnnjax.stack(
        rnnjax.embed(VOCABULARY, EMBEDDING),
        rnnjax.lstm(options.hidden_size),
        rnnjax.dense(VOCABULARY),
    )
    draw = np.random.default_rng(0)
    text = draw.integers(0, VOCABULARY, BATCH * WINDOW * 50 + 1, dtype=np.int32)
    stream = {
        "inputs": text[:-1].astype(np.int32),
        "targets": text[1:].astype(np.int32),
    }
    windows = training.windows(training.streams(stream, BATCH), WINDOW)
    loss = training.language_model_loss(net)
    optimizer = training.optimizer("adam", 1e-3, clip_norm=1.0)
    key = jax.random.key(0)
    params = net.init(key, np.int32(0))
    state = training.init_state(params, optimizer, net.initial_carry(params, (BATCH,)))
    bare_step = training.train_step(loss, optimizer)
    step = training.train_step(loss, optimizer, skip_nonfinite=True)

    def bare(steps: int) -> float:
        own = jax.tree.map(jax.numpy.copy, state)
        own, _ = jax.block_until_ready(bare_step(own, windows[0], key))
        begun = time.perf_counter()
        for k in range(steps):
            batch = windows[k % len(windows)]
            own, _ = bare_step(own, batch, jax.random.fold_in(key, k))
        jax.block_until_ready(own)
        return (time.perf_counter() - begun) / steps

    def whole(steps: int, save: bool) -> tuple[float, list[float]]:
        moments = []
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = TimedCheckpoints(Path(folder) / "c", options.save_every)
            log = training.MetricsLog(Path(folder) / "metrics.jsonl")
            training.fit(
                loss,
                optimizer,
                state,
                windows,
                key=key,
                steps=options.log_every + steps,
                step=step,
                log_every=options.log_every,
                logs=[log, lambda record: moments.append(time.perf_counter())],
                checkpoints=checkpoints if save else None,
                units={"characters": lambda batch: batch["inputs"].size},
            )
        return (moments[-1] - moments[0]) / steps, checkpoints.stalls

    bare(1), whole(options.log_every, True)
    times = {"bare step": [], "fit": [], "fit, checkpoints": []}
    stalls = []
    for turn in range(options.rounds):
        for name in sorted(times, reverse=bool(turn % 2)):
            if name == "bare step":
                times[name].append(bare(options.steps))
            else:
                seconds, stalled = whole(options.steps, name != "fit")
                times[name].append(seconds)
                stalls += stalled
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    return {"times": times, "stalls": stalls, "state_bytes": size}


def main(options: Options) -> dict:
    """Measures, prints and writes what was found."""
    found = measure(options)
    median = {name: statistics.median(t) for name, t in found["times"].items()}
    least = {name: min(t) for name, t in found["times"].items()}
    result = {
        "suite": "training",
        "machine": _machine.describe(),
        "settings": {
            "hidden_size": options.hidden_size,
            "steps": options.steps,
            "rounds": options.rounds,
            "log_every": options.log_every,
            "save_every": options.save_every,
        },
        "milliseconds_a_step": {
            name: {"least": 1e3 * least[name], "median": 1e3 * median[name]}
            for name in median
        },
        "overhead": {
            name: {
                "of_the_least": least[name] / least["bare step"] - 1,
                "of_the_medians": median[name] / median["bare step"] - 1,
            }
            for name in ("fit", "fit, checkpoints")
        },
        "stall_milliseconds": {
            "median": 1e3 * statistics.median(found["stalls"]),
            "greatest": 1e3 * max(found["stalls"]),
            "saves": len(found["stalls"]),
        },
        "state_megabytes": found["state_bytes"] / 1e6,
    }
    console = rich.console.Console(highlight=False)
    for name in ("milliseconds_a_step", "overhead", "stall_milliseconds"):
        console.print(name, result[name])
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"training-{result['machine']['name']}.json"
    _report.write_json(result, path)
    console.print(f"Written: {path}")
    return result


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, prog="python -m benchmarks.training"))
    except ValueError as error:
        sys.exit(f"error: {error}")
