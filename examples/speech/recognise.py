"""From distributions to text: greedy, and by a beam with a language model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import jax
import numpy as np

from rnnjax import RNN, decoding, metrics

from ..common.buckets import in_order
from . import transcripts
from .config import Config
from .data import Example, collate, sizes
from .train import BUCKETS

_END = 0
"""What the language model ends a transcript with: the blank, no use of it else."""


def log_probabilities(
    config: Config, model: RNN, params, examples: list[Example]
) -> list[np.ndarray]:
    """Of each example ``[T, K]``, in the order of the examples."""

    @jax.jit
    def run(params, xs, lengths):
        _, logits = model.unroll(params, None, xs, lengths=lengths)
        return jax.nn.log_softmax(logits)

    said: dict[int, np.ndarray] = {}
    for places, batch in in_order(
        sizes(examples), config.batch_size, collate(examples), BUCKETS
    ):
        frames = np.asarray(run(params, batch["xs"], batch["lengths"]))
        for column, place in enumerate(places):
            said[int(place)] = frames[: batch["lengths"][column], column]
    return [said[place] for place in range(len(examples))]


def greedy(frames: Sequence[np.ndarray]) -> list[str]:
    """The most probable path of each recording."""
    texts = []
    for one in frames:
        tokens, number = decoding.ctc_greedy(one)
        texts.append(transcripts.decode(np.asarray(tokens)[: int(number)]))
    return texts


def beam(
    frames: Sequence[np.ndarray],
    size: int,
    model: decoding.LanguageModel | None = None,
    weight: float = 0.0,
    insertion: float = 0.0,
) -> list[str]:
    """The best labelling of each recording by prefix beam search."""
    texts = []
    for one in frames:
        best, *_ = decoding.ctc_beam_search(
            one,
            beam=size,
            language_model=model,
            weight=weight,
            insertion=insertion,
            end=None if model is None else _END,
        )
        texts.append(transcripts.decode(best.tokens))
    return texts


def language_model(config: Config, texts: Sequence[str]) -> decoding.LanguageModel:
    """Character n-grams of the training transcripts, each counted once."""
    sequences = [[*transcripts.encode(text), _END] for text in sorted(set(texts))]
    return decoding.ngram(sequences, order=config.order, size=transcripts.TOKENS)


def error_rates(texts: Sequence[str], examples: list[Example]) -> dict[str, float]:
    """Character and word error rate, over all recordings together."""
    said = [example.utterance.text for example in examples]
    rates = {}
    for name, metric in (
        ("cer", metrics.character_error_rate()),
        ("wer", metrics.word_error_rate()),
    ):
        rates[name] = metric.compute(metric.update(metric.init(), list(texts), said))
    return rates


def choose(
    config: Config,
    frames: Sequence[np.ndarray],
    examples: list[Example],
    model: decoding.LanguageModel,
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """The weight and bonus with the fewest wrong characters, and all that were tried.

    Args:
        config: the settings.
        frames: of the development recordings.
        examples: the development recordings.
        model: the language model.
    """
    tried = []
    for weight, insertion in product(config.weights, config.insertions):
        texts = beam(frames, config.beam, model, weight, insertion)
        rates = error_rates(texts, examples)
        tried.append({"weight": weight, "insertion": insertion, **rates})
    best = min(tried, key=lambda trial: (trial["cer"], trial["wer"]))
    return {"weight": best["weight"], "insertion": best["insertion"]}, tried


def spikes(frames: np.ndarray, stacked: int) -> Iterator[tuple[int, str]]:
    """Where the most probable path begins a character: frame and character."""
    path = frames.argmax(-1)
    for t, token in enumerate(path):
        if token and (not t or token != path[t - 1]):
            yield t * stacked + stacked // 2, transcripts.decode([token])
