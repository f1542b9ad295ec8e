"""Every suite on one machine: one JSON and one page."""

from __future__ import annotations

import multiprocessing
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _device_tests, _page, _report, _run
from ._suite import Suite
from .suites import MEASURED, SUITES


@dataclass(frozen=True)
class All:
    """Runs the suites one after the other and writes one JSON and one page.

    Each has a process of its own, so that one that fails leaves the others their
    machine; the page says what failed.
    """

    suites: tuple[str, ...] = MEASURED
    """Which suites; all that measure this machine."""

    output: Path = Path("benchmarks/results")
    """Folder for the files."""

    label: str = ""
    """Added to the names of the files."""

    tests: bool = False
    """Before the suites, the tests that belong on the device; for a rented machine."""

    dry_run: bool = False
    """Tiny sizes and 2 rounds: shows that all of it runs, and measures nothing."""

    def __post_init__(self):
        """Checks the names."""
        for name in self.suites:
            if name not in SUITES:
                raise ValueError(
                    f"Expected --suites among {', '.join(SUITES)}, got {name}."
                )


def run_all(settings: All) -> list[str]:
    """Runs them.

    Returns:
      The names of the suites that failed.
    """
    results: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    tests: dict[str, Any] | None = None
    if settings.tests:
        tests = _device_tests.run(dry_run=settings.dry_run)
        print(f"tests: {tests}")
        if tests["failed"]:
            failures["tests"] = "\n".join(tests["names"])
    for name in settings.suites:
        suite = SUITES[name](
            output=settings.output, label=settings.label, dry_run=settings.dry_run
        )
        try:
            results.append(_in_process_of_its_own(suite))
        except Exception as error:  # of any kind: the page shows it, the exit code too
            failures[name] = "".join(traceback.format_exception(error))
            print(failures[name])
    if not results:
        return list(failures)
    path = _run.file(
        settings.output,
        "all",
        results[0]["machine"],
        settings.label,
        settings.dry_run,
    )
    _report.write_json({"tests": tests, "results": results, "failures": failures}, path)
    page = path.with_suffix(".html")
    page.write_text(_page.page(results, failures, tests), encoding="utf-8")
    print(f"Written: {path} and {page}")
    return list(failures)


def _in_process_of_its_own(suite: Suite) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_run.run, suite).result()
