"""Text files of the user's own: UTF-8, with errors that name file and line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import InputError, bad_line


def read_text(path: Path) -> str:
    """Returns the text of a UTF-8 file, with ``\\n`` for every line end.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is empty or not UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    raw = path.read_bytes()
    if not raw.strip():
        raise InputError(f"{path}: expected a UTF-8 text file, got an empty one.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad_line(
            path,
            raw.count(b"\n", 0, error.start) + 1,
            "UTF-8 text",
            f"the byte 0x{raw[error.start]:02x} ({error.reason})",
            "Convert the file first, for example with `iconv -t utf-8`.",
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: Path) -> list[str]:
    """Returns the lines of a UTF-8 file, without their ends; see `read_text`."""
    text = read_text(path)
    return text.removesuffix("\n").split("\n")


def read_csv(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yields ``(line, values)`` of the named columns of a CSV file with a header.

    Args:
        path: a UTF-8 file.
        columns: their names; other columns may be there and are left out.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: empty, not UTF-8, a column missing, a row of another length.
    """
    # Not `str.splitlines`, which also splits at form feeds and other separators.
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        header = [name.strip() for name in next(reader)]
        missing = [name for name in columns if name not in header]
        if missing:
            raise bad_line(
                path, 1, f"the columns {', '.join(columns)}", f"{', '.join(header)}"
            )
        places = [header.index(name) for name in columns]
        line = reader.line_num + 1
        rows = 0
        for row in reader:
            if row and len(row) != len(header):
                raise bad_line(
                    path, line, f"{len(header)} values as in the header", str(len(row))
                )
            if row:
                rows += 1
                yield line, [row[place] for place in places]
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}.") from None
    if not rows:
        raise InputError(f"{path}: expected rows below the header, got none.")
