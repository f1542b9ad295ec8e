"""One process of several that train together; started by test_processes.py.

It is told by JAX's environment variables who it is, and by its arguments where the
checkpoints go and how long it trains.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax
from rnnjax import sharding, training

T, B, F, H = 6, 8, 3, 8
KEY = 1


class Batches:
    """Batch ``k`` from ``k`` alone: of each, the rows that this process reads."""

    def __init__(self, mesh):
        self.mesh = mesh
        self.rows = sharding.process_rows(B, mesh)

    def __len__(self):
        return 1_000

    def __getitem__(self, k):
        xs = np.random.default_rng(k).normal(size=(T, B, F)).astype("float32")
        batch = {"inputs": xs, "targets": xs.sum(-1, keepdims=True)}
        mine = jax.tree.map(lambda leaf: leaf[:, self.rows], batch)
        return sharding.shard_batch(mine, self.mesh)


def sequence_loss(ys, targets, mask):
    del mask
    return jnp.mean((ys - targets) ** 2), {}


def problem(mesh):
    """Loss, optimiser, state and data: the same on every process."""
    rnn = rnnjax.stack(rnnjax.lstm(H), rnnjax.dropout(0.2), rnnjax.dense(1))
    params = rnn.init(jax.random.key(0), jnp.ones(F))
    optimizer = training.optimizer("adam", 1e-2, clip_norm=1.0)
    state = training.init_state(params, optimizer, rnn.initial_carry(params, (B,)))
    loss = training.stateful_loss(rnn, sequence_loss)
    return loss, optimizer, sharding.shard_state(state, mesh), Batches(mesh)


def train(mesh, steps, folder=None, logs=()):
    """Trains, and goes on where there are checkpoints."""
    checkpoints = None if folder is None else training.Checkpoints(folder, every=2)
    loss, optimizer, state, batches = problem(mesh)
    return training.fit(
        loss,
        optimizer,
        state,
        batches,
        key=jax.random.key(KEY),
        steps=steps,
        log_every=1,
        checkpoints=checkpoints,
        resume="auto",
        logs=logs,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--signal", choices=["SIGKILL", "SIGTERM"])
    parser.add_argument("--late", type=float, default=0.0)
    options = parser.parse_args()
    # A crowded machine may keep a process waiting for minutes.
    here = sharding.initialize(heartbeat_timeout_seconds=900)
    assert here == sharding.initialize()
    mesh = sharding.mesh("data=*")
    if here.process_id == here.num_processes - 1:
        batches = Batches.__getitem__

        def get(self, k):
            if k == 0:
                time.sleep(options.late)
            if k == 5 and options.signal:
                os.kill(os.getpid(), getattr(signal, options.signal))
            return batches(self, k)

        Batches.__getitem__ = get
    fitted = train(mesh, options.steps, options.folder / "checkpoints")
    params = jax.device_get(fitted.state.params)
    if here.process_id == 0:
        leaves, _ = jax.tree.flatten(params)
        losses = np.array([record["loss"] for record in fitted.history])
        np.savez(options.folder / "result.npz", *leaves, losses=losses)


if __name__ == "__main__":
    main()
