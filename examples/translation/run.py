"""One run: pairs, training, baselines, greedy and beam search, table, pictures."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from examples.common import distributed
from examples.common.fitting import Trained
from examples.common.neighbours import nearest
from examples.common.results import Row, write_result
from examples.common.tables import markdown_table
from examples.common.writer import Writer
from rnnjax import metrics, plotting

from . import verses
from .config import PRESETS, Config, parse

SAMPLES = 8


def main(arguments: Sequence[str] | None = None) -> dict:
    """Does everything that ``python -m examples.translation`` promises."""
    return run(parse(arguments))


def run(config: Config) -> dict:
    """Trains, translates the held-out pairs once, and writes what came of it."""
    console = distributed.start(config)
    data = verses.load(config.longest, config.source, config.target)
    console.print(
        "\n".join(data.source) + f"\npairs: training {len(data.train):,}, development "
        f"{len(data.dev):,}, held out {len(data.test):,}; {data.split}"
    )
    splits = {"train": data.train, "dev": data.dev, "test": data.test}
    references = {
        name: [verses.detokenize(target) for _, target in pairs]
        for name, pairs in splits.items()
    }

    def score(words: Sequence[Sequence[str]], split: str) -> float:
        return bleu([verses.detokenize(w) for w in words], references[split])

    writer = Writer(config, splits, length=config.longest + 5)
    trained = writer.train(score, "dev_bleu", {"data": data.source}, console)

    console.print("decoding ...")
    penalty, chosen = writer.choose_penalty(trained.params, score)
    hypotheses = _baselines(data) | {
        how: writer.write(trained.params, "test", beam, penalty)
        for how, beam in (("greedy", 1), (f"beam {config.beam}", config.beam))
    }
    scores = {name: score(words, "test") for name, words in hypotheses.items()}
    rows = [(name, f"{value:.2f}") for name, value in scores.items()]
    console.print(f"\n{markdown_table(('held-out pairs', 'BLEU'), rows)}\n")
    result = _write(config, data, trained, scores, penalty, chosen)
    if distributed.is_first():
        _write_samples(config, data, hypotheses)
        _draw(config, data, writer, trained)
    console.print(f"Everything is in {config.output}/")
    return result


def _baselines(data: verses.Verses) -> dict[str, list[Sequence[str]]]:
    """The source itself, and the translation of the most similar training source."""
    found = nearest([s for s, _ in data.train], [s for s, _ in data.test])
    return {
        "copy of the source": [source for source, _ in data.test],
        "nearest neighbour": [data.train[place][1] for place in found],
    }


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU by sacrebleu (13a), of texts in lower case."""
    metric = metrics.bleu(lowercase=True)
    return metric.compute(metric.update(metric.init(), hypotheses, references))


def _write(config: Config, data, trained: Trained, scores, penalty, chosen) -> dict:
    beam = f"beam {config.beam}"
    what = "pairs" if config.source else "verses, English to Spanish"
    row = Row(
        task=f"{len(data.test):,} held-out {what}",
        measure="BLEU (sacrebleu, lower case)",
        result=f"{scores[beam]:.2f}",
        beside=", ".join(f"{n} {s:.2f}" for n, s in scores.items() if n != beam),
    )
    return write_result(
        config.output,
        example="translation",
        config=config,
        presets=PRESETS,
        data=data.source,
        training_seconds=trained.seconds,
        rows=[row],
        packages=["sacrebleu", "scikit-learn"],
        parameters=sum(p.size for p in jax.tree.leaves(trained.params)),
        split=data.split,
        chosen_step=trained.step,
        length_penalty=penalty,
        dev_bleu_by_length_penalty=chosen,
        bleu=scores,
    )


def _write_samples(config: Config, data: verses.Verses, hypotheses: dict) -> None:
    lines = []
    for place in range(0, len(data.test), max(len(data.test) // SAMPLES, 1)):
        source, target = data.test[place]
        shown = {"source": source, "reference": target}
        shown |= {name: words[place] for name, words in hypotheses.items()}
        lines += [f"{n}: {verses.detokenize(words)}" for n, words in shown.items()]
        lines.append("")
    (config.output / "samples.txt").write_text("\n".join(lines), encoding="utf-8")


def _draw(config: Config, data, writer: Writer, trained: Trained) -> None:
    plotting.learning_curves(
        trained.history,
        {"dev_bleu": "development pairs, greedy"},
        y_label="BLEU",
        title="translation",
        path=config.output / "learning_curve.png",
    )
    lengths = writer.pairs["dev"].lengths.sum(1)
    shown = int(np.argsort(lengths)[len(lengths) // 3])
    source, said = data.dev[shown][0], writer.write(trained.params, "dev")[shown]
    plotting.attention_alignment(
        writer.attention_of(trained.params, source, said),
        [*source, "end"],
        [*said, "end"],
        title="What is read as each word is written",
        path=config.output / "attention.png",
    )
