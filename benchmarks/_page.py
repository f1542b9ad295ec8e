"""All results on one page of HTML that needs no other file."""

from __future__ import annotations

import base64
import html
import tempfile
from pathlib import Path
from typing import Any

from . import _report
from ._compare import where

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem;
  padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-size: 13px; }
th, td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child, td:last-child { text-align: left; }
img { max-width: 100%; background: white; }
summary { cursor: pointer; }
pre { overflow-x: auto; }
div { overflow-x: auto; }
"""


def page(
    results: list[dict[str, Any]],
    failures: dict[str, str],
    tests: dict[str, Any] | None = None,
) -> str:
    """The page.

    Args:
      results: of the suites, as in their JSON.
      failures: by the name of a suite, what ended it.
      tests: what those on the device came to, where they were run.
    """
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        "<title>rnnjax benchmarks</title>",
        f"<style>{STYLE}</style><h1>rnnjax benchmarks</h1>",
    ]
    if results:
        machine = results[0]["machine"]
        versions = [f"{k} {v}" for k, v in machine["versions"].items()]
        facts = [("machine", _report.heading(results[0]))]
        facts.append(("processor", machine["processor"]))
        facts.append(("versions", ", ".join(versions)))
        facts.append(("commit", machine["commit"]))
        if tests:
            counts = [
                f"{tests[word]} {word}" for word in ("passed", "failed", "skipped")
            ]
            where = f"{tests['device']}, {tests['seconds']:.0f} s"
            facts.append(("tests on the device", f"{', '.join(counts)} ({where})"))
        parts.append(_table(["", ""], [list(fact) for fact in facts]))
    for name, failure in failures.items():
        parts.append(f"<h2>{_text(name)}: failed</h2><pre>{_text(failure)}</pre>")
    parts += [_section(result) for result in results]
    return "\n".join(parts) + "\n"


def _section(result: dict[str, Any]) -> str:
    parts = [f"<h2>{_text(result['suite'])}</h2>"]
    if result["settings"]["dry_run"]:
        parts.append("<p><b>A dry run: these numbers measure nothing.</b></p>")
    about = result["about"].split("\n\n")
    parts += [f"<p>{_text(paragraph)}</p>" for paragraph in about]
    parts += [f"<p>{_text(remark)}</p>" for remark in result["remarks"]]
    if result["summary"]:
        parts.append(_table(*_report.cells_of_summary(result["summary"])))
    parts.append(_picture(result))
    for case in result["cases"]:
        title = _text(where(case["labels"]))
        rows = _table(*_report.cells_of(case))
        parts.append(f"<details><summary>{title}</summary>{rows}</details>")
    return "\n".join(parts)


def _picture(result: dict[str, Any]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plot.png"
        _report.plot(result, path)
        if not path.exists():
            return ""
        data = base64.b64encode(path.read_bytes()).decode()
    alt = _text(f"plot of the suite {result['suite']}")
    return f"<img alt='{alt}' src='data:image/png;base64,{data}'>"


def _table(headings: list[str], rows: list[list[str]]) -> str:
    def line(tag, cells):
        return "<tr>" + "".join(f"<{tag}>{_text(c)}</{tag}>" for c in cells) + "</tr>"

    body = "\n".join(line("td", row) for row in rows)
    return f"<div><table>{line('th', headings)}\n{body}</table></div>"


def _text(value: str) -> str:
    return html.escape(str(value), quote=True)
