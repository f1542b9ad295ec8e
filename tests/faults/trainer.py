"""A small stateful run that can be killed: ``python trainer.py FOLDER STEPS``.

It prints a line when it has begun to, and leaves the final state in FOLDER/final.npz.
"""

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax
from rnnjax import training

BATCH, WINDOW = 2, 4
RNN = rnnjax.stack(rnnjax.dropout(0.2), rnnjax.lstm(8), rnnjax.dense(1))
OPTIMIZER = training.optimizer("adam", 0.02, clip_norm=1.0)


def loss(params, carry, batch, key):
    carry, ys = RNN.unroll(params, carry, batch["inputs"], key=key)
    return jnp.mean((ys - batch["targets"]) ** 2), (carry, {})


STEP = training.train_step(loss, OPTIMIZER, skip_nonfinite=True)


def first_state():
    generator = np.random.default_rng(0)
    shapes = jax.eval_shape(RNN.init, jax.random.key(0), jnp.ones(1))
    params = jax.tree.map(
        lambda a: jnp.asarray(0.5 * generator.normal(size=a.shape), a.dtype), shapes
    )
    carry = RNN.initial_carry(params, (BATCH,))
    return training.init_state(params, OPTIMIZER, carry)


def batches(epoch):
    """Another stream each epoch; slowly, so that a kill can come between two steps."""
    wave = np.sin(np.arange(BATCH * WINDOW * 5 + 1, dtype=np.float32) + epoch)
    stream = {"inputs": wave[:-1, None], "targets": wave[1:, None]}
    for window in training.windows(training.streams(stream, BATCH), WINDOW):
        time.sleep(0.01)
        yield window


def train(folder, steps, announce=lambda: None, **options):
    def validation(params):
        kernel = params["1"]["recurrent"]["kernel"]
        return {"score": float(jnp.abs(kernel).sum())}

    announced = []

    def log(record):
        if not announced:
            announce()
            announced.append(record)

    return training.fit(
        loss,
        OPTIMIZER,
        first_state(),
        batches,
        key=jax.random.key(3),
        steps=steps,
        step=STEP,
        validation=validation,
        validate_every=3,
        log_every=2,
        logs=[training.MetricsLog(folder / "metrics.jsonl"), log],
        checkpoints=training.Checkpoints(
            folder / "checkpoints", every=2, best="score", config={"batch": BATCH}
        ),
        **({"resume": "auto"} | options),
    )


def leaves(state):
    return {f"{i:02}": np.asarray(a) for i, a in enumerate(jax.tree.leaves(state))}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    fitted = train(folder, int(sys.argv[2]), lambda: print("training", flush=True))
    np.savez(folder / "final.npz", **leaves(fitted.state))
