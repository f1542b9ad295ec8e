"""The suite `aot`, the rented machine, the record of devices that kernels ran on."""

import json
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import jax
import pytest

from benchmarks import __main__ as command_line
from benchmarks import _compare, _device_tests, _run
from benchmarks._compare import Case, where
from benchmarks._problem import Work
from benchmarks.suites import MEASURED, SUITES
from benchmarks.suites.aot import COMPARED, LENGTHS, Aot
from rnnjax.aot import PEAKS
from rnnjax.kernels._device import PASSED

ROOT = Path(__file__).parents[2]

REPORT = """<testsuites><testsuite tests="5" failures="1" errors="1" skipped="1"
time="12.5"><testcase classname="tests.a" name="one"/><testcase classname="tests.a"
name="two"><failure/></testcase><testcase classname="tests.a" name="three"><error/>
</testcase><testcase classname="tests.a" name="four"><skipped/></testcase><testcase
classname="tests.a" name="five"/></testsuite></testsuites>"""


def dry(tmp_path, **options):
    return _run.run(Aot(dry_run=True, output=tmp_path, **options))["cases"]


def test_a_compiler_that_is_not_installed_is_a_named_row(tmp_path, monkeypatch):
    monkeypatch.setattr("rnnjax._extras.find_spec", lambda name: None)
    case, data_parallel = dry(
        tmp_path, targets=("v5e:2x2",), directions=("value_and_grad",)
    )
    names = [row["name"] for row in case["rows"]]
    assert names[:3] == ["default", "hoisted", "deferred"]
    assert "product in the loop" in names
    for row in (*case["rows"], *data_parallel["rows"]):
        assert "libtpu, which is not installed" in row["note"]


def test_a_compilation_that_fails_is_a_named_row(tmp_path, monkeypatch):
    def fails(*args, **options):
        raise RuntimeError("INTERNAL: the compiler gave up\nand more")

    monkeypatch.setattr("benchmarks.suites.aot.compile_for", fails)
    for case in dry(tmp_path, targets=("v5e:2x2", "h100")):
        for row in case["rows"]:
            assert row == {
                "name": row["name"],
                "note": "INTERNAL: the compiler gave up",
            }


def test_what_stops_a_run_leaves_what_was_before_and_the_rest_can_follow(
    tmp_path, monkeypatch
):
    compiled = []

    def compile_for(*args, **options):
        compiled.append(args)
        if len(compiled) == 4:  # in the second case
            raise KeyboardInterrupt
        raise ValueError("no compiler")

    monkeypatch.setattr("benchmarks.suites.aot.compile_for", compile_for)
    options = {"targets": ("v5e:2x2",), "cells": ("lru",), "directions": ("forward",)}
    with pytest.raises(KeyboardInterrupt):
        dry(tmp_path, **options)
    (stored,) = tmp_path.glob("*.unfinished.json")
    first, second = dry(tmp_path, resume=True, **options)
    assert len(compiled) == 4 + 2  # the second case, and no more
    assert not stored.exists()
    notes = {row["note"] for case in (first, second) for row in case["rows"]}
    assert notes == {"no compiler"}
    # Of other versions nothing is taken over.
    compiled[:] = []
    with pytest.raises(KeyboardInterrupt):
        dry(tmp_path, **options)
    stored.write_text(stored.read_text().replace('"jax": "', '"jax": "1'))
    dry(tmp_path, resume=True, **options)
    assert len(compiled) == 4 + 4


@pytest.mark.skipif(find_spec("libtpu") is None, reason="libtpu is not installed")
def test_rows_have_what_the_compiler_says(tmp_path):
    options = {"cells": ("simple",), "targets": ("v5e:2x2",)}
    with jax.numpy_rank_promotion("allow"):  # of a peer
        case, data_parallel = dry(tmp_path, directions=("value_and_grad",), **options)
    rows = {row["name"]: row for row in case["rows"]}
    for name in ("default", "hoisted", "deferred", "product in the loop"):
        assert rows[name]["cycles"] > 0
        assert rows[name]["trips"] == [3, 3]
    assert rows["default"]["bound"] == "latency"
    assert "all-reduce" in data_parallel["rows"][1]["note"]


def test_the_summary_compares_the_default_with_the_fewest():
    rows = [{"name": n, "cycles": c} for n, c in (("default", 12), ("deferred", 10))]
    labels = {"cell": "lstm", "shape": "1,1,1,1", "target": "v5e:2x2"}
    found = Aot().summary([Case(labels, rows, "default")])
    assert found.rows[0]["fewest"] == "deferred"
    (remark,) = found.remarks
    assert "estimated at 1.20 times the cycles of 'deferred'" in remark


def test_cells_are_named():
    with pytest.raises(ValueError, match="Expected --cells among lstm, gru"):
        Aot(cells=("elman",))
    assert "aot" in SUITES
    assert "aot" not in MEASURED


@pytest.fixture(scope="module")
def committed():
    return json.loads((ROOT / "benchmarks/results/aot-cpu-1-cores.json").read_text())


def test_the_committed_results_have_every_cell_backend_and_target(committed):
    """As `--all` plans them today; each row has numbers, or why there are none."""
    assert committed["settings"]["all"]
    assert re.match(r"\d{4}-\d\d-\d\d", committed["machine"]["date"])
    for package in ("jax", "libtpu", "jax-cuda12-pjrt"):
        assert re.fullmatch(r"[\d.]+", committed["machine"]["versions"][package])
    found = {where(case["labels"]): case["rows"] for case in committed["cases"]}
    planned = {where(plan.labels): plan.rows for plan in Aot(all=True)._plans()}
    assert found.keys() == planned.keys()
    for labels, rows in planned.items():
        assert [row["name"] for row in found[labels]] == [row.args[0] for row in rows]
        for row in found[labels]:
            if row["name"] == "pallas" and "h100" in labels:
                assert "the kernels are for TPUs" in row["note"]
            else:
                assert row["intensity"] > 0, (labels, row["name"])
                assert "NOT fit" not in row["note"]


@pytest.mark.parametrize("shape", LENGTHS)
def test_the_default_is_estimated_no_dearer_than_the_rest(shape, committed):
    """In the committed results, of the LSTM at both lengths."""
    labels = {"cell": "lstm", "shape": shape, "target": COMPARED}
    labels["direction"] = "value_and_grad"
    (rows,) = (c["rows"] for c in committed["cases"] if c["labels"] == labels)
    cycles = {row["name"]: row["cycles"] for row in rows}
    others = ("deferred", "hoisted", "product in the loop")
    assert cycles["default"] <= min(cycles[name] for name in others)


def test_rates_are_shares_of_the_published_peaks(monkeypatch):
    device = {"device": "NVIDIA H100 80GB HBM3"}
    monkeypatch.setattr("benchmarks._machine.describe", lambda: device)
    peaks = PEAKS[device["device"]]
    work = Work(flops=peaks.flops, bytes=peaks.bandwidth / 2, tokens=1000)
    assert _compare._rates(work, 2.0) == {
        "tokens_per_second": 500,
        "flops_percent": pytest.approx(50),
        "bandwidth_percent": pytest.approx(25),
    }
    device["device"] = "of which nothing is published"
    assert _compare._rates(work, 2.0).keys() == {"tokens_per_second"}


class TestRented:
    @pytest.fixture
    def pytest_runs(self, monkeypatch):
        """Pytest, as if it had run on a GPU."""
        calls = []

        def python(*arguments, **variables):
            calls.append((arguments, variables))
            for argument in arguments:
                if argument.startswith("--junit-xml="):
                    Path(argument.partition("=")[2]).write_text(REPORT)
            return subprocess.CompletedProcess(arguments, 0, "gpu NVIDIA H100 PCIe\n")

        monkeypatch.setattr(_device_tests, "_python", python)
        return calls

    def test_counts(self, pytest_runs):
        assert _device_tests.run(dry_run=False) == {
            "platform": "gpu",
            "device": "NVIDIA H100 PCIe",
            "passed": 2,
            "failed": 2,
            "skipped": 1,
            "seconds": 12.5,
            "names": ["tests.a::two", "tests.a::three"],
        }
        arguments, variables = pytest_runs[1]
        assert variables == {"RNNJAX_TEST_PLATFORM": "gpu"}
        assert "device and not slow" in arguments

    def test_pytest_that_does_not_run(self, monkeypatch):
        done = subprocess.CompletedProcess((), 1, "cpu cpu", "No module named pytest")
        monkeypatch.setattr(_device_tests, "_python", lambda *a, **v: done)
        with pytest.raises(RuntimeError, match="pytest did not run.*No module named"):
            _device_tests.run(dry_run=False)

    def test_tests_and_suites_are_one_json_and_one_page(self, pytest_runs, tmp_path):
        arguments = f"--tests --dry-run --suites devices --output {tmp_path}"
        with pytest.raises(SystemExit, match="failed: tests"):
            command_line.main(arguments.split())
        (stored,) = tmp_path.glob("all-*-dry-run.json")
        report = json.loads(stored.read_text())
        assert report["tests"]["failed"] == 2
        assert [r["suite"] for r in report["results"]] == ["devices"]
        page = stored.with_suffix(".html").read_text()
        assert "2 passed, 2 failed, 1 skipped (NVIDIA H100 PCIe, 12 s)" in page
        assert "tests.a::three" in page

    def test_the_command_itself_leaves_the_device_alone(self):
        """A TPU is one process's: that of the tests, then that of each suite."""
        program = (
            "import benchmarks.__main__, benchmarks._all\n"
            "from jax._src import xla_bridge\n"
            "assert not xla_bridge.backends_are_initialized()"
        )
        done = _device_tests._python("-c", program)
        assert done.returncode == 0, done.stderr

    @pytest.mark.slow
    def test_the_device_tests_run_on_this_cpu(self):
        found = _device_tests.run(dry_run=True)
        assert found["platform"] == "cpu"
        assert found["passed"] == 3
        assert not found["failed"]


def test_kernels_are_taken_by_themselves_only_where_a_passed_run_is_on_record():
    """`PASSED` is what an installation has of the results in this repository."""
    on_record = set()
    for path in (ROOT / "benchmarks/results").glob("all-*.json"):
        if path.stem.endswith("dry-run"):  # of tiny sizes, a few tests
            continue
        tests = json.loads(path.read_text()).get("tests") or {"platform": "cpu"}
        if tests["platform"] == "tpu" and tests["passed"] and not tests["failed"]:
            on_record.add(tests["device"])
    assert on_record >= PASSED
