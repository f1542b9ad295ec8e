"""The loop of `fit` against one written by hand; resuming, stopping, its errors."""

import json
import os
import signal

import chex
import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console

import rnnjax
from rnnjax import training
from tests.training.networks import draw

BATCH, WINDOW, WINDOWS = 2, 3, 4
RNN = rnnjax.stack(rnnjax.dropout(0.2), rnnjax.simple(3), rnnjax.dense(1))
OPTIMIZER = training.optimizer("adam", 0.02, clip_norm=1.0)
KEY = jax.random.key(7)
# What differs from run to run.
TIMES = ("seconds", "values_per_second")


def loss(params, carry, batch, key):
    carry, ys = RNN.unroll(params, carry, batch["inputs"], key=key)
    error = jnp.mean((ys - batch["targets"]) ** 2)
    return error, (carry, {"mean": ys.mean()})


@pytest.fixture(scope="module")
def windows():
    wave = np.sin(np.arange(BATCH * WINDOW * WINDOWS + 1, dtype=np.float32))
    pair = {"inputs": wave[:-1, None], "targets": wave[1:, None]}
    return training.windows(training.streams(pair, BATCH), WINDOW)


@pytest.fixture(scope="module")
def state():
    params = draw(RNN, jnp.ones(1))
    carry = RNN.initial_carry(params, (BATCH,))
    return training.init_state(params, OPTIMIZER, carry)


@pytest.fixture(scope="module")
def step():
    """Compiled once for the module."""
    return training.train_step(loss, OPTIMIZER, skip_nonfinite=True)


@pytest.fixture(scope="module")
def run(step, state):
    def run(data, **options):
        options = {"key": KEY, "step": step} | options
        return training.fit(loss, OPTIMIZER, state, data, **options)

    return run


@pytest.fixture(scope="module")
def by_hand(step, state, windows):
    """The states after 0, 1, ... steps, and the metrics of each step."""
    states, metrics = [state], []
    for k in range(12):
        batch = windows[k % len(windows)]
        given = jax.tree.map(jnp.copy, states[-1])
        after, found = step(given, batch, jax.random.fold_in(KEY, k))
        states.append(after)
        metrics.append(jax.device_get(found))
    return states, metrics


def assert_equal(a, b):
    chex.assert_trees_all_equal_shapes_and_dtypes(a, b)
    for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True):
        np.testing.assert_array_equal(x, y)


def timeless(records):
    return [{k: v for k, v in r.items() if k not in TIMES} for r in records]


def score(params):
    return {"score": float(jnp.abs(params["1"]["recurrent"]["kernel"]).sum())}


def test_the_loop_is_that_of_train_step(run, windows, state, by_hand):
    states, metrics = by_hand
    fitted = run(
        windows,
        steps=6,
        log_every=4,
        units={"values": lambda batch: batch["inputs"].size},
        validation=score,
    )
    assert_equal(fitted.state, states[6])
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert fitted.reason == "steps"
    first, of_epoch, second, last = timeless(fitted.history)
    assert first.keys() == {"step", "epoch", "values", "loss", "grad_norm", "mean"}
    assert (first["step"], first["epoch"], first["values"]) == (4, 0, 24)
    assert (second["step"], second["epoch"], second["values"]) == (6, 1, 36)
    for record, part in ((first, metrics[:4]), (second, metrics[4:6])):
        for name in ("loss", "grad_norm", "mean"):
            expected = np.mean([m[name] for m in part], dtype=np.float64)
            np.testing.assert_allclose(record[name], expected, rtol=1e-12)
    assert of_epoch == {"step": 4, "epoch": 1, "values": 24} | score(states[4].params)
    assert last == {"step": 6, "epoch": 1, "values": 36} | score(states[6].params)
    assert fitted.history[-1]["seconds"] >= fitted.history[0]["seconds"] > 0


OPTIONS = {"log_every": 2, "validation": score, "validate_every": 3}


def test_mixed_precision_learns_what_float32_learns(windows):
    """Layers in bfloat16; parameters, moments and the cell state stay float32."""

    def fitted(dtype):
        rnn = rnnjax.stack(rnnjax.lstm(8, dtype=dtype), rnnjax.dense(1, dtype=dtype))
        params = draw(rnn, jnp.ones(1))

        def loss(params, carry, batch, key):
            del key
            carry, ys = rnn.unroll(params, carry, batch["inputs"])
            assert ys.dtype == dtype
            error = jnp.mean((ys.astype(jnp.float32) - batch["targets"]) ** 2)
            return error, (carry, {})

        carry = rnn.initial_carry(params, (BATCH,))
        state = training.init_state(params, OPTIMIZER, carry)
        options = {"steps": 60, "log_every": 4, "key": KEY}
        return training.fit(loss, OPTIMIZER, state, windows, **options)

    half, whole = fitted(jnp.bfloat16), fitted(jnp.float32)
    kept = (half.state.params, half.state.opt_state, half.state.carry[0].c)
    types = {leaf.dtype for leaf in jax.tree.leaves(kept)}
    assert types <= {jnp.dtype("float32"), jnp.dtype("int32")}
    assert half.state.carry[0].h.dtype == jnp.bfloat16
    begin, end = (whole.history[k]["loss"] for k in (0, -1))
    assert end < begin / 4
    assert abs(half.history[-1]["loss"] - end) < 0.05 * begin


def test_a_resumed_run_is_that_which_was_never_stopped(run, windows, tmp_path):
    whole = run(windows, steps=9, **OPTIONS)
    path = tmp_path / "log" / "metrics.jsonl"

    def part(steps, resume, logs=()):
        checkpoints = training.Checkpoints(tmp_path / "c", every=4, config={"a": (1,)})
        logs = [training.MetricsLog(path), *logs]
        return run(
            windows,
            steps=steps,
            logs=logs,
            checkpoints=checkpoints,
            resume=resume,
            **OPTIONS,
        )

    def fail_at_8(record):
        if record["step"] == 8:
            raise KeyboardInterrupt

    part(5, "auto")
    with pytest.raises(KeyboardInterrupt):
        part(9, True, [fail_at_8])
    # Steps 6 to 8 were made and logged, but saved was only step 5.
    assert training.read_metrics(path)[-1]["step"] == 8
    with pytest.raises(FileExistsError, match=r"got those of steps \[4, 5\].*resume"):
        part(9, False)
    resumed = part(9, True)
    assert_equal(resumed.state, whole.state)
    # The end of the part of 5 steps made a record of its own.
    assert timeless(resumed.history)[-4:] == timeless(whole.history)[-4:]
    assert training.read_metrics(path) == resumed.history
    again = part(9, True)
    assert_equal(again.state, whole.state)
    assert again.history == resumed.history


def terminate(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    return {}


@pytest.mark.parametrize("where", ["log", "validation"])
def test_sigterm_saves_and_exits_with_0(run, windows, tmp_path, where):
    whole = run(windows, steps=9, **OPTIONS)
    folder = tmp_path / "checkpoints"

    def terminate_at_6(record):
        if record["step"] == 6 and "loss" in record:
            terminate()

    validations = []

    def validation(params):
        validations.append(1)
        return terminate() if len(validations) == 2 else score(params)

    options = {"logs": [terminate_at_6]} if where == "log" else {}
    options = OPTIONS | options
    if where == "validation":
        options |= {"validation": validation}
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(training.Terminated) as ended:
        checkpoints = training.Checkpoints(folder)
        run(windows, steps=9, checkpoints=checkpoints, **options)
    assert ended.value.code == 0
    assert signal.getsignal(signal.SIGTERM) is before
    assert checkpoints.steps() == [4, 6]
    resumed = run(windows, steps=9, checkpoints=checkpoints, resume=True, **OPTIONS)
    assert_equal(resumed.state, whole.state)
    assert timeless(resumed.history) == timeless(whole.history)


def test_the_best_checkpoint_is_kept_and_found(run, windows, by_hand, state, tmp_path):
    scores = iter([3.0, 1.0, float("nan"), 2.0, 1.0])
    with training.Checkpoints(tmp_path, every=1, best="score") as checkpoints:
        fitted = run(
            windows,
            steps=5,
            checkpoints=checkpoints,
            validation=lambda params: {"score": next(scores)},
            validate_every=1,
        )
        assert fitted.best == training.Best(2, 1.0)
        assert checkpoints.steps() == [2, 4, 5]
        best = checkpoints.restore(state, "best")
    assert best.step == 2
    assert_equal(best.state, by_hand[0][2])
    assert best.record["metrics"]["score"] == 1.0


def test_early_stopping(run, windows):
    def stopped(scores, **options):
        scores = iter(scores)
        return run(
            windows,
            steps=10,
            validation=lambda params: {"score": next(scores)},
            validate_every=1,
            early_stopping=training.EarlyStopping("score", 2, **options),
        )

    for scores, options, steps, best in (
        ([5, 4, 4, 4.5], {}, 4, (2, 4)),
        ([5, 4.9, 4.85, 0], {"min_delta": 0.2}, 3, (1, 5)),
        ([5, 6, 4, 3], {"mode": "max"}, 4, (2, 6)),
    ):
        fitted = stopped(scores, **options)
        assert (fitted.reason, int(fitted.state.step)) == ("early stopping", steps)
        assert fitted.best == best


@pytest.mark.parametrize("kind", ["function", "list", "grain", "generator"])
def test_data_of_every_kind_and_its_place(run, windows, by_hand, tmp_path, kind):
    data = {
        "function": lambda epoch: (windows[i] for i in range(len(windows))),
        "list": list(windows),
        "grain": grain.MapDataset.source(list(windows)).to_iter_dataset(),
        "generator": (windows[i % len(windows)] for i in range(12)),
    }[kind]
    checkpoints = training.Checkpoints(tmp_path)
    if kind == "generator":
        fitted = run(data, steps=6, checkpoints=checkpoints)
        with pytest.raises(ValueError, match="at least one batch.*An iterator is used"):
            run(data, steps=13)
    else:
        run(data, steps=3, checkpoints=checkpoints)
        fitted = run(data, steps=6, checkpoints=checkpoints, resume=True)
    assert_equal(fitted.state, by_hand[0][6])


def test_a_bad_batch_is_skipped_counted_and_reported(run, step, windows, by_hand):
    bad = jax.tree.map(np.copy, windows[0])
    bad["inputs"][1, 0] = np.nan
    data = [windows[0], bad, windows[1], bad, bad]
    records = []
    fitted = run(data, steps=3, log_every=1, logs=[records.append])
    assert [r.get("skipped") for r in records] == [None, 1, None]
    assert "loss" not in records[1]
    assert int(fitted.state.step) == 3

    # All but the number of steps is as if the bad batch had not been there; the key of
    # a step is that of its number.
    given = jax.tree.map(jnp.copy, by_hand[0][1])
    after, _ = step(given, windows[1], jax.random.fold_in(KEY, 2))
    assert_equal(fitted.state[:3], after[:3])

    with pytest.raises(training.NonFiniteError) as error:
        run(data, steps=9, skip_nonfinite=2)
    message = str(error.value)
    assert "2 steps in a row" in message
    assert "step 3, batch 3 of epoch 0: loss; carry; gradient of 5 of 5" in message
    assert "step 4, batch 4 of epoch 0" in message
    assert "1/recurrent/kernel" in message
    assert_equal(error.value.state.params, after.params)
    # A good step in between, also over the end of an epoch, starts the count anew.
    assert run([*data[:4], windows[2]], steps=9, skip_nonfinite=2).reason == "steps"


def test_a_record_without_a_good_step_is_watched_by_nobody(run, windows, tmp_path):
    bad = jax.tree.map(np.copy, windows[0])
    bad["inputs"][1, 0] = np.nan
    fitted = run(
        [bad, windows[0], windows[1]],
        steps=3,
        log_every=1,
        early_stopping=training.EarlyStopping("loss", 9),
        checkpoints=training.Checkpoints(tmp_path / "runs", best="loss"),
    )
    assert [r.get("skipped") for r in fitted.history] == [1, None, None]
    assert fitted.best.step in (2, 3)


def test_a_log_goes_on_and_is_rewound_only_for_a_resume(run, windows, tmp_path):
    path = tmp_path / "metrics.jsonl"
    for _ in range(2):
        run(windows, steps=2, log_every=1, logs=[training.MetricsLog(path)])
    assert [r["step"] for r in training.read_metrics(path)] == [1, 2, 1, 2]


def test_a_run_killed_in_its_first_save_starts_anew(run, windows, by_hand, tmp_path):
    folder = tmp_path / "runs"
    run(windows, steps=2, checkpoints=training.Checkpoints(folder))
    unfinished = (folder / "2").rename(folder / "2.new")
    (unfinished / "SHA256SUMS").unlink()  # written last of all
    checkpoints = training.Checkpoints(folder)
    fitted = run(windows, steps=2, checkpoints=checkpoints, resume="auto")
    assert_equal(fitted.state, by_hand[0][2])
    assert training.Checkpoints(folder).restore(fitted.state).step == 2


def test_debug_finds_the_batch_entry_or_the_operation(run, windows, state):
    bad = jax.tree.map(np.copy, windows[0])
    bad["inputs"][1, 0] = np.inf
    with pytest.raises(
        training.NonFiniteError, match=r"step 1, batch 1(.|\n)*Given: ba"
    ):
        run([windows[0], bad], steps=2, debug=True)

    def unstable(params, carry, batch, key):
        value, aux = loss(params, carry, batch, key)
        return jnp.log(value - value), aux

    with pytest.raises(training.NonFiniteError, match=r"`log` \(.*test_fit.py:\d+, un"):
        training.fit(unstable, OPTIMIZER, state, windows, key=KEY, steps=1, debug=True)


def test_arrays_are_split_as_keras_does_and_shuffled_by_the_key():
    x = np.arange(11, dtype=np.float32)
    seen = []

    def record(params, carry, batch, key):
        jax.debug.callback(lambda a: seen.append(np.asarray(a)), batch[0])
        return params * 0.0, (carry, {"mean": jnp.mean(batch[0])})

    state = training.init_state(0.0, OPTIMIZER)

    def orders(**options):
        seen.clear()
        fitted = training.fit(record, OPTIMIZER, state, (x, x), batch_size=4, **options)
        jax.effects_barrier()
        return [a.tolist() for a in seen], fitted

    batches, fitted = orders(key=KEY, epochs=1, validation_split=0.25, shuffle=False)
    # floor(11 * 0.75) = 8 to train on; the others are never shuffled.
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert fitted.history[-1]["val_mean"] == 9.0

    one, _ = orders(key=KEY, epochs=2)
    two, _ = orders(key=KEY, epochs=2)
    other, _ = orders(key=jax.random.key(8), epochs=2)
    assert one == two != other
    assert [len(batch) for batch in one] == [4, 4, 3, 4, 4, 3]
    first, second = sum(one[:3], []), sum(one[3:], [])
    assert sorted(first) == sorted(second) == x.tolist()
    assert first != second


def test_predict_fills_up_and_cuts_off():
    sizes = set()

    def forward(params, xs):
        sizes.add(xs["a"].shape)
        return {"y": xs["a"] * params, "z": xs["b"].sum(-1)}

    xs = {"a": np.arange(7.0), "b": np.ones((7, 2))}
    ys = training.predict(forward, 2.0, xs, batch_size=3)
    assert sizes == {(3,)}
    np.testing.assert_array_equal(ys["y"], 2 * xs["a"])
    assert ys["z"].shape == (7,)


def test_a_bar_shows_metrics_and_throughput(run, windows):
    console = rich.console.Console(record=True, width=120, file=open(os.devnull, "w"))
    with console.file:
        run(windows, steps=4, progress=console, units={"values": lambda b: 24})
        shown = console.export_text()
    assert "4/4" in shown
    assert "loss 0." in shown
    assert "values/s" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "steps, epochs: expected one of them, got steps=None and epochs=None"),
        ({"steps": 1, "epochs": 1}, "expected one of them"),
        ({"steps": 0}, "steps: expected a positive integer, got 0"),
        ({"steps": 1, "log_every": -1}, "log_every: expected a positive"),
        ({"steps": 1, "validation_split": 0.1}, "validation_split: .* batch_size"),
        ({"steps": 1, "validate_every": 2}, "validate_every: expected a validation"),
        ({"steps": 1, "validation": []}, "validation: expected a function.*evaluator"),
        ({"steps": 1, "resume": True}, "resume: expected checkpoints"),
        ({"steps": 1, "resume": "maybe"}, "resume: expected True, False or 'auto'"),
        ({"steps": 1, "key": None}, "key: expected a PRNG key, got None"),
        ({"steps": 1, "skip_nonfinite": 0}, "skip_nonfinite: expected a positive"),
    ],
)
def test_arguments_that_do_not_fit(run, windows, options, message):
    with pytest.raises(ValueError, match=message):
        run(windows, **options)


def test_other_wrong_arguments(run, windows, state, tmp_path):
    with pytest.raises(TypeError, match="state: expected a TrainState, got dict"):
        training.fit(loss, OPTIMIZER, {}, windows, key=KEY, steps=1)
    with pytest.raises(TypeError, match="data: expected a sequence.*batch_size"):
        run({"inputs": 1}, steps=1)
    with pytest.raises(FileNotFoundError, match="expected a checkpoint in"):
        checkpoints = training.Checkpoints(tmp_path / "none")
        run(windows, steps=1, checkpoints=checkpoints, resume=True)
    with pytest.raises(ValueError, match=r"metric: .*'score'.* got 'val_loss'"):
        run(
            windows,
            steps=1,
            validation=score,
            early_stopping=training.EarlyStopping("val_loss", 1),
        )


def test_another_key_or_other_data_is_another_run(run, windows, tmp_path):
    checkpoints = training.Checkpoints(tmp_path)
    run(windows, steps=2, checkpoints=checkpoints)
    with pytest.raises(training.CheckpointMismatch) as error:
        run(
            list(windows)[:3],
            steps=4,
            checkpoints=checkpoints,
            resume=True,
            key=jax.random.key(8),
        )
    assert error.value.differences == [
        "key: was [0, 7], is [0, 8]",
        "batches: was 4, is 3",
    ]


def test_a_record_holds_what_json_can(run, windows, tmp_path):
    path = tmp_path / "m.jsonl"
    run(
        windows,
        steps=1,
        logs=[training.MetricsLog(path)],
        validation=lambda params: {"array": jnp.arange(2), "number": np.float32(0.5)},
    )
    *_, last = map(json.loads, path.read_text().splitlines())
    assert (last["array"], last["number"]) == ([0, 1], 0.5)
    with path.open("a") as file:
        file.write('{"step": 2, "lo')  # killed while it wrote
    assert training.read_metrics(path)[-1] == last
