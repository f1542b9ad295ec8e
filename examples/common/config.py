"""Settings of a run: a typed dataclass that is also the command line.

An example has one frozen dataclass with a field ``preset`` and one instance of it for
each preset. A preset sets the defaults of all other options; each can still be given.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from .errors import InputError

Config = TypeVar("Config")


def parse(
    presets: Mapping[str, Config],
    default: str,
    prog: str,
    arguments: Sequence[str] | None = None,
) -> Config:
    """Reads the command line: the preset first, then what differs from it.

    Args:
        presets: settings by the name of the preset.
        default: the preset where none is given.
        prog: the command, for ``--help``.
        arguments: None is those of the process.
    """
    first = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
    first.add_argument("--preset", choices=presets, default=default)
    preset = presets[first.parse_known_args(arguments)[0].preset]
    return tyro.cli(type(preset), args=arguments, default=preset, prog=prog)


def check(config: Any, names: str, expected: str, valid) -> None:
    """Raises an `InputError` that names the option, unless its value is valid.

    Args:
        config: the settings.
        names: of the fields, with blanks between.
        expected: what they should be, such as "at least 1".
        valid: function from a value to bool.
    """
    for name in names.split():
        value = getattr(config, name)
        if not valid(value):
            option = "--" + name.replace("_", "-")
            raise InputError(f"Expected {option} {expected}, got {value}.")


def check_positive(config: Any, names: str) -> None:
    """Raises an `InputError` unless the named fields are at least 1."""
    check(config, names, "at least 1", lambda value: value >= 1)


def as_json(config: Any, but: Collection[str] = ()) -> dict[str, Any]:
    """The settings as JSON can hold them, but for those named."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(config).items()
        if name not in but
    }


def command_line(prog: str, config: Any, presets: Mapping[str, Any]) -> str:
    """The command that gives these settings, but for where the output goes."""
    words, preset = [*prog.split(), "--preset", config.preset], presets[config.preset]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in ("output", "resume") or value == getattr(preset, field.name):
            continue
        option = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif isinstance(value, tuple):
            words.extend([f"--{option}", *map(str, value)])
        else:
            words.extend([f"--{option}", str(value)])
    return shlex.join(words)
