"""One run: pairs, training, baselines, greedy and beam search, table, pictures."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
import rich.console

from examples.common import translator
from examples.common.buckets import Buckets, in_order
from examples.common.neighbours import nearest
from examples.common.results import Row, write_result
from examples.common.tables import markdown_table
from examples.common.training import Trained, train
from examples.common.vocabulary import Vocabulary
from rnnjax import metrics, plotting
from rnnjax.seq2seq import schedules

from . import verses
from .config import PRESETS, Config, parse

SAMPLES = 8


class Languages:
    """Pairs as numbers, and texts of numbers."""

    def __init__(self, data: verses.Verses, config: Config):
        self.data = data
        self.source, self.target = (
            Vocabulary.of((pair[side] for pair in data.train), most=config.vocabulary)
            for side in (0, 1)
        )
        self.train, self.dev, self.test = map(
            self._pairs, (data.train, data.dev, data.test)
        )
        self.longest = config.longest + 5

    def _pairs(self, given: Sequence[verses.Pair]) -> translator.Pairs:
        return translator.Pairs(
            [self.source.encode(source, end=True) for source, _ in given],
            [self.target.encode(target, end=True) for _, target in given],
        )

    def write(self, tokens: Sequence[np.ndarray]) -> list[str]:
        """The texts of decoded tokens; words without a number are left out."""
        return [
            verses.detokenize([w for w in self.target.decode(t, unknown="") if w])
            for t in tokens
        ]


def main(arguments: Sequence[str] | None = None) -> dict:
    """Does everything that ``python -m examples.translation`` promises."""
    return run(parse(arguments))


def run(config: Config) -> dict:
    """Trains, translates the held-out pairs once, and writes what came of it."""
    console = rich.console.Console(highlight=False, soft_wrap=True)
    data = verses.load(config.longest, config.source, config.target)
    console.print(
        "\n".join(data.source) + f"\npairs: training {len(data.train):,}, development "
        f"{len(data.dev):,}, held out {len(data.test):,}; {data.split}"
    )
    languages = Languages(data, config)
    sizes = translator.Sizes(
        languages.source.size,
        languages.target.size,
        config.embedding_size,
        config.hidden_size,
        config.num_layers,
        config.dropout,
    )
    model = translator.build(sizes)
    trained = _train(config, languages, model, console)

    console.print("decoding ...")
    penalty, chosen = _choose_penalty(config, languages, model, trained.params)
    hypotheses = _baselines(data) | {
        how: languages.write(
            translator.decode_all(
                translator.make_decoder(model, languages.longest, beam, penalty),
                trained.params,
                languages.test,
                config.batch_size,
            )
        )
        for how, beam in (("greedy", 1), (f"beam {config.beam}", config.beam))
    }
    references = [verses.detokenize(target) for _, target in data.test]
    scores = {name: bleu(texts, references) for name, texts in hypotheses.items()}
    rows = [(name, f"{score:.2f}") for name, score in scores.items()]
    console.print(f"\n{markdown_table(('held-out pairs', 'BLEU'), rows)}\n")
    result = _write(config, data, trained, scores, penalty, chosen)
    _write_samples(config, data, hypotheses, references)
    _draw(config, languages, model, sizes, trained)
    console.print(f"Everything is in {config.output}/")
    return result


class _Numbered:
    """Batches of an epoch with the number of their step, for scheduled sampling."""

    def __init__(self, batches, first: int):
        self.batches, self.first = batches, first

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, place: int) -> dict:
        return self.batches[place] | {"step": np.int32(self.first + place)}


def _train(config: Config, languages: Languages, model, console) -> Trained:
    buckets = Buckets(
        languages.train.lengths,
        config.batch_size,
        languages.train.collate,
        seed=config.seed,
    )
    truth = schedules.linear(config.steps, end=config.least_truth)
    loss = translator.make_loss(model, truth=truth)
    greedy = translator.make_decoder(model, languages.longest)
    references = [verses.detokenize(target) for _, target in languages.data.dev]

    def validate(params):
        tokens = translator.decode_all(greedy, params, languages.dev, config.batch_size)
        return {"dev_bleu": bleu(languages.write(tokens), references)}

    return train(
        config,
        loss,
        translator.init(model, config.seed),
        lambda epoch: _Numbered(buckets(epoch), epoch * len(buckets)),
        validate=validate,
        watch="dev_bleu",
        mode="max",
        units={"words": lambda batch: int(batch["target_lengths"].sum())},
        identity={"data": languages.data.source},
        console=console,
    )


def _choose_penalty(config, languages: Languages, model, params) -> tuple[float, dict]:
    """The length penalty of the best BLEU on development pairs, and all of them."""
    references = [verses.detokenize(target) for _, target in languages.data.dev]
    chosen = {}
    for penalty in config.length_penalties:
        decode = translator.make_decoder(model, languages.longest, config.beam, penalty)
        tokens = translator.decode_all(decode, params, languages.dev, config.batch_size)
        chosen[penalty] = bleu(languages.write(tokens), references)
    return max(chosen, key=lambda penalty: chosen[penalty]), chosen


def _baselines(data: verses.Verses) -> dict[str, list[str]]:
    """The source itself, and the translation of the most similar training source."""
    found = nearest([s for s, _ in data.train], [s for s, _ in data.test])
    return {
        "copy of the source": [verses.detokenize(source) for source, _ in data.test],
        "nearest neighbour": [verses.detokenize(data.train[n][1]) for n in found],
    }


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU by sacrebleu (13a), of texts in lower case."""
    metric = metrics.bleu(lowercase=True)
    return metric.compute(metric.update(metric.init(), hypotheses, references))


def _write(config: Config, data, trained: Trained, scores, penalty, chosen) -> dict:
    beam = f"beam {config.beam}"
    row = Row(
        task=f"{len(data.test):,} held-out {_what(config)}",
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


def _what(config: Config) -> str:
    return "verses, English to Spanish" if config.source is None else "pairs"


def _write_samples(config: Config, data, hypotheses, references) -> None:
    lines = []
    for place in range(0, len(references), max(len(references) // SAMPLES, 1)):
        lines.append(f"source: {verses.detokenize(data.test[place][0])}")
        lines.append(f"reference: {references[place]}")
        lines += [f"{name}: {texts[place]}" for name, texts in hypotheses.items()]
        lines.append("")
    (config.output / "samples.txt").write_text("\n".join(lines), encoding="utf-8")


def _draw(config: Config, languages: Languages, model, sizes, trained: Trained) -> None:
    plotting.learning_curves(
        trained.history,
        {"dev_bleu": "development pairs, greedy"},
        y_label="BLEU",
        title="translation",
        path=config.output / "learning_curve.png",
    )
    lengths = languages.dev.lengths.sum(1)
    shown = int(np.argsort(lengths)[len(lengths) // 3])
    pair = translator.Pairs(
        [languages.dev.sources[shown]], [languages.dev.targets[shown]]
    )
    ((_, batch),) = in_order(pair.lengths, 1, pair.collate)
    decode = translator.make_decoder(model, languages.longest)
    said = languages.target.decode(np.asarray(decode(trained.params, batch))[:, 0])
    weights = translator.attention_of(
        model,
        sizes,
        trained.params,
        pair.sources[0],
        languages.target.encode(said, end=True),
    )
    plotting.attention_alignment(
        weights,
        [*languages.data.dev[shown][0], "end"],
        [*said, "end"],
        title="What is read as each word is written",
        path=config.output / "attention.png",
    )
