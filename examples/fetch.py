"""Fetches data that Debian packages: ``python -m examples.fetch NAME ...``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .common import debian
from .common.errors import InputError


def main(arguments: Sequence[str] | None = None) -> None:
    """Downloads the packages, checks version and SHA-256, and unpacks to ``.data``."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.fetch",
        description="Downloads data packages of Debian by apt-get, checks version and "
        "SHA-256, and unpacks them below .data/debian, without installing anything.",
        epilog="  ".join(f"{p.name}: {p.content}." for p in debian.PACKAGES.values()),
    )
    parser.add_argument("name", nargs="+", choices=debian.PACKAGES, metavar="NAME")
    for name in parser.parse_args(arguments).name:
        package = debian.PACKAGES[name]
        try:
            folder = debian.fetch(package)
        except InputError as error:
            sys.exit(f"error: {error}")
        print(f"{package}\n  in {folder}")


if __name__ == "__main__":
    main()
