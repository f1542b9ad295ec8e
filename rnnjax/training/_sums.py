"""Checksums of all files of a folder, in the format of the program `sha256sum`."""

from __future__ import annotations

import hashlib
from pathlib import Path

NAME = "SHA256SUMS"


def write_sums(folder: Path) -> None:
    """Writes the checksums of the files of ``folder`` into it, in one move."""
    lines = "".join(f"{_sum(folder / name)}  {name}\n" for name in _files(folder))
    aside = folder / (NAME + ".tmp")
    aside.write_text(lines, encoding="utf-8")
    aside.replace(folder / NAME)


def is_summed(folder: Path) -> bool:
    """Whether the checksums are there, which are written last of all."""
    return (folder / NAME).exists()


def find_damage(folder: Path) -> str | None:
    """What is wrong with the files of ``folder``; None where all are as written."""
    try:
        lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
        pairs = (line.split("  ", 1) for line in lines)
        expected = {name: digest for digest, name in pairs}
        found = _files(folder)
        if missing := sorted(set(expected) - set(found)):
            return f"{missing[0]} is missing"
        if more := sorted(set(found) - set(expected)):
            return f"{more[0]} is not in {NAME}"
        for name in found:
            if _sum(folder / name) != expected[name]:
                return f"{name} is not as it was written"
    except FileNotFoundError:
        return f"{NAME} is missing: it was not finished, or lost a file"
    except (OSError, UnicodeDecodeError, ValueError) as error:
        return f"it cannot be read: {error}"
    return None


def _files(folder: Path) -> list[str]:
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in names if name not in (NAME, NAME + ".tmp"))


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
