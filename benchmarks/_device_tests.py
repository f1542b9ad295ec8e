"""The part of the tests that belongs on a device, run there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# A dry run: the one cell of which a CPU runs them too.
DRY = ("tests/conformance/test_device.py", "-k", "gru")


def run(*, dry_run: bool) -> dict[str, Any]:
    """Runs the tests marked ``device``, in a process of their own.

    Args:
      dry_run: a few of them, which also a CPU can run.

    Returns:
      The platform, the kind of device, how many passed, failed and were skipped, the
      seconds, and the names of those that failed.

    Raises:
      RuntimeError: pytest itself failed.
    """
    platform, kind = _python(
        "-c",
        "import jax; d = jax.devices()[0]; print(jax.default_backend(), d.device_kind)",
    ).stdout.split(maxsplit=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tests.xml"
        done = _python(
            *("-m", "pytest", "-q", "-m", "device and not slow", f"--junit-xml={path}"),
            *(DRY if dry_run else ()),
            RNNJAX_TEST_PLATFORM=platform,
        )
        if not path.exists():
            raise RuntimeError(f"pytest did not run: {done.stdout}{done.stderr}")
        (suite,) = xml.parse(path).getroot().iter("testsuite")
    bad = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    return {
        "platform": platform,
        "device": kind.strip(),
        "passed": total - skipped - len(bad),
        "failed": len(bad),
        "skipped": skipped,
        "seconds": float(suite.get("time", 0)),
        "names": bad,
    }


def _python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | variables,
        check=False,
    )
