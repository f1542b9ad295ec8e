"""Whole small runs of examples/char_lm: learning, resuming, refusing."""

import dataclasses
import json
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
import rich.console

from examples.char_lm import config as configuration
from examples.char_lm.__main__ import main
from examples.char_lm.compare import CompareConfig, compare
from examples.char_lm.config import PRESETS, Config, parse
from examples.char_lm.model import build_model, make_evaluator
from examples.char_lm.train import (
    build_optimizer,
    initial_state,
    load_text,
    set_aside,
    train,
)
from examples.common.tables import markdown_table
from rnnjax.training import CheckpointMismatch, read_metrics


@pytest.fixture
def text_file(tmp_path):
    words = "the quick brown fox jumps over a lazy dog again and again".split()
    generator = np.random.default_rng(0)
    text = "".join(generator.choice(words) + " " for _ in range(3000))
    path = tmp_path / "words.txt"
    path.write_text(text)
    return path


@pytest.fixture
def smoke(text_file, tmp_path):
    return dataclasses.replace(
        PRESETS["smoke"], data=text_file, output=tmp_path / "out"
    )


def quiet_train(config, logs=()):
    text = load_text(config)
    model = build_model(config, text.vocabulary.size)
    console = rich.console.Console(quiet=True)
    return train(config, text, model, console, logs).state


def read_bits(output, name):
    return [r[name] for r in read_metrics(output / "metrics.jsonl") if name in r]


def test_smoke_run_from_the_command_line(text_file, tmp_path, capsys):
    output = tmp_path / "out"
    main(
        f"--preset smoke --steps 2 --data {text_file} --output {output} "
        "--num-layers 2 --sample-length 5 --prompt the".split()
    )
    shown = capsys.readouterr().out
    for part in ("sha256", "xz -9e", "n-gram, context 2", "this model (lstm)"):
        assert part in shown
    result = json.loads((output / "result.json").read_text())
    assert result["perplexity"] == pytest.approx(2 ** result["test_bits"])
    assert 0 < result["test_bits"] < 8
    steps = [r["step"] for r in read_metrics(output / "metrics.jsonl")]
    assert steps == [1, 2, 2]
    assert (output / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert len((output / "sample.txt").read_text()) == len("the") + 5 + 1


@pytest.mark.parametrize(
    "cell",
    ["lstm", *(pytest.param(c, marks=pytest.mark.slow) for c in ("simple", "gru"))],
)
def test_training_changes_every_parameter_and_lowers_the_loss(smoke, cell):
    config = dataclasses.replace(
        smoke, cell=cell, steps=60, learning_rate=2e-2, evaluate_every=60
    )
    text = load_text(config)
    model = build_model(config, text.vocabulary.size)
    before = initial_state(config, model, build_optimizer(config))
    after = quiet_train(config)
    leaves = map(jax.tree.leaves, (before.params, after.params))
    for old, new in zip(*leaves, strict=True):
        assert not np.array_equal(old, new)
    bits = read_bits(config.output, "bits")
    assert len(bits) == 60
    assert np.mean(bits[-5:]) < bits[0] - 1
    assert read_bits(config.output, "dev_bits")[0] < bits[0] - 1


def test_resume_is_exact_and_only_of_the_same_run(smoke, text_file, tmp_path):
    config = dataclasses.replace(smoke, cell="simple", steps=4, dropout=0.2)
    straight = quiet_train(dataclasses.replace(config, output=tmp_path / "straight"))

    def interrupt(record):
        if record["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quiet_train(config, [interrupt])
    resume = dataclasses.replace(config, resume=True)
    with pytest.raises(CheckpointMismatch, match="hidden_size: was 16, is 17"):
        quiet_train(dataclasses.replace(resume, hidden_size=17))

    resumed = quiet_train(resume)
    assert int(resumed.step) == 4
    for a, b in zip(*map(jax.tree.leaves, (straight, resumed)), strict=True):
        np.testing.assert_array_equal(a, b)
    outputs = (tmp_path / "straight", config.output)
    for name in ("bits", "dev_bits"):
        bits = [read_bits(output, name) for output in outputs]
        assert bits[0] == bits[1]
        assert len(bits[0]) == {"bits": 4, "dev_bits": 2}[name]

    text_file.write_text(text_file.read_text() + "more")
    with pytest.raises(CheckpointMismatch, match="sha256: was"):
        quiet_train(resume)


def test_resume_without_a_checkpoint_says_so(smoke):
    with pytest.raises(FileNotFoundError, match="expected a checkpoint in .* none"):
        quiet_train(dataclasses.replace(smoke, resume=True))


def test_an_earlier_run_is_set_aside(tmp_path):
    output = tmp_path / "runs" / "out"
    for number in range(3):
        set_aside(output)
        assert list(output.iterdir()) == []
        (output / "metrics.jsonl").write_text(str(number))
    for folder, number in (("out.1", "0"), ("out.2", "1"), ("out", "2")):
        kept = output.with_name(folder) / "metrics.jsonl"
        assert kept.read_text() == number


def test_evaluation_does_not_depend_on_lanes_beyond_their_fresh_starts(smoke):
    """Against a plain sum of log-probabilities over one unroll of the whole text."""
    text = load_text(smoke)
    model = build_model(smoke, text.vocabulary.size)
    params = initial_state(smoke, model, build_optimizer(smoke)).params
    symbols = text.test[:20]  # Fewer than lanes: each symbol has a lane of its own.
    first = int(text.vocabulary.encode("\n")[0])
    nats = 0.0
    for before, symbol in zip([first, *symbols[:-1]], symbols, strict=True):
        _, logits = model.step(params, model.initial_carry(params), np.int32(before))
        nats -= float(jax.nn.log_softmax(logits)[symbol])
    evaluate = make_evaluator(model, text.vocabulary)
    expected = nats / np.log(2) / 20
    assert evaluate(params, symbols) == pytest.approx(expected, rel=1e-5)


class TestCommandLine:
    def test_preset_sets_the_defaults_and_options_override_it(self):
        config = parse(["--preset", "full", "--hidden-size", "24"])
        assert config == dataclasses.replace(PRESETS["full"], hidden_size=24)
        assert parse(["--preset=smoke"]) == PRESETS["smoke"]
        assert parse([]) == PRESETS["default"]

    def test_help_describes_every_option(self, capsys):
        with pytest.raises(SystemExit, match="0"):
            parse(["--help"])
        shown = capsys.readouterr().out
        for name in dataclasses.asdict(Config()):
            assert "--" + name.replace("_", "-") in shown

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("--hidden-size", "0"),
            ("--window", "-1"),
            ("--dropout", "1"),
            ("--learning-rate", "0"),
            ("--clip-norm", "0"),
            ("--top-p", "0"),
            ("--temperature", "-1"),
        ],
    )
    def test_bad_values_are_named(self, option, value, capsys):
        with pytest.raises(SystemExit, match="2"):
            main([option, value])
        shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
        assert re.search(f"Expected {option} .*, got {value}", shown)

    def test_bad_data_ends_without_a_traceback(self, tmp_path):
        with pytest.raises(SystemExit, match=r"error: .*nowhere\.txt: no such file"):
            main(["--data", str(tmp_path / "nowhere.txt")])

    def test_missing_extra_names_the_pip_line(self):
        code = (
            "import sys; sys.modules['tyro'] = None\n"
            "from examples.char_lm.__main__ import main; main([])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "needs tyro" in done.stderr
        assert "pip install -e '.[examples]'" in done.stderr
        assert "Traceback" not in done.stderr

    def test_presets_name_themselves(self):
        assert {n: c.preset for n, c in PRESETS.items()} == {n: n for n in PRESETS}
        assert configuration.RESUMABLE <= set(dataclasses.asdict(Config()))


def test_comparison_at_equal_time(text_file, tmp_path):
    settings = CompareConfig(
        cells=("simple",),
        learning_rates=(1e-2, 1e-9),
        seconds=0.5,
        hidden_size=8,
        data=text_file,
        output=tmp_path / "compare",
    )
    rows = compare(settings)["rows"]
    assert [row["cell"] for row in rows] == ["simple"]
    for row in rows:
        assert row["learning_rate"] == 1e-2
        assert row["dev_bits"] == min(row["dev_bits_by_learning_rate"].values())
        assert row["characters"] == row["steps"] * 32 * 64
    stored = json.loads((settings.output / "comparison.json").read_text())
    assert stored["rows"] == rows
    assert "| simple |" in (settings.output / "comparison.md").read_text()


def test_markdown_table():
    table = markdown_table(("a", "long"), [("xyz", 1)])
    assert table == "| a   | long |\n|-----|------|\n| xyz | 1    |"
