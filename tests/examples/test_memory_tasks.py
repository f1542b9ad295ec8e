"""Whole small runs of examples/memory_tasks: training, choosing, going on."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from examples.memory_tasks import report, run, train
from examples.memory_tasks.budgets import SMOKE, settings_for
from examples.memory_tasks.config import CELLS, PRESETS, TASKS, Config
from examples.memory_tasks.model import build_model, build_optimizer
from examples.memory_tasks.published import PUBLISHED
from examples.memory_tasks.tasks import make_task

SMALL = PRESETS["smoke"]


def test_smoke_run_and_going_on(tmp_path, capsys):
    output = tmp_path / "out"
    arguments = f"--preset smoke --output {output}".split()
    run.main(arguments)
    shown = capsys.readouterr().out
    for part in ("copy_memory", "(solved)", "modular_arithmetic", "chance"):
        assert part in shown
    whole = json.loads((output / "result.json").read_text())
    assert [row["measure"] for row in whole["rows"]] == [
        "nats a step",
        "accuracy, %",
    ]
    for task in SMALL.tasks:
        result = json.loads((output / task / "lru" / "result.json").read_text())
        assert result["steps"] == 2 and len(result["candidates"][0]["curve"]) == 2
        assert math.isfinite(result["test"])
        assert (output / f"{task}.png").read_bytes().startswith(b"\x89PNG")
    assert list(result["test_by_length"]) == ["7"]  # Odd lengths of 6 to 8.
    assert "learning rates tried" in (output / "table.md").read_text()

    # What is there is left alone; what is missing is made again, exactly.
    gone = output / "copy_memory" / "lru" / "result.json"
    before = json.loads(gone.read_text())
    gone.unlink()
    run.main([*arguments, "--no-train"])
    shown = capsys.readouterr().out
    assert "modular_arithmetic" in shown and "copy_memory" not in shown
    with pytest.raises(ValueError, match="--no-train: expected results in"):
        run.main(["--no-train", "--output", str(tmp_path / "nowhere")])
    run.main(arguments)
    assert capsys.readouterr().out.count("done before") == 1
    after = json.loads(gone.read_text())
    assert after["test"] == before["test"]
    with pytest.raises(ValueError, match="steps was 2, is 3"):
        run.main([*arguments, "--steps", "3"])
    with pytest.raises(ValueError, match="copy_delay was 5, is 6"):
        run.main([*arguments, "--copy-delay", "6"])


def test_a_packed_row_trains_on_what_its_strings_would_alone():
    """The loss of a row of two strings is the mean of theirs, each from fresh."""
    task = make_task("cycle_navigation", SMALL)
    settings = dataclasses.replace(SMOKE, hidden_size=3)
    model = build_model(task, "simple", settings)
    batch = task.train_batch(0, 6)
    params = model.init(jax.random.key(0), batch["inputs"][0])
    value, _ = task.loss(model)(params, None, batch, None)
    nats = []
    for row in range(6):
        carry = None
        for t in range(len(batch["inputs"])):
            carry = None if batch["resets"][t, row] else carry
            carry, logits = model.step(params, carry, batch["inputs"][t, row])
            if batch["scored"][t, row]:
                nats.append(-jax.nn.log_softmax(logits)[batch["targets"][t, row]])
    assert float(value) == pytest.approx(float(np.mean(nats)), rel=1e-5)


def candidate(rate, loss, enough=False):
    return train.Candidate(rate, {}, {"loss": loss}, enough, 1, 1.0, [])


@pytest.mark.parametrize(
    ("trained", "chosen", "tried"),
    [
        ([(0.1, 0.5, False), (0.2, 0.3, False)], 0.2, 2),
        ([(0.1, 0.3, False), (0.2, math.inf, False)], 0.1, 2),
        ([(0.1, 0.5, True), (0.2, 0.3, False)], 0.1, 1),
    ],
)
def test_choice_is_by_development_loss_and_ends_at_good_enough(
    trained, chosen, tried, monkeypatch
):
    left = [candidate(*of) for of in trained]
    monkeypatch.setattr(train._Run, "__init__", lambda *_: None)
    monkeypatch.setattr(train._Run, "train", lambda _: left.pop(0))
    monkeypatch.setattr(train, "_scorer", lambda _: lambda *_: {"loss": 1.0})
    rates = tuple(of[0] for of in trained)
    settings = dataclasses.replace(SMOKE, learning_rates=rates)
    task = make_task("copy_memory", SMALL)
    result = train.study(task, "lru", settings, SMALL, print)
    assert result["learning_rate"] == chosen
    assert len(result["candidates"]) == tried
    assert result["test"] == 1.0 and not result["solved"]


def test_data_of_the_splits_differ_and_can_be_made_again():
    for name in TASKS:
        task = make_task(name, SMALL)
        batches = [
            task.train_batch(0, 8),
            task.train_batch(1, 8),
            task.development()[0],
            *task.test().values(),
        ]
        texts = [b["inputs"].tobytes() for b in batches]
        assert len(set(texts)) == len(texts)
        assert task.train_batch(1, 8)["inputs"].tobytes() == texts[1]
        assert task.development()[0]["inputs"].tobytes() == texts[2]


def test_curriculum_begins_with_short_strings():
    task = make_task("parity_check", SMALL)
    assert task.train_batch(0, 4, 3)["inputs"].shape == (3, 4)
    assert task.train_batch(0, 4)["inputs"].shape == (SMALL.train_length, 4)


def test_the_ring_of_an_lru_learns_at_its_own_rate():
    """The first step of Adam is the learning rate, whatever the gradient."""
    settings = dataclasses.replace(SMOKE, ring_rate=0.25, warmup_steps=0)
    one = np.ones(1, np.float32)
    params = {
        "input": {"kernel": one, "gamma": one},
        "recurrent": {"nu": one, "theta": one},
    }
    optimizer = build_optimizer(settings, 0.1)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    for name, rate in (("nu", 0.025), ("theta", 0.025)):
        np.testing.assert_allclose(updates["recurrent"][name], -rate, rtol=1e-3)
    for update in updates["input"].values():
        np.testing.assert_allclose(update, -0.1, rtol=1e-3)


def test_a_run_that_diverges_ends_and_is_not_chosen():
    """A learning rate that no step survives gives an infinite loss, not a NaN."""
    task = make_task("adding", SMALL)
    settings = dataclasses.replace(SMOKE, steps=3, curriculum=())
    broken = task._replace(
        train_batch=lambda k, n: {
            "inputs": np.full((6, n, 2), np.nan, np.float32),
            "targets": np.zeros((n, 1), np.float32),
        }
    )
    model = build_model(broken, "lru", settings)
    loss = broken.loss(model)
    score = train._scorer(loss)
    broken_run = train._Run(broken, model, loss, score, settings, 1e-2, SMALL, print)
    found = broken_run.train()
    assert found.development["loss"] == math.inf
    assert found.steps == 1 and not found.enough


@pytest.mark.parametrize("preset", ["quick", "full"])
def test_every_cell_and_task_has_settings_that_hold_together(preset):
    config = PRESETS[preset]
    for task in TASKS:
        assert set(PUBLISHED[task]) <= set(CELLS)
        for cell in CELLS:
            settings = settings_for(task, cell, config)
            assert settings.warmup_steps < settings.steps
            assert all(n < config.train_length for n in settings.curriculum)
            given = dataclasses.replace(config, steps=7, learning_rates=(1.0,))
            assert settings_for(task, cell, given).steps == 7
            assert settings_for(task, cell, given).learning_rates == (1.0,)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"copy_delay": 0}, "--copy-delay at least 1, got 0"),
        ({"steps": 0}, "--steps None or at least 1, got 0"),
        ({"adding_length": 1}, "--adding-length at least 2, got 1"),
        ({"test_length": 21}, "--test-length at least 22, got 21"),
        ({"cells": ()}, "--cells at least one"),
        ({"learning_rates": (0.0,)}, "--learning-rates None or one"),
    ],
)
def test_bad_settings_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        Config(**changed)


def test_numbers_are_shown_as_published_ones_are():
    shown = [
        report.number("copy_memory", 0.02038),
        report.number("adding", 0.1767),
        report.number("adding", 5.31e-5),
        report.number("parity_check", 1.0),
    ]
    assert shown == [".0204", ".1767", "5.3e-5", "100.0"]
