"""What is said, in the characters that the network writes."""

from __future__ import annotations

import re

ALPHABET = " abcdefghijklmnopqrstuvwxyz'"
"""The characters of the tokens 1, 2, ...; 0 is the blank of CTC."""
TOKENS = 1 + len(ALPHABET)

_WORDS = "zero one two three four five six seven eight nine".split()
_PUNCTUATION = re.compile(r"[.,;:!?\"()\-/…]+")


def clean(transcript: str) -> str:
    """Small letters, no punctuation, single digits as words, single blanks."""
    text = transcript.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    text = re.sub(r"\b[0-9]\b", lambda digit: _WORDS[int(digit[0])], text)
    return " ".join(_PUNCTUATION.sub(" ", text).split())


def unknown(text: str) -> str:
    """The characters of a cleaned text that the network cannot write."""
    return "".join(sorted(set(text) - set(ALPHABET)))


def encode(text: str) -> list[int]:
    """Tokens of a cleaned text."""
    return [1 + ALPHABET.index(character) for character in text]


def decode(tokens) -> str:
    """The text of tokens."""
    return "".join(ALPHABET[int(token) - 1] for token in tokens)
