"""``result.json``: what a run found, and all that is needed to find it again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import distributed
from .config import as_json, command_line
from .machine import describe_machine, describe_versions

NAME = "result.json"


@dataclass(frozen=True)
class Row:
    """One line of the table in ``examples/README.md``.

    Attributes:
        task: what was to be done, and on which data.
        measure: what the numbers are, such as "accuracy".
        result: of the model, as it is to be shown.
        beside: the same measure of the baselines of this run.
        published: what others have reported, with how far it may be compared; "-" for
            nothing.
    """

    task: str
    measure: str
    result: str
    beside: str
    published: str = "-"


def write_result(
    output: Path,
    *,
    example: str,
    config: Any,
    presets: Mapping[str, Any],
    data: Sequence[str],
    training_seconds: float,
    rows: Sequence[Row],
    packages: Sequence[str] = (),
    **measures: Any,
) -> dict[str, Any]:
    """Writes ``result.json``, by the first process alone, and returns what is in it.

    Args:
        output: the folder; made if missing.
        example: its name.
        config: its settings, with ``preset`` and ``seed``.
        presets: of the example, so that the command is only what differs.
        data: a line for each file that was used, with its version and hash.
        training_seconds: with those before a resume.
        rows: of the table in ``examples/README.md``.
        packages: further packages whose versions matter.
        measures: whatever else was measured, as JSON can hold it.
    """
    result = {
        "example": example,
        "command": command_line(f"python -m examples.{example}", config, presets),
        "preset": config.preset,
        "seed": config.seed,
        "machine": describe_machine(),
        # More than the number of cores: the times would be shorter on a quiet machine.
        "load_average": round(os.getloadavg()[2], 1),
        "versions": describe_versions(packages),
        "data": list(data),
        "training_seconds": round(training_seconds, 1),
        "rows": [asdict(row) for row in rows],
        **measures,
        "config": as_json(config),
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    if distributed.is_first():
        output.mkdir(parents=True, exist_ok=True)
        (output / NAME).write_text(text + "\n", encoding="utf-8")
    return json.loads(text)


def set_aside(output: Path) -> None:
    """Renames the folder of an earlier run, so that nothing is mixed or lost.

    The first process does it, and the others wait until it is done.
    """
    if distributed.is_first():
        if output.exists() and any(output.iterdir()):
            number = 1
            while (old := output.with_name(f"{output.name}.{number}")).exists():
                number += 1
            output.rename(old)
        output.mkdir(parents=True, exist_ok=True)
    distributed.meet()
