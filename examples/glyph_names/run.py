"""One run from the font to the pictures: train, name, compare, report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from rnnjax import plotting

from ..common import distributed
from ..common.config import parse
from ..common.results import Row, set_aside, write_result
from ..common.tables import markdown_table
from ..common.vocabulary import Vocabulary
from .config import PRESETS, PROG, Config
from .data import Glyph, load
from .naming import Name, name_all, nearest_names, score
from .train import lengths, train

SHOWN = (4, 6)


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, names, compares and draws; see ``--help``."""
    run(parse(PRESETS, "quick", PROG, arguments))


def run(config: Config) -> dict:
    """Does everything that ``python -m examples.glyph_names`` promises.

    Args:
        config: the settings.

    Returns:
        What is also written to ``result.json``.
    """
    console = distributed.start(config)
    splits, sources = load(config)
    known = [glyph.name for glyph in splits["training"]]
    vocabulary = Vocabulary.of(known)
    counts = ", ".join(f"{name} {len(glyphs)}" for name, glyphs in splits.items())
    console.print(*sources, f"glyphs: {counts}; words: {vocabulary.size}", sep="\n")
    if not config.resume:
        set_aside(config.output)
    namer, trained = train(config, splits, vocabulary, sources, console)

    test = splits["test"]
    longest = int(lengths(splits["training"]).max())
    names = {
        "nearest picture": nearest_names(splits["training"], test),
        "greedy": name_all(namer, trained.params, vocabulary, test, longest, 1),
        "beam": name_all(namer, trained.params, vocabulary, test, longest, config.beam),
    }
    scores = {way: score(said, test) for way, said in names.items()}
    words = set(vocabulary.tokens)
    reachable = float(np.mean([words.issuperset(glyph.name) for glyph in test]))
    console.print(f"\n{table(scores)}\n")
    console.print(f"{reachable:.1%} of the names consist of words seen in training")
    result = write_result(
        config.output,
        example="glyph_names",
        config=config,
        presets=PRESETS,
        data=sources,
        training_seconds=trained.seconds,
        rows=rows(config, scores, len(test)),
        packages=("matplotlib", "sacrebleu"),
        glyphs={name: len(glyphs) for name, glyphs in splits.items()},
        names_of_known_words=reachable,
        test=scores,
    )
    if distributed.is_first():
        draw(config, trained.history, test, names["beam"])
    console.print(f"Everything is in {config.output}/")
    return result


def table(scores: dict[str, dict[str, float]]) -> str:
    """The scores on the test glyphs."""
    return markdown_table(
        ("test glyphs", "whole name right", "first word right", "BLEU"),
        [
            (way, f"{s['exact']:.1%}", f"{s['first_word']:.1%}", f"{s['bleu']:.1f}")
            for way, s in scores.items()
        ],
    )


def rows(config: Config, scores: dict, glyphs: int) -> list[Row]:
    """The rows of the table of all examples."""
    font = config.font.name if config.font else "DejaVu Sans"
    near, greedy, beam = (scores[w] for w in ("nearest picture", "greedy", "beam"))
    task = f"{font}, {glyphs} glyphs held out by code point"
    return [
        Row(
            task=task,
            measure="whole name right",
            result=f"{beam['exact']:.1%}",
            beside=f"greedy {greedy['exact']:.1%}; nearest picture {near['exact']:.1%}",
        ),
        Row(
            task=task,
            measure="BLEU",
            result=f"{beam['bleu']:.1f}",
            beside=f"greedy {greedy['bleu']:.1f}; nearest picture {near['bleu']:.1f}",
        ),
    ]


def draw(config: Config, history, test: list[Glyph], names: list[Name]) -> None:
    """Draws the training, and some glyphs with what they were called."""
    plotting.learning_curves(
        history,
        {"bits": "training", "val_bits": "development"},
        x="epoch",
        y_label="bits for a word",
        path=config.output / "learning_curves.png",
    )
    rows, columns = SHOWN
    figure = Figure(figsize=(2.3 * columns, 1.9 * rows), dpi=110, layout="constrained")
    chosen = np.random.default_rng(0).permutation(len(test))[: rows * columns]
    for axes in figure.subplots(rows, columns).ravel():
        axes.axis("off")
    for axes, place in zip(figure.axes, chosen, strict=False):
        glyph, said = test[place], names[place]
        right = said == glyph.name
        axes.imshow(1 - glyph.image, cmap="gray", vmin=0, vmax=1)
        text = (
            _wrapped(said) if right else f"{_wrapped(said)}\n({_wrapped(glyph.name)})"
        )
        axes.set_title(text, fontsize=6.5, color="darkgreen" if right else "firebrick")
    figure.savefig(config.output / "names.png")


def _wrapped(name: Name, width: int = 26) -> str:
    """A name in lines that are not too long."""
    lines = [""]
    for word in name:
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
