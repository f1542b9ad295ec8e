"""A translator of words to words: its vocabularies, its training, what it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnjax.seq2seq import schedules

from . import translator
from .buckets import Buckets
from .config import check, check_positive
from .fitting import Trained
from .training import TrainingConfig, train
from .vocabulary import Vocabulary


@dataclass(frozen=True)
class WriterConfig(TrainingConfig):
    """What every writer can be told about itself."""

    learning_rate: float = 4e-3
    """Peak of the cosine schedule."""

    hidden_size: int = 128
    """Size of the hidden state of the decoder, and of the encoder's two directions."""

    embedding_size: int = 64
    """Size of the embeddings of words."""

    num_layers: int = 1
    """Recurrent layers of the encoder."""

    dropout: float = 0.2
    """Probability of dropping a feature of embeddings and outputs."""

    vocabulary: int = 2_000
    """Words of each side that have a number of their own, the most frequent."""

    least_truth: float = 0.8
    """Scheduled sampling: the decoder is given the true word before with a probability
    that falls linearly from 1 to this one."""

    beam: int = 5
    """Hypotheses of the beam search."""

    length_penalties: tuple[float, ...] = (0.0, 0.8)
    """Of the beam search; the one that counts is chosen on development pairs."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        super().__post_init__()
        check_positive(self, "vocabulary")
        check(self, "least_truth", "in [0, 1]", lambda value: 0 <= value <= 1)
        check(
            self,
            "length_penalties",
            "at least one, none below 0",
            lambda values: bool(values) and min(values) >= 0,
        )


Pair = tuple[Sequence[str], Sequence[str]]
"""The words of a source and of its target."""

Score = Callable[[Sequence[Sequence[str]], str], float]
"""``(words written, split) -> score``, the higher the better."""


class Writer:
    """Writes target words for source words.

    Args:
        config: the settings.
        splits: pairs by the name of the split, "train", "dev" and "test".
        length: of what is written, at most.
    """

    def __init__(
        self, config: WriterConfig, splits: Mapping[str, Sequence[Pair]], length: int
    ):
        self.config, self.splits, self.length = config, splits, length
        self.source, self.target = (
            Vocabulary.of((p[side] for p in splits["train"]), most=config.vocabulary)
            for side in (0, 1)
        )
        self.pairs = {
            name: translator.Pairs(
                [self.source.encode(source, end=True) for source, _ in pairs],
                [self.target.encode(target, end=True) for _, target in pairs],
            )
            for name, pairs in splits.items()
        }
        self.sizes = translator.Sizes(
            self.source.size,
            self.target.size,
            config.embedding_size,
            config.hidden_size,
            config.num_layers,
            config.dropout,
        )
        self.model = translator.build(self.sizes)
        self._decoders: dict[tuple[int, float], Callable] = {}

    def train(
        self, score: Score, watch: str, identity: Mapping[str, Any], console: Any
    ) -> Trained:
        """Trains with scheduled sampling; ``score`` on "dev" chooses the parameters."""
        config, pairs = self.config, self.pairs["train"]
        buckets = Buckets(
            pairs.lengths, config.batch_size, pairs.collate, seed=config.seed
        )
        truth = schedules.linear(config.steps, end=config.least_truth)

        def validate(params):
            return {watch: score(self.write(params, "dev"), "dev")}

        return train(
            config,
            translator.make_loss(self.model, truth=truth),
            translator.init(self.model, config.seed),
            lambda epoch: _Numbered(buckets(epoch), epoch * len(buckets)),
            validate=validate,
            watch=watch,
            mode="max",
            units={"words": lambda batch: int(batch["target_lengths"].sum())},
            identity=identity,
            console=console,
        )

    def write(
        self, params: Any, split: str, beam: int = 1, penalty: float = 0.0
    ) -> list[list[str]]:
        """What is written for each source of a split; unknown words are copied."""
        if (beam, penalty) not in self._decoders:  # Compiled once.
            self._decoders[beam, penalty] = translator.make_decoder(
                self.model, self.sizes, self.length, beam, penalty
            )
        decode, size = self._decoders[beam, penalty], self.config.batch_size
        decoded = translator.decode_all(decode, params, self.pairs[split], size)
        sources = [source for source, _ in self.splits[split]]
        return translator.to_words(decoded, sources, self.target)

    def choose_penalty(self, params: Any, score: Score) -> tuple[float, dict]:
        """The length penalty of the best score on "dev", and the scores of all."""
        beam = self.config.beam
        scores = {
            penalty: score(self.write(params, "dev", beam, penalty), "dev")
            for penalty in self.config.length_penalties
        }
        return max(scores, key=lambda penalty: scores[penalty]), scores

    def attention_of(self, params: Any, source: Sequence[str], target: Sequence[str]):
        """What is attended to as a target is written, ``[T, S]``, both with ends."""
        pair = translator.Pairs(
            [self.source.encode(source, end=True)],
            [self.target.encode(target, end=True)],
        )
        batch = pair.collate(np.arange(1), (*pair.lengths[0],))
        attended = translator.make_attended(self.model, self.sizes)
        return np.asarray(attended(params, batch))[:, 0]


class _Numbered:
    """Batches of an epoch with the number of their step, for scheduled sampling."""

    def __init__(self, batches, first: int):
        self.batches, self.first = batches, first

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, place: int) -> dict:
        return self.batches[place] | {"step": np.int32(self.first + place)}
