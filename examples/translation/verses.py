"""Pairs of sentences: verses of two Bibles, or two line-aligned files of your own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.common import debian
from examples.common.data import describe_own, split_of
from examples.common.errors import InputError, bad_line
from examples.common.text import read_lines

from .sword import read_module

MODULES = (
    ("sword-text-kjv", "engKJV2006eb"),
    ("sword-text-sparv", "spaRV1909eb"),
)
MINIMUM = 30
HELD_OUT = 1_000
_TOKEN = re.compile(r"\w+|[^\w\s]")
_BEFORE, _AFTER = "¿¡(“«", ".,:;!?)”»"

Pair = tuple[tuple[str, ...], tuple[str, ...]]
"""Tokens of the source and of the target, in lower case."""


@dataclass(frozen=True)
class Verses:
    """Pairs in three splits.

    Attributes:
        train: to learn from.
        dev: for every choice.
        test: held out.
        source: what they were read from, with hashes.
        split: how they were split.
    """

    train: list[Pair]
    dev: list[Pair]
    test: list[Pair]
    source: list[str]
    split: str


def load(
    longest: int, source: Path | None = None, target: Path | None = None
) -> Verses:
    """Reads pairs of at most ``longest`` tokens a side.

    Args:
        longest: pairs with more on a side are left out.
        source: None, with ``target``, for the verses of two Debian packages; else a
            text file with a sentence on each line.
        target: a text file with their translations on the same lines.

    Raises:
        FileNotFoundError: no such file, or the packages were not fetched.
        InputError: one file without the other, files of different length, an empty
            line in one of them, too few pairs.
    """
    if (source is None) != (target is None):
        raise InputError("Expected --source and --target together, got one of them.")
    if source is None or target is None:
        return _of_bibles(longest)
    pairs = _short(read_aligned(source, target), longest)
    splits: tuple[list, list, list] = [], [], []
    for pair in pairs:
        splits[split_of(" ".join(pair[0]))].append(pair)
    if len(pairs) < MINIMUM or not all(splits):
        raise InputError(
            f"{source}: expected at least {MINIMUM} pairs of at most {longest} tokens "
            f"a side, some of them in each of three splits, got {len(pairs)}."
        )
    how = "by the hash of the source, 80, 10 and 10 percent"
    return Verses(*splits, describe_own([source, target]), how)


def read_aligned(source: Path, target: Path) -> list[Pair]:
    """The pairs of two files whose lines belong together; both may be empty."""
    ours, theirs = read_lines(source), read_lines(target)
    if len(ours) != len(theirs):
        shorter = source if len(ours) < len(theirs) else target
        raise bad_line(
            shorter,
            min(len(ours), len(theirs)) + 1,
            f"as many lines as the other file, {max(len(ours), len(theirs))}",
            "the end",
        )
    pairs = []
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True), 1):
        if bool(one.strip()) != bool(other.strip()):
            empty = target if one.strip() else source
            raise bad_line(empty, number, "a translation of the line", "an empty line")
        if one.strip():
            pairs.append((tokenize(one), tokenize(other)))
    return pairs


def tokenize(text: str) -> tuple[str, ...]:
    """Words and marks, in lower case."""
    return tuple(_TOKEN.findall(text.lower()))


def detokenize(tokens: Sequence[str]) -> str:
    """The text of tokens; marks stand beside their words."""
    text = " ".join(tokens)
    text = re.sub(rf" ([{re.escape(_AFTER)}])", r"\1", text)
    return re.sub(rf"([{re.escape(_BEFORE)}]) ", r"\1", text)


def _short(pairs: Sequence[Pair], longest: int) -> list[Pair]:
    return [pair for pair in pairs if all(0 < len(side) <= longest for side in pair)]


def _of_bibles(longest: int) -> Verses:
    """Whole books are held out, in the order of the hashes of their names."""
    sides, source = [], []
    for name, module in MODULES:
        package = debian.PACKAGES[name]
        texts = debian.locate(package) / "usr/share/sword/modules/texts/ztext"
        sides.append({(b, p): text for b, p, text in read_module(texts / module)})
        source.append(str(package))
    english, spanish = sides
    books: dict[str, list[Pair]] = {}
    for (book, place), text in english.items():
        if (book, place) in spanish:
            pair = tokenize(text), tokenize(spanish[book, place])
            books.setdefault(book, []).append(pair)
    splits: dict[str, list[Pair]] = {"test": [], "dev": [], "train": []}
    names: dict[str, list[str]] = {"test": [], "dev": [], "train": []}
    for book in sorted(books, key=lambda b: hashlib.sha256(b.encode()).digest()):
        part = next((p for p in ("test", "dev") if len(splits[p]) < HELD_OUT), "train")
        splits[part].extend(_short(books[book], longest))
        names[part].append(book)
    how = (
        f"whole books: held out {', '.join(names['test'])}; "
        f"development {', '.join(names['dev'])}"
    )
    return Verses(splits["train"], splits["dev"], splits["test"], source, how)
