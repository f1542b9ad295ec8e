"""One of the processes that the suite `processes` starts; prints its times as JSON."""

from __future__ import annotations

import argparse
import json
import os
import time

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax
from rnnjax import sharding
from rnnjax.losses import softmax_cross_entropy

SYMBOLS, RATE = 96, 1e-3


def main() -> None:
    """Times a training step of a character model, alone and with the others."""
    parser = argparse.ArgumentParser()
    for name in ("steps", "batch", "embedding", "hidden", "rounds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # one core each, before JAX makes its threads
        cores = sorted(os.sched_getaffinity(0))
        index = int(os.environ["JAX_PROCESS_ID"])
        os.sched_setaffinity(0, {cores[index % len(cores)]})
    here = sharding.initialize()
    ways = {
        "alone": prepare(options, None),
        "data parallel": prepare(options, sharding.mesh("data=*")),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds + 2):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            if number >= 2:  # the first two compile and warm up
                times[name].append(time.perf_counter() - start)
    if here.process_id == 0:
        print(json.dumps(times))


def prepare(options, mesh):
    """A function that makes one step; on this process alone where there is no mesh."""
    rnn = rnnjax.stack(
        rnnjax.embed(SYMBOLS, options.embedding),
        rnnjax.lstm(options.hidden),
        rnnjax.dense(SYMBOLS),
    )
    shape = options.steps + 1, options.batch
    symbols = np.random.default_rng(jax.process_index()).integers(0, SYMBOLS, shape)
    batch = symbols.astype(np.int32)
    params = rnn.init(jax.random.key(0), batch[0])
    if mesh is None:
        batch = jnp.asarray(batch)
    else:
        params = sharding.replicate(params, mesh)
        batch = sharding.shard_batch(batch, mesh)

    def loss(params, batch):
        _, logits = rnn.unroll(params, None, batch[:-1])
        return softmax_cross_entropy(logits, batch[1:])[0]

    @jax.jit
    def step(params, batch):
        value, gradient = jax.value_and_grad(loss)(params, batch)
        return value, jax.tree.map(lambda p, g: p - RATE * g, params, gradient)

    state = [params]

    def run():
        value, state[0] = step(state[0], batch)
        jax.block_until_ready((value, state[0]))

    return run


if __name__ == "__main__":
    main()
