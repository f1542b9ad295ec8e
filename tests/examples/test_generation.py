"""examples/generation: a run from a tiny trained model; measures, strategies."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from examples.char_lm.config import PRESETS
from examples.char_lm.model import build_model
from examples.char_lm.train import (
    build_optimizer,
    identity,
    initial_state,
    load_text,
)
from examples.common.errors import InputError
from examples.generation import measures, strategies, trained
from examples.generation.config import Config
from examples.generation.run import main, places
from rnnjax import training


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """What examples.char_lm leaves, of a model that was never trained."""
    folder = tmp_path_factory.mktemp("char_lm")
    words = "the quick brown fox jumps over a lazy dog again and again".split()
    generator = np.random.default_rng(0)
    text = "".join(generator.choice(words) + " " for _ in range(1500))
    (folder / "words.txt").write_text(text)
    config = dataclasses.replace(PRESETS["smoke"], data=folder / "words.txt")
    text = load_text(config)
    model = build_model(config, text.vocabulary.size)
    state = initial_state(config, model, build_optimizer(config))
    place = folder / "run" / "checkpoints"
    with training.Checkpoints(place, config=identity(config, text)) as checkpoints:
        checkpoints.save(state)
    return folder


@pytest.fixture(scope="module")
def loaded(model_folder):
    return trained.load(model_folder / "run", model_folder / "words.txt")


def test_smoke_run(model_folder, tmp_path, capsys):
    output = tmp_path / "out"
    options = f"--model {model_folder}/run --data {model_folder}/words.txt"
    main(f"--preset smoke {options} --output {output}".split())
    shown = capsys.readouterr().out
    result = json.loads((output / "result.json").read_text())
    names = list(result["measured"])
    assert len(names) == 9
    for name in ("held-out text", "greedy", "top-k 10", "top-p 0.9", "beam 2"):
        assert name in names and name in shown
    perplexities = {k: m["perplexity"] for k, m in result["measured"].items()}
    assert all(p > 1 for p in perplexities.values())
    assert perplexities["greedy"] <= perplexities["all"]
    samples = (output / "samples.txt").read_text()
    assert samples.count("=== prompt") == 2 and samples.count("--- greedy") == 2


def test_perplexity_is_of_the_continuations_alone(loaded):
    symbols = loaded.vocabulary.encode(loaded.test[:24]).reshape(3, 8).T
    prompts, continuations = symbols[:3], symbols[3:]
    got = measures.make_perplexity(loaded)(prompts, continuations)
    _, logits = loaded.model.unroll(loaded.params, None, symbols[:-1])
    said = np.asarray(jax.nn.log_softmax(logits))
    rows, columns = np.indices(continuations.shape)
    nats = -said[2:][rows, columns, continuations]
    assert got == pytest.approx(np.exp(nats.mean()), rel=1e-4)


def test_every_strategy_of_the_library_is_there():
    names = strategies.samplings(Config())
    kinds = [name.split()[0] for name in names]
    assert kinds == [
        "greedy",
        "all",
        "temperature",
        "top-k",
        "top-p",
        "min-p",
        "repetition",
    ]
    assert len(set(names.values())) == len(names)


def test_errors(model_folder, loaded, tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoints. Train a model first"):
        trained.load(tmp_path, None)
    other = tmp_path / "other.txt"
    other.write_text("another text altogether " * 500)
    with pytest.raises(InputError, match="expected the text of the SHA-256"):
        trained.load(model_folder / "run", other)
    with pytest.raises(InputError, match="held-out text of at least --prompt-length"):
        places(Config(length=99_999), loaded)
    with pytest.raises(InputError, match=r"--top-p --min-p|--top-p in \(0, 1\]"):
        Config(top_p=0.0)


def test_distinct_and_repeated():
    texts = ["a b a b", "a c"]
    assert measures.distinct(texts, 1) == pytest.approx(3 / 6)
    assert measures.distinct(texts, 2) == pytest.approx(3 / 4)
    assert np.isnan(measures.distinct(["a"], 2))
    assert measures.repeated(["abcabcabc"], 3) == pytest.approx(4 / 7)
    assert measures.repeated(["abcdefgh"], 3) == 0
    assert np.isnan(measures.repeated(["ab"], 3))
