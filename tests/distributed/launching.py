"""Starts several processes on loopback that JAX joins, and waits for them."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 900


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def launch(count, folder, *arguments, devices=1):
    """The return codes of ``python -m arguments``; output goes to logs in the folder.

    Each process emulates so many devices.

    Where one process fails, the others are ended, as SLURM does. A fresh port each
    time: that of a killed coordinator may be taken for a minute.
    """
    port, processes = free_port(), []
    for index in range(count):
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": (
                "--xla_backend_optimization_level=0 "
                f"--xla_force_host_platform_device_count={devices}"
            ),
            "PYTHONPATH": str(ROOT),
            "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
            "JAX_NUM_PROCESSES": str(count),
            "JAX_PROCESS_ID": str(index),
        }
        command = [sys.executable, "-m", *map(str, arguments)]
        with (folder / f"{index}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, cwd=ROOT
            )
            processes.append(process)
    try:
        return _wait(processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _wait(processes):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        codes = [process.poll() for process in processes]
        if all(code == 0 for code in codes) or any(codes):
            return codes
        time.sleep(0.1)
    raise TimeoutError(f"After {SECONDS} s: {[p.poll() for p in processes]}")


def logs(folder):
    """The end of what each process printed."""
    return "".join(path.read_text()[-3000:] for path in sorted(folder.glob("*.log")))
