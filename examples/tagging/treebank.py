"""Tagged sentences: the Turkish Web Treebank, or any CoNLL-U file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.common.data import PackageFile, describe_own, locate
from examples.common.errors import InputError, bad_line
from examples.common.text import read_lines

TREEBANK = tuple(
    PackageFile("turkish-treebanks", "1.0.0", f"data/{name}.conllu", digest)
    for name, digest in (
        ("web", "d6f92b12b74f367a36e30dd3d644d7a0bb01a991584602e6e69f1191664f86bf"),
        ("wiki", "58f049fae8d0653ba0940a58168c17c7cebbc50f88cad2985d12d34ac1b9acde"),
    )
)
MINIMUM = 30

Sentence = list[tuple[str, str]]
"""Pairs of a word and its tag."""


@dataclass(frozen=True)
class Treebank:
    """Tagged sentences in three splits.

    Attributes:
        train: to learn from.
        dev: for every choice.
        test: held out.
        source: what they were read from, with hashes.
    """

    train: list[Sentence]
    dev: list[Sentence]
    test: list[Sentence]
    source: list[str]


def load(path: Path | None = None) -> Treebank:
    """Reads sentences; of every ten the ninth is for dev, the tenth held out.

    Args:
        path: None for the data package; else a CoNLL-U file.

    Raises:
        FileNotFoundError: no such file.
        InputError: a line that is no token, a word without a tag, too few sentences.
    """
    paths = [locate(file) for file in TREEBANK] if path is None else [path]
    sentences = [sentence for p in paths for sentence in read(p)]
    if len(sentences) < MINIMUM:
        raise InputError(
            f"{path}: expected at least {MINIMUM} sentences, got {len(sentences)}."
        )
    source = [str(f) for f in TREEBANK] if path is None else describe_own([path])
    dev, test = sentences[8::10], sentences[9::10]
    train = [s for i, s in enumerate(sentences) if i % 10 < 8]
    return Treebank(train, dev, test, source)


def read(path: Path) -> list[Sentence]:
    """Returns the sentences of a CoNLL-U file: the columns FORM and UPOS."""
    sentences: list[Sentence] = [[]]
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            if sentences[-1]:
                sentences.append([])
            continue
        if line.startswith("#"):
            continue
        columns = line.split("\t")
        if len(columns) != 10:
            raise bad_line(
                path,
                number,
                "the 10 columns of CoNLL-U with tabs between them",
                f"{len(columns)}: {line[:40]!r}",
            )
        if not columns[0].isdigit():  # a contraction (3-4) or an empty node (3.1)
            continue
        word, tag = columns[1], columns[3]
        if not word or tag in ("", "_"):
            raise bad_line(path, number, "a word and its tag", f"{word!r} and {tag!r}")
        sentences[-1].append((word, tag))
    return [sentence for sentence in sentences if sentence]


def most_frequent(train: Iterable[Sentence], sentences: Sequence[Sentence]) -> list:
    """The baseline: for every word its most frequent tag in ``train``.

    A word that is not there gets the most frequent tag of all. Ties go to the tag that
    is more frequent over all.
    """
    overall: dict[str, int] = {}
    of_word: dict[str, dict[str, int]] = {}
    for sentence in train:
        for word, tag in sentence:
            overall[tag] = overall.get(tag, 0) + 1
            counts = of_word.setdefault(word, {})
            counts[tag] = counts.get(tag, 0) + 1
    default = max(overall, key=lambda tag: overall[tag])
    best = {
        word: max(counts, key=lambda tag, c=counts: (c[tag], overall[tag]))
        for word, counts in of_word.items()
    }
    return [[best.get(word, default) for word, _ in s] for s in sentences]
