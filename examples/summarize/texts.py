"""Texts and their summaries: docstrings, or a file of your own."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from examples.char_lm.corpus import (
    PACKAGES,
    SKIPPED_FOLDERS,
    docstrings,
    package_roots,
)
from examples.common.data import describe_own, split_of
from examples.common.errors import InputError, bad_line
from examples.common.text import read_csv

MINIMUM = 30
MINIMUM_WORDS = 8
_PARAGRAPH_BREAK = re.compile(r"\n\s*\n")
_TOKEN = re.compile(r"\w+|[^\w\s]")
# Prose: no lists, doctests, tables, headings, fields, directives.
_PROSE = re.compile(r"[A-Z`*][^\n]*(\n(?![-=*~^>|+ ])[^\n]*)*\Z")
_SENTENCE = re.compile(r".+?[.!?](?=\s|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A text and its summary, each as it is written, with single blanks."""

    text: str
    summary: str


@dataclass(frozen=True)
class Examples:
    """Texts with summaries in three splits.

    Attributes:
        train: to learn from.
        dev: for every choice.
        test: held out.
        source: what they were read from.
        sha256: of all of them.
    """

    train: list[Example]
    dev: list[Example]
    test: list[Example]
    source: list[str]
    sha256: str


def load(path: Path | None = None) -> Examples:
    """Reads texts; no summary is in two splits.

    Docstrings are split by the hash of the package that they are in, such as
    ``scipy.stats``; your own texts by the hash of the summary.

    Args:
        path: None for docstrings; else a CSV file with columns text and summary.

    Raises:
        FileNotFoundError: no such file.
        InputError: bad CSV, an empty text or summary, too few texts.
    """
    groups = _docstrings() if path is None else _own(path)
    splits: tuple[list, list, list] = [], [], []
    seen: set[str] = set()
    digest = hashlib.sha256()
    for group, example in groups:
        key = example.summary.lower()
        if key in seen:
            continue
        seen.add(key)
        splits[split_of(group)].append(example)
        digest.update(f"{example.text}\n{example.summary}\n".encode())
    if len(seen) < MINIMUM or not all(splits):
        raise InputError(
            f"{path or 'docstrings'}: expected at least {MINIMUM} texts, some of them "
            f"in each of three splits, got {len(seen)}."
        )
    versions = [f"{name} {version(name)}" for name in PACKAGES]
    docs = f"docstrings of Python {platform.python_version()}, {', '.join(versions)}"
    source = [docs] if path is None else describe_own([path])
    return Examples(*splits, source, digest.hexdigest())


def _own(path: Path) -> Iterator[tuple[str, Example]]:
    for line, (text, summary) in read_csv(path, ("text", "summary")):
        if not text.strip() or not summary.strip():
            raise bad_line(path, line, "a text and its summary", "an empty one")
        yield summary, Example(" ".join(text.split()), " ".join(summary.split()))


def _docstrings() -> Iterator[tuple[str, Example]]:
    for package, root in package_roots().items():
        for path in sorted(root.rglob("*.py")):
            relative = path.relative_to(root)
            if SKIPPED_FOLDERS.intersection(relative.parts):
                continue
            group = f"{package}.{relative.with_suffix('').parts[0]}"
            for docstring in docstrings(path):
                example = of_docstring(docstring)
                if example is not None:
                    yield group, example


def of_docstring(docstring: str) -> Example | None:
    """The summary line and the prose after it; None where there is no such pair."""
    summary, *rest = _PARAGRAPH_BREAK.split(docstring.strip())
    summary = " ".join(summary.split())
    if not summary.endswith(".") or not _PROSE.match(summary):
        return None
    body = []
    for paragraph in rest:
        if not _PROSE.match(paragraph) or paragraph.rstrip().endswith(":"):
            break
        body.append(" ".join(paragraph.split()))
    text = " ".join(body)
    return Example(text, summary) if len(text.split()) >= MINIMUM_WORDS else None


def tokenize(text: str) -> tuple[str, ...]:
    """Words and marks, in lower case."""
    return tuple(_TOKEN.findall(text.lower()))


def first_sentence(text: str) -> str:
    """The sentence that a text begins with: the baseline."""
    found = _SENTENCE.match(text)
    return found.group() if found else text


def pairs(
    examples: Sequence[Example], longest_text: int, longest_summary: int
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The examples as tokens, texts cut; those with a long summary left out."""
    tokens = ((tokenize(e.text), tokenize(e.summary)) for e in examples)
    return [(t[:longest_text], s) for t, s in tokens if len(s) <= longest_summary]
