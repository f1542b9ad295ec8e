"""Reads a compressed text module of the SWORD project, verse by verse.

A testament ("ot", "nt") is three files. ``.bzs`` has, for each block, where it begins
in ``.bzz``, and its sizes; ``.bzz`` the blocks, compressed by zlib, one for a book;
``.bzv``, for each verse in the order of the versification, its block, its place in it
and its length. Headings have entries of their own. Two modules of one versification
have the same verse at the same place.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from examples.common.errors import InputError

_BOOK = re.compile(r'<div[^>]*\bosisID="(\w+)"[^>]*\btype="book"')
# What is not the text of the verse: notes, headings, and the subscriptions of letters.
_BESIDE = re.compile(
    r"<(note|title)\b[^>]*>.*?</\1>"
    r'|<div[^>]*type="colophon"[^>]*/>.*'
    r'|<div[^>]*type="colophon"[^>]*>.*?</div>',
    re.DOTALL,
)
_TAG = re.compile(r"<[^>]*>")
_ENTITIES = (
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", '"'),
    ("&apos;", "'"),
    ("&amp;", "&"),
)


def read_module(folder: Path) -> Iterator[tuple[str, int, str]]:
    """Yields ``(book, place, text)`` of all verses with text.

    Args:
        folder: with the files ``ot.bzs``, ``nt.bzs`` and so on.

    Raises:
        FileNotFoundError: a file is missing.
        InputError: one is not as said above.
    """
    for testament in ("ot", "nt"):
        entries = _entries(folder / testament)
        book = ""
        for place, entry in enumerate(entries):
            found = _BOOK.search(entry)
            if found:
                book = found.group(1)
            text = plain(entry)
            if text and book:
                yield book, place, text


def plain(entry: str) -> str:
    """The text of an entry, without markup and what is not of the verse."""
    text = _TAG.sub("", _BESIDE.sub(" ", entry)).replace("\N{PILCROW SIGN}", " ")
    for name, character in _ENTITIES:
        text = text.replace(name, character)
    return " ".join(text.split())


def _entries(stem: Path) -> list[str]:
    files = {}
    for suffix in (".bzs", ".bzv", ".bzz"):
        path = stem.with_suffix(suffix)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; a module has three of them."
            )
        files[suffix] = path.read_bytes()
    try:
        blocks = [
            zlib.decompress(files[".bzz"][start : start + size])
            for start, size, _ in struct.iter_unpack("<III", files[".bzs"])
        ]
        return [
            blocks[block][start : start + size].decode("utf-8")
            for block, start, size in struct.iter_unpack("<IIH", files[".bzv"])
        ]
    except (struct.error, zlib.error, IndexError, UnicodeDecodeError) as error:
        raise InputError(
            f"{stem}.bz*: expected a zlib-compressed SWORD module, got {error}."
        ) from None
