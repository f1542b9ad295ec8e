"""The model that examples.char_lm left in its output folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import rnnjax
from rnnjax import training

from ..char_lm.config import PRESETS
from ..char_lm.corpus import load_corpus
from ..char_lm.model import build_model
from ..char_lm.train import build_optimizer, initial_state
from ..char_lm.vocabulary import Vocabulary
from ..common.errors import InputError


class Trained(NamedTuple):
    """A trained model and the text that it has not seen.

    Attributes:
        model: symbols to logits.
        params: its parameters.
        vocabulary: characters of the symbols.
        test: the held-out text.
        source: a line on the model and the text.
    """

    model: rnnjax.RNN
    params: dict
    vocabulary: Vocabulary
    test: str
    source: str


def load(folder: Path, data: Path | None) -> Trained:
    """Restores the newest checkpoint.

    Args:
        folder: the output folder of examples.char_lm.
        data: what its option ``--data`` was.

    Raises:
        FileNotFoundError: there is no checkpoint.
        InputError: the text is not the one that the model was trained on.
    """
    place = folder / "checkpoints"
    if not place.is_dir():
        raise FileNotFoundError(
            f"{place}: no checkpoints. Train a model first: "
            f"python -m examples.char_lm --output {folder}"
        )
    settings = training.Checkpoints(place).config_of()
    vocabulary = Vocabulary(settings["characters"])
    corpus = load_corpus(data)
    if corpus.sha256 != settings["sha256"]:
        raise InputError(
            f"{folder}: expected the text of the SHA-256 {settings['sha256']}, which "
            f"the model was trained on, got {corpus.sha256}. Give --data as "
            f"examples.char_lm had it, or train again with these versions."
        )
    fields = {field.name for field in dataclasses.fields(PRESETS["default"])}
    known = {name: value for name, value in settings.items() if name in fields}
    config = dataclasses.replace(PRESETS["default"], **known)
    model = build_model(config, vocabulary.size)
    like = initial_state(config, model, build_optimizer(config))
    restored = training.Checkpoints(place, config=settings).restore(like)
    source = (
        f"examples.char_lm, {config.num_layers} x {config.hidden_size} {config.cell}, "
        f"step {restored.step}; text: {corpus.source}, sha256 {corpus.sha256}"
    )
    return Trained(model, restored.state.params, vocabulary, corpus.test, source)
