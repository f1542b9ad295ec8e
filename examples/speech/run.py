"""One run from the recordings to the picture: train, recognise, compare, report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnnjax import plotting

from ..common import distributed
from ..common.config import parse
from ..common.results import Row, set_aside, write_result
from ..common.tables import markdown_table
from . import features, recognise
from .config import PRESETS, PROG, Config
from .data import Example, load
from .train import train


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, recognises, compares and draws; see ``--help``."""
    run(parse(PRESETS, "quick", PROG, arguments))


def run(config: Config) -> dict:
    """Does everything that ``python -m examples.speech`` promises.

    Args:
        config: the settings.

    Returns:
        What is also written to ``result.json``.
    """
    console = distributed.start(config)
    splits, sources = load(config)
    console.print(*sources, *map(describe, splits.items()), sep="\n")
    if not config.resume:
        set_aside(config.output)
    model, trained = train(config, splits, sources, console)

    console.print("choosing the weight of the language model ...")
    frames = {
        name: recognise.log_probabilities(config, model, trained.params, splits[name])
        for name in ("development", "test")
    }
    spoken = [example.utterance.text for example in splits["training"]]
    ngrams = recognise.language_model(config, spoken)
    chosen, tried = recognise.choose(
        config, frames["development"], splits["development"], ngrams
    )
    test = splits["test"]
    texts = {
        "greedy": recognise.greedy(frames["test"]),
        "beam": recognise.beam(frames["test"], config.beam),
        "beam with n-grams": recognise.beam(
            frames["test"], config.beam, ngrams, **chosen
        ),
    }
    rates = {name: recognise.error_rates(said, test) for name, said in texts.items()}
    new = [e for e in test if set(e.utterance.text.split()) - words(spoken)]
    console.print(f"\n{table(rates)}\n")
    result = write_result(
        config.output,
        example="speech",
        config=config,
        presets=PRESETS,
        data=sources,
        training_seconds=trained.seconds,
        rows=rows(rates, splits),
        packages=("soundfile", "jiwer"),
        recordings={name: len(members) for name, members in splits.items()},
        minutes={name: round(minutes(m), 1) for name, m in splits.items()},
        test_recordings_with_new_words=len(new),
        language_model={**chosen, "order": config.order, "tried": tried},
        test=rates,
    )
    if distributed.is_first():
        write_transcripts(config, test, texts)
        draw(config, trained.history, test, frames["test"], texts)
    console.print(f"Everything is in {config.output}/")
    return result


def minutes(examples: list[Example]) -> float:
    """How long the recordings are, in all."""
    return sum(example.utterance.seconds for example in examples) / 60


def words(texts: Sequence[str]) -> set[str]:
    """The words of some transcripts."""
    return {word for text in texts for word in text.split()}


def describe(split: tuple[str, list[Example]]) -> str:
    """A line on a split."""
    name, examples = split
    return f"{name}: {len(examples)} recordings, {minutes(examples):.1f} minutes"


def table(rates: dict[str, dict[str, float]]) -> str:
    """The error rates on the test recordings."""
    return markdown_table(
        ("test recordings", "characters wrong", "words wrong"),
        [(name, f"{r['cer']:.1%}", f"{r['wer']:.1%}") for name, r in rates.items()],
    )


def rows(rates: dict[str, dict[str, float]], splits: dict) -> list[Row]:
    """The rows of the table of all examples."""
    task = (
        f"one speaker, {minutes(splits['training']):.0f} min to learn from, "
        f"{len(splits['test'])} recordings held out"
    )
    return [
        Row(
            task=task,
            measure=f"{name} error rate",
            result=f"{rates['beam with n-grams'][rate]:.1%} (beam with n-grams)",
            beside="; ".join(f"{n} {rates[n][rate]:.1%}" for n in ("beam", "greedy")),
        )
        for name, rate in (("character", "cer"), ("word", "wer"))
    ]


def write_transcripts(
    config: Config, test: list[Example], texts: dict[str, list[str]]
) -> None:
    """Writes what was said and what was understood, recording by recording."""
    lines = []
    for i, example in enumerate(test):
        lines.append(f"{example.utterance.name}: {example.utterance.text}")
        lines += [f"  {name}: {said[i]}" for name, said in texts.items()]
    path = config.output / "transcripts.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw(config: Config, history, test, frames, texts) -> None:
    """Draws the training, and a recording of about four seconds."""
    plotting.learning_curves(
        history,
        {"loss": "training", "val_loss": "development"},
        x="epoch",
        y_label="nats for a recording",
        title=f"CTC, {config.num_layers} x {config.hidden_size} LSTM units each way",
        path=config.output / "learning_curves.png",
    )
    place = int(np.argmin([abs(e.utterance.seconds - 4) for e in test]))
    utterance = test[place].utterance
    understood = texts["beam with n-grams"][place]
    plotting.spectrogram(
        test[place].spectrogram,
        frame_seconds=features.HOP_SECONDS,
        frequencies=features.centres(config.mel_channels, utterance.rate),
        transcript=f"said: {utterance.text}\nunderstood: {understood}",
        labels=[
            (frame, character)
            for frame, character in recognise.spikes(frames[place], config.stacked)
            if frame < len(test[place].spectrogram)
        ],
        path=config.output / "spectrogram.png",
    )
