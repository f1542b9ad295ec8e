"""Weak scaling over processes of one machine, by JAX's multi-controller runtime."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .. import _machine, _timing
from .._compare import Case
from .._suite import Plot, Suite, Summary, row_of

ALONE, TOGETHER = "alone", "data parallel"
ROOT = Path(__file__).parents[2]
SECONDS = 600


@dataclass(frozen=True)
class Processes(Suite):
    """A training step of a character model on 1, 2 and 4 processes (CPU, gloo).

    Every process has a core (processes beyond the cores share them) and a batch of its
    own, so that the whole batch grows with them. "alone" makes the same step in every
    process without a word to the others: what it loses is the machine's, and what
    "data parallel" loses beyond it is the communication's.
    """

    counts: tuple[int, ...] = (1, 2, 4)
    """Numbers of processes."""

    steps: int = 64
    """T."""

    batch: int = 32
    """B of one process."""

    embedding: int = 64
    """Size of the embedding."""

    hidden: int = 256
    """H of the LSTM."""

    name: ClassVar[str] = "processes"
    plots: ClassVar = (Plot("lines", ("model",), "processes", "tokens_per_second"),)

    def tiny(self):
        return dataclasses.replace(
            self, rounds=2, counts=(2,), steps=4, batch=2, embedding=4, hidden=8
        )

    def cases(self) -> Iterator[Case]:
        for count in self.counts:
            times = self._run(count)
            tokens = count * self.steps * self.batch
            rows = []
            for name, seconds in times.items():
                row = {"name": name, **_timing.statistics(seconds, times[ALONE])}
                row["tokens_per_second"] = tokens / row["min_seconds"]
                rows.append(row)
            model = (
                f"embedding {self.embedding}, LSTM {self.hidden}, {self.steps} steps"
            )
            labels = {
                "model": model,
                "batch of each": self.batch,
                "processes": count,
                "cores": _machine.cores(),
            }
            yield Case(labels, rows, ALONE)

    def summary(self, cases: list[Case]) -> Summary:
        first, rows = cases[0], []
        start = first.labels["processes"]
        cores = _machine.cores()
        for case in cases:
            count = case.labels["processes"]
            row = {"processes": count}
            for name in (ALONE, TOGETHER):
                rate = row_of(case, name)["tokens_per_second"]
                gain = rate / row_of(first, name)["tokens_per_second"]
                row[f"{name}, times the tokens/s of {start}"] = gain
            ideal = min(count, cores) / min(start, cores)
            row[f"{TOGETHER}, % of the cores' ideal"] = 100 * gain / ideal
            rows.append(row)
        remark = f"The ideal is as many times the tokens/s as there are cores: {cores}."
        return Summary(rows, [remark])

    def _run(self, count: int) -> dict[str, list[float]]:
        """The times of process 0."""
        with socket.socket() as found:
            found.bind(("localhost", 0))
            port = found.getsockname()[1]
        names = ("steps", "batch", "embedding", "hidden", "rounds")
        options = [f"--{name}={getattr(self, name)}" for name in names]
        processes = []
        for index in range(count):
            environment = os.environ | {
                "JAX_PLATFORMS": "cpu",
                "XLA_FLAGS": "",
                "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
                "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
                "JAX_NUM_PROCESSES": str(count),
                "JAX_PROCESS_ID": str(index),
            }
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks._one_process", *options],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        try:
            results = [process.communicate(timeout=SECONDS) for process in processes]
        finally:
            for process in processes:
                process.kill()
        for process, (_, errors) in zip(processes, results, strict=True):
            if process.returncode:
                raise RuntimeError(
                    f"Expected {count} processes to end with 0, got "
                    f"{process.returncode}:\n{errors[-3000:]}"
                )
        return json.loads(results[0][0].splitlines()[-1])  # gloo prints before it
