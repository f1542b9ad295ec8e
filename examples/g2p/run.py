"""One run: words, training, greedy and beam search, the table, the pictures."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from examples.common import distributed, translator
from examples.common.buckets import Buckets
from examples.common.fitting import Trained
from examples.common.results import Row, write_result
from examples.common.tables import markdown_table
from examples.common.training import train
from examples.common.vocabulary import Vocabulary
from rnnjax import plotting

from . import dictionary
from .config import PRESETS, Config, parse
from .scores import Scores, score

PUBLISHED = "23.55 % (BLSTM) to 25.8 % (DBLSTM-CTC), older dictionary, other split"
SHOWN = "rhythmically"


class Words:
    """A dictionary as numbers."""

    def __init__(self, words: dictionary.Dictionary):
        self.letters = Vocabulary.of(words.train)
        self.phones = Vocabulary.of(p for v in words.train.values() for p in v)
        self.words = words
        self.train = self._pairs(
            [(w, p) for w, variants in words.train.items() for p in variants]
        )
        self.dev = self._pairs([(w, v[0]) for w, v in words.dev.items()])
        self.test = self._pairs([(w, v[0]) for w, v in words.test.items()])
        self.longest = int(self.train.lengths[:, 1].max()) + 2

    def _pairs(self, entries: Sequence) -> translator.Pairs:
        return translator.Pairs(
            [self.letters.encode(word, end=True) for word, _ in entries],
            [self.phones.encode(phones, end=True) for _, phones in entries],
        )

    def spell(self, decoded: Sequence[translator.Decoded]) -> list[list[str]]:
        """The phones of what was decoded."""
        return [self.phones.decode(d.tokens) for d in decoded]


def main(arguments: Sequence[str] | None = None) -> dict:
    """Does everything that ``python -m examples.g2p`` promises."""
    return run(parse(arguments))


def run(config: Config) -> dict:
    """Trains, decodes the held-out words once, and writes what came of it."""
    console = distributed.start(config)
    words = Words(dictionary.load(config.data))
    source = words.words.source
    console.print(
        f"{source[0]}\nwords: training {len(words.words.train):,}, development "
        f"{len(words.words.dev):,}, held out {len(words.words.test):,}"
    )
    sizes = translator.Sizes(
        words.letters.size,
        words.phones.size,
        config.embedding_size,
        config.hidden_size,
        config.num_layers,
        config.dropout,
    )
    model = translator.build(sizes)
    trained = _train(config, words, model, sizes, console)

    console.print("decoding ...")
    scores = _decode(config, words, model, sizes, trained.params)
    table = markdown_table(
        ("words", "search", "word error", "phoneme error"),
        [
            (split, how, f"{s.word_error:.2%}", f"{s.phoneme_error:.2%}")
            for (split, how), s in scores.items()
        ],
    )
    console.print(f"\n{table}\n")
    result = _write(config, words, trained, scores)
    if distributed.is_first():
        _draw(config, words, model, sizes, trained)
    console.print(f"Everything is in {config.output}/")
    return result


def _train(config: Config, words: Words, model, sizes, console) -> Trained:
    batches = Buckets(
        words.train.lengths, config.batch_size, words.train.collate, seed=config.seed
    )
    loss = translator.make_loss(model)
    # The dictionary is sorted, so the words of a look are spread over all of it.
    every = max(len(words.dev) // config.dev_words, 1)
    few = translator.Pairs(words.dev.sources[::every], words.dev.targets[::every])
    listed = list(words.words.dev.values())[::every]
    greedy = translator.make_decoder(model, sizes, words.longest)

    def validate(params):
        decoded = translator.decode_all(greedy, params, few, 4 * config.batch_size)
        got = score(words.spell(decoded), listed)
        return {
            "dev_word_error": got.word_error,
            "dev_phoneme_error": got.phoneme_error,
        }

    return train(
        config,
        loss,
        translator.init(model, config.seed),
        batches,
        validate=validate,
        watch="dev_word_error",
        units={"words": lambda batch: batch["source"].shape[1]},
        identity={"data": words.words.source},
        console=console,
    )


def _decode(
    config, words: Words, model, sizes, params
) -> dict[tuple[str, str], Scores]:
    searches = {"greedy": 1, f"beam {config.beam}": config.beam}
    splits = {
        "development": (words.dev, words.words.dev),
        "held out": (words.test, words.words.test),
    }
    scores = {}
    for how, beam in searches.items():
        decode = translator.make_decoder(model, sizes, words.longest, beam)
        for split, (pairs, listed) in splits.items():
            decoded = translator.decode_all(
                decode, params, pairs, 4 * config.batch_size
            )
            scores[split, how] = score(words.spell(decoded), list(listed.values()))
    return scores


def _write(config: Config, words: Words, trained: Trained, scores) -> dict:
    beam = scores["held out", f"beam {config.beam}"]
    greedy = scores["held out", "greedy"]
    row = Row(
        task=f"{len(words.test):,} held-out words to phones",
        measure="word error, phoneme error",
        result=f"{beam.word_error:.2%}, {beam.phoneme_error:.2%}",
        beside=f"greedy {greedy.word_error:.2%}, {greedy.phoneme_error:.2%}",
        published="-" if config.data else PUBLISHED,
    )
    return write_result(
        config.output,
        example="g2p",
        config=config,
        presets=PRESETS,
        data=words.words.source,
        training_seconds=trained.seconds,
        rows=[row],
        packages=["jiwer"],
        parameters=sum(p.size for p in jax.tree.leaves(trained.params)),
        chosen_step=trained.step,
        scores={", ".join(names): s._asdict() for names, s in scores.items()},
    )


def _draw(config: Config, words: Words, model, sizes, trained: Trained) -> None:
    plotting.learning_curves(
        trained.history,
        {
            "dev_word_error": "development words, greedy",
            "dev_phoneme_error": "development phones, greedy",
        },
        y_label="error",
        title="g2p",
        path=config.output / "learning_curve.png",
    )
    source = words.letters.encode(SHOWN, end=True)
    decode = translator.make_decoder(model, sizes, words.longest, config.beam)
    (spoken,) = words.spell(
        translator.decode_all(
            decode, trained.params, translator.Pairs([source], [source]), 1
        )
    )
    pair = translator.Pairs([source], [words.phones.encode(spoken, end=True)])
    batch = pair.collate(np.arange(1), (*pair.lengths[0],))
    weights = translator.make_attended(model, sizes)(trained.params, batch)[:, 0]
    plotting.attention_alignment(
        weights,
        [*SHOWN, "end"],
        [*spoken, "end"],
        title="What is read as each phone is written",
        path=config.output / "attention.png",
    )
