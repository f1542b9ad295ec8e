"""One run: texts, training, the lead sentence, greedy and beam search, the table."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from examples.common import distributed
from examples.common.fitting import Trained
from examples.common.neighbours import nearest
from examples.common.results import Row, write_result
from examples.common.tables import markdown_table
from examples.common.writer import Writer
from rnnjax import metrics, plotting

from . import texts
from .config import PRESETS, Config, parse

SAMPLES = 8
KINDS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}


def main(arguments: Sequence[str] | None = None) -> dict:
    """Does everything that ``python -m examples.summarize`` promises."""
    return run(parse(arguments))


def run(config: Config) -> dict:
    """Trains, summarises the held-out texts once, and writes what came of it."""
    console = distributed.start(config)
    data = texts.load(config.data)
    # The lead sentence is of the whole text; the network reads its beginning.
    kept = {
        name: [e for e in getattr(data, name) if _is_short(e, config.longest_summary)]
        for name in ("train", "dev", "test")
    }
    splits = {
        name: texts.pairs(part, config.longest_text, config.longest_summary)
        for name, part in kept.items()
    }
    console.print(
        f"{data.source[0]}\nsha256 {data.sha256}\ntexts: training "
        f"{len(kept['train']):,}, development {len(kept['dev']):,}, held out "
        f"{len(kept['test']):,}"
    )
    references = {n: [e.summary for e in part] for n, part in kept.items()}

    def score(words: Sequence[Sequence[str]], split: str) -> float:
        return rouge([" ".join(w) for w in words], references[split])["rougeL"]["f1"]

    writer = Writer(config, splits, length=config.longest_summary + 1)
    identity = {"data": data.source, "sha256": data.sha256}
    trained = writer.train(score, "dev_rouge_l", identity, console)

    console.print("decoding ...")
    penalty, chosen = writer.choose_penalty(trained.params, score)
    written = {
        "lead sentence": [texts.first_sentence(e.text) for e in kept["test"]],
        "nearest neighbour": _nearest(splits, references["train"]),
    }
    for how, beam in (("greedy", 1), (f"beam {config.beam}", config.beam)):
        words = writer.write(trained.params, "test", beam, penalty)
        written[how] = [" ".join(w) for w in words]
    scores = {name: rouge(got, references["test"]) for name, got in written.items()}
    console.print(f"\n{table(scores)}\n")
    result = _write(config, data, trained, scores, penalty, chosen, len(kept["test"]))
    if distributed.is_first():
        _write_samples(config, kept["test"], written)
        _draw(config, trained)
    console.print(f"Everything is in {config.output}/")
    return result


def _is_short(example: texts.Example, longest: int) -> bool:
    return len(texts.tokenize(example.summary)) <= longest


def _nearest(splits, summaries: Sequence[str]) -> list[str]:
    found = nearest([t for t, _ in splits["train"]], [t for t, _ in splits["test"]])
    return [summaries[place] for place in found]


def rouge(hypotheses: Sequence[str], references: Sequence[str]) -> dict:
    """ROUGE-1, -2 and -L: precision, recall and F1, averaged over texts."""
    metric = metrics.rouge()
    return metric.compute(metric.update(metric.init(), hypotheses, references))


def table(scores: dict[str, dict]) -> str:
    """The network beside the baselines: precision / recall / F1 in percent."""
    parts = ("precision", "recall", "f1")
    rows = [
        (name, *(" / ".join(f"{100 * s[k][p]:.1f}" for p in parts) for k in KINDS))
        for name, s in scores.items()
    ]
    return markdown_table(("held-out texts", *KINDS.values()), rows)


def _write(config, data, trained: Trained, scores, penalty, chosen, held_out) -> dict:
    def f1(name: str) -> str:
        return " / ".join(f"{100 * scores[name][kind]['f1']:.1f}" for kind in KINDS)

    beam = f"beam {config.beam}"
    row = Row(
        task=f"summary lines of {held_out:,} held-out texts",
        measure="F1 of ROUGE-1 / 2 / L",
        result=f1(beam),
        beside=", ".join(f"{name} {f1(name)}" for name in scores if name != beam),
    )
    return write_result(
        config.output,
        example="summarize",
        config=config,
        presets=PRESETS,
        data=[*data.source, f"sha256 {data.sha256}"],
        training_seconds=trained.seconds,
        rows=[row],
        packages=["rouge-score", "scikit-learn"],
        parameters=sum(p.size for p in jax.tree.leaves(trained.params)),
        chosen_step=trained.step,
        length_penalty=penalty,
        dev_rouge_l_by_length_penalty=chosen,
        rouge=scores,
    )


def _write_samples(config: Config, examples: Sequence[texts.Example], written) -> None:
    lines = []
    for place in range(0, len(examples), max(len(examples) // SAMPLES, 1)):
        lines.append(f"text: {examples[place].text}")
        lines.append(f"summary: {examples[place].summary}")
        lines += [f"{name}: {got[place]}" for name, got in written.items()]
        lines.append("")
    (config.output / "samples.txt").write_text("\n".join(lines), encoding="utf-8")


def _draw(config: Config, trained: Trained) -> None:
    plotting.learning_curves(
        trained.history,
        {"dev_rouge_l": "development texts, greedy"},
        y_label="F1 of ROUGE-L",
        title="summarize",
        path=config.output / "learning_curve.png",
    )
