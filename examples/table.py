"""The table of results: ``python -m examples.table`` rewrites that of the README.

Its rows are those of the committed ``examples/*/results/*/result.json``.
"""

from __future__ import annotations

import json
from pathlib import Path

from .common.results import NAME
from .common.tables import markdown_table

FOLDER = Path(__file__).parent
README = FOLDER / "README.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"
HEADER = (
    *("example", "task", "measure", "result", "beside it, same run", "published"),
    *("command", "seed", "training", "machine"),
)


def build(folder: Path = FOLDER) -> str:
    """The table of all committed results that have rows."""
    rows = []
    for path in sorted(folder.glob(f"*/results/*/{NAME}")):
        result = json.loads(path.read_text(encoding="utf-8"))
        rows.extend(_cells(result, row) for row in result.get("rows", ()))
    return markdown_table(HEADER, rows)


def update(text: str, table: str) -> str:
    """The text of the README with the table between its two marks."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}{table}\n{END}{after}"


def _cells(result: dict, row: dict) -> tuple[str, ...]:
    name = result["example"]
    return (
        f"[{name}]({name}/README.md)",
        row["task"],
        row["measure"],
        f"**{row['result']}**",
        row["beside"],
        row["published"],
        f"`{result['command']}`",
        str(result["seed"]),
        f"{result['training_seconds'] / 60:.0f} min",
        f"{result['machine']}, load {result['load_average']:g}",
    )


def main() -> None:
    """Rewrites the table in ``examples/README.md``."""
    README.write_text(update(README.read_text("utf-8"), build()), encoding="utf-8")


if __name__ == "__main__":
    main()
