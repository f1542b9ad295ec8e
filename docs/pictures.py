"""Draws the pictures of docs/plotting.md: `python docs/pictures.py` (half a minute).

An LSTM learns to tell how many brackets are open, and its gates are drawn. The other
pictures show made-up data.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax
from rnnjax import losses, plotting, training

IMAGES = pathlib.Path(__file__).parent / "images"
SYMBOLS = "()ab"
HIDDEN_SIZE, LENGTH, BATCH, STEPS, DEEPEST = 8, 40, 64, 400, 4


def make_texts(generator, count):
    """Symbols `[T, B]` and how many brackets are open after each."""
    symbols = np.zeros((LENGTH, count), np.int32)
    depth = np.zeros((LENGTH, count), np.int32)
    now = np.zeros(count, np.int32)
    for t in range(LENGTH):
        drawn = generator.integers(0, 4, count)
        drawn = np.where((drawn == 0) & (now == DEEPEST), 1, drawn)
        drawn = np.where((drawn == 1) & (now == 0), 2, drawn)
        now = now + (drawn == 0) - (drawn == 1)
        symbols[t], depth[t] = drawn, now
    return symbols, depth


def train_counter():
    """The model, its parameters and the records of its training."""
    rnn = rnnjax.stack(
        rnnjax.embed(4, 4), rnnjax.lstm(HIDDEN_SIZE), rnnjax.dense(DEEPEST + 1)
    )

    def loss(params, carry, batch, key):
        _, logits = rnn.unroll(params, None, batch[0], key=key)
        value, metrics = losses.softmax_cross_entropy(logits, batch[1])
        right = (logits.argmax(-1) == batch[1]).mean()
        return value, (carry, {"error": 1 - right, "count": metrics["count"]})

    optimizer = training.optimizer("adam", 2e-2, clip_norm=1.0)
    step = training.train_step(loss, optimizer)
    generator, key = np.random.default_rng(0), jax.random.key(0)
    state = training.init_state(rnn.init(key, jnp.zeros(BATCH, int)), optimizer)
    records = []
    for k in range(1, STEPS + 1):
        batch = make_texts(generator, BATCH)
        state, metrics = step(state, batch, jax.random.fold_in(key, k))
        records.append({"step": k, "loss": float(metrics["loss"])})
    return rnn, state.params, records


def lstm_gates(params, xs):
    """Gates and states of an LSTM `[T, ...]`, computed again from its hidden states."""
    cell, layer = rnnjax.cells.lstm(HIDDEN_SIZE), rnnjax.lstm(HIDDEN_SIZE)
    _, (ys, carries) = rnnjax.with_carries(layer).unroll(params, None, xs)
    before = jnp.concatenate([jnp.zeros_like(ys[:1]), ys[:-1]])
    u = jax.vmap(lambda x: cell.project(params, x))(xs)
    gates = u + before @ params["recurrent"]["kernel"]
    i, f, _, o = map(jax.nn.sigmoid, jnp.split(gates, 4, axis=-1))
    return {"input": i, "forget": f, "output": o, "cell state": carries.c}


def main():
    """Draws all."""
    rnn, params, records = train_counter()
    plotting.learning_curves(
        records, ["loss"], log=True, path=IMAGES / "learning_curves.png"
    )
    text = "a(b(aa(b)a)(a(b)b)a)b((a)b(b))aa(b(ab)a)"
    symbols = np.array([SYMBOLS.index(c) for c in text])
    xs = rnnjax.embed(4, 4).unroll(params["0"], None, symbols)[1]
    plotting.gate_activations(
        lstm_gates(params["1"], xs),
        text,
        title="An LSTM of 8 units that knows how many brackets are open",
        path=IMAGES / "gate_activations.png",
    )
    hours = np.arange(72)
    load = 10 + 3 * np.sin(2 * np.pi * hours / 24) + np.sin(2 * np.pi * hours / 12)
    levels = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
    width = 0.3 + 0.04 * np.arange(24)[:, None]
    plotting.forecast(
        load[:48],
        load[48:, None] + width * np.array([-1.28, -0.67, 0, 0.67, 1.28]),
        levels=levels,
        actual=load[48:] + 0.3 * np.random.default_rng(0).normal(size=24),
        baselines={"as yesterday": load[24:48] + 0.8},
        x_label="hours ahead",
        y_label="load",
        path=IMAGES / "forecast.png",
    )


if __name__ == "__main__":
    main()
