"""Dry runs of `benchmarks/`: fair, complete, and honest about what is missing."""

import itertools
import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import __main__ as command_line
from benchmarks import _all, _limits, _machine, _page, _problem, _run, _tasks, _timing
from benchmarks import peers as peer_library
from benchmarks._compare import LIMIT, PRODUCTS
from benchmarks._problem import GATES, Shape
from benchmarks._tasks import Disagreement
from benchmarks.peers import _lax
from benchmarks.suites import (
    SUITES,
    Devices,
    Generic,
    Parallel,
    Processes,
    Unroll,
    memory,
)
from benchmarks.suites.scaling import exponent

# Peers add a bias to a batch, which the other tests forbid.
pytestmark = pytest.mark.interop
SHAPE = Shape.parse(_problem.TINY)


def dry(suite, tmp_path, **options):
    return suite(dry_run=True, output=tmp_path, **options)


def rows_by_name(case):
    return {row["name"]: row for row in case["rows"]}


def flops(jaxpr):
    """Of all products in a jaxpr, those in a scan once a step."""
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            lhs, out = eqn.invars[0].aval, eqn.outvars[0].aval
            total += 2 * out.size * np.prod([lhs.shape[axis] for axis in contracted])
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", None)
            if inner is not None:
                total += eqn.params.get("length", 1) * flops(inner)
    return total


def test_unroll_writes_tables_json_and_picture(tmp_path, capsys):
    run = dry(Unroll, tmp_path, cells=("simple",), peers=("lax",))
    result = _run.run(run)
    assert result["settings"]["rounds"] == 2
    directions = [case["labels"]["direction"] for case in result["cases"]]
    assert directions == ["forward", "value_and_grad"]
    for case in result["cases"]:
        rows = rows_by_name(case)
        ours, peer = rows["rnnjax"], rows["lax.scan"]
        assert list(rows) == ["rnnjax", "lax.scan", PRODUCTS, LIMIT]
        assert peer["difference"] < 1e-5
        ratio = peer["min_seconds"] / ours["min_seconds"]
        assert peer["ratio_of_minima"] == pytest.approx(ratio)
        assert ours["tokens_per_second"] == pytest.approx(6 / ours["min_seconds"])
        assert "gradient" in ours["note"]
    (stored,) = tmp_path.glob("unroll-cpu-*-cores-dry-run.json")
    assert json.loads(stored.read_text())["machine"]["versions"]["jax"]
    assert stored.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    for part in (f"simple, {_problem.TINY}, forward", "ratio of min", "geometric mean"):
        assert part in shown


# The suites compare all of them again before they time anything.
QUICK = [
    ("gru_reset_after", "nnx", "value_and_grad"),
    ("gru_reset_after", "torch", "value_and_grad"),
    *(("lstm", name, "step") for name in peer_library.NAMES),
    *(("gru", name, "forward") for name in ("lax", "haiku")),
]
ALL = itertools.product(GATES, peer_library.NAMES, ("value_and_grad", "step"))
CASES = [
    *QUICK,
    *(pytest.param(*c, marks=pytest.mark.slow) for c in ALL if c not in QUICK),
]


@pytest.mark.parametrize(("cell", "name", "kind"), CASES)
def test_peer_computes_the_same(cell, name, kind):
    params, xs = _problem.given(cell, SHAPE)
    try:
        task = peer_library.task(name, kind, cell, params, xs)
    except _tasks.Absent as absent:
        pytest.skip(str(absent))
    ours = peer_library.task("rnnjax", kind, cell, params, xs).results()
    assert _tasks.difference(name, task, ours, where="here") < 1e-5


def test_a_peer_that_disagrees_is_an_error(tmp_path, monkeypatch):
    made = _lax.PROGRAMS["lax"]["simple"]

    def wrong(features, hidden):
        program = made(features, hidden)
        changed = lambda params: jax.tree.map(lambda a: 1.01 * a, params)  # noqa: E731
        return program._replace(to_weights=changed)

    monkeypatch.setitem(_lax.PROGRAMS["lax"], "simple", wrong)
    suite = dry(
        Unroll, tmp_path, cells=("simple",), directions=("forward",), peers=("lax",)
    )
    with pytest.raises(Disagreement, match=r"simple, 3,2,4,8, forward: lax.scan diff"):
        _run.run(suite)


def test_a_wrong_gradient_is_an_error():
    """Also where the outputs agree."""
    params, xs = _problem.given("simple", SHAPE)
    right = peer_library.program("lax", "simple", SHAPE.features, SHAPE.hidden)

    def unroll(weights, xs):
        kernel = jax.lax.stop_gradient(weights["recurrent"])
        return right.unroll(weights | {"recurrent": kernel}, xs)

    wrong = right._replace(unroll=unroll)
    expected = _tasks.value_and_grad(right, params, xs).results()
    task = _tasks.value_and_grad(wrong, params, xs)
    with pytest.raises(Disagreement, match=r"\['recurrent'\]\['kernel'\] by 1.0e\+00"):
        _tasks.difference("wrong", task, expected, where="here")


def test_a_peer_that_is_not_installed_is_a_named_row(tmp_path, monkeypatch):
    gone = peer_library.ENTRIES["haiku"]._replace(module="_gone", package="benchmarks")
    monkeypatch.setitem(peer_library.ENTRIES, "haiku", gone)
    suite = dry(
        Unroll, tmp_path, cells=("simple",), directions=("forward",), peers=("haiku",)
    )
    (case,) = _run.run(suite)["cases"]
    assert rows_by_name(case)["haiku"] == {
        "name": "haiku",
        "note": "benchmarks is not installed",
    }


@pytest.mark.parametrize("gradient", [False, True])
def test_work_counts_the_products(gradient):
    """Of the plain loop, of the products alone, and in closed form."""
    shape = Shape(5, 2, 3, 4)
    for cell, gates in GATES.items():
        params, xs = _problem.given(cell, shape)
        program = peer_library.program("lax_hoisted", cell, 3, 4)
        f = _tasks.gradient_of(program) if gradient else program.unroll
        work = _problem.work(gates, shape, gradient=gradient)
        assert flops(jax.make_jaxpr(f)(params, xs).jaxpr) == work.flops
        f, args = _limits.products(gates, shape, gradient=gradient)
        assert flops(jax.make_jaxpr(f)(*args).jaxpr) == work.flops
    assert work.tokens == 10


def test_generic(tmp_path):
    suite = dry(Generic, tmp_path, libraries=("nnx",), directions=("forward",))
    user_cell, library = map(rows_by_name, _run.run(suite)["cases"])
    assert user_cell["lax.scan + autodiff"]["difference"] < 1e-5
    assert library["rnnjax.scan"]["ratio_of_minima"] == 1
    assert library["lax.scan"]["ratio_of_minima"] > 0


def test_memory(tmp_path, monkeypatch):
    schedules = memory.SCHEDULES
    kept = {name: schedules[name] for name in ("autodiff", "deferred")}
    kept["no such"] = {"remat": "no such"}
    monkeypatch.setattr(memory, "SCHEDULES", kept)
    result = _run.run(dry(memory.Memory, tmp_path, cells=(), long_cell="simple"))
    short, long = map(rows_by_name, result["cases"])
    assert long["autodiff"]["temporary_bytes"] > short["autodiff"]["temporary_bytes"]
    assert long["autodiff"]["ratio_of_bytes"] == 1
    assert "expected one of" in long["no such"]["note"]
    (growth,) = [r for r in result["summary"] if r["Schedule"] == "autodiff"]
    assert growth["times the bytes"] > 1


def test_parallel(tmp_path):
    cases = _run.run(dry(Parallel, tmp_path, directions=("forward",)))["cases"]
    linear, newton = map(rows_by_name, cases)
    assert linear["lax.associative_scan"]["min_seconds"] > 0
    for row in linear.values():
        assert "min_seconds" in row or row["note"]
    for name in ("full", "diagonal"):
        row = newton[f"rnnjax.newton_scan, {name}"]
        assert row["ratio_of_minima"] > 0
        assert "iterations" in row["note"]


def test_all_writes_one_json_and_one_page(tmp_path, monkeypatch, capsys):
    """`devices` runs; `memory` is made to fail, as page and exit code say."""
    in_process = _all._in_process_of_its_own

    def run(suite):
        if suite.name == "memory":
            raise RuntimeError("no <memory>")
        return in_process(suite)

    monkeypatch.setattr(_all, "_in_process_of_its_own", run)
    with pytest.raises(SystemExit, match="failed: memory"):
        command_line.main(
            f"--dry-run --suites devices memory --output {tmp_path}".split()
        )
    (stored,) = tmp_path.glob("all-cpu-*-dry-run.json")
    report = json.loads(stored.read_text())
    assert list(report["failures"]) == ["memory"]
    (result,) = report["results"]
    assert result["suite"] == "devices"
    assert result["cases"][0]["labels"]["note"] == "emulated, for correctness only"
    names = [row["name"] for row in result["cases"][0]["rows"]]
    assert names == ["one device", "jit + NamedSharding", "shard_map", "pmap"]
    page = stored.with_suffix(".html").read_text()
    for part in ("A dry run", "memory: failed", "no &lt;memory&gt;", "shard_map"):
        assert part in page
    assert not re.search(r"""(src|href)=['"](?!data:)""", page)


def test_page_embeds_the_pictures():
    rows = [{"name": "a", "min_seconds": 1.0, "ratio_of_minima": 1.0}]
    result = {
        "suite": "unroll",
        "about": "About.\n\nMore.",
        "machine": _machine.describe(),
        "settings": {"dry_run": False},
        "summary": [],
        "remarks": [],
        "plots": [plot._asdict() for plot in Unroll.plots],
        "cases": [
            {
                "labels": {"cell": "lstm", "shape": "1,1,1,1", "direction": "forward"},
                "rows": rows,
                "reference": "a",
            }
        ],
    }
    page = _page.page([result], {})
    assert "data:image/png;base64,iVBOR" in page
    assert "dry run" not in page


def test_race_lets_all_run_in_every_round_in_changing_order():
    turns = []
    runs = {name: lambda name=name: turns.append(name) for name in "abc"}
    times = _timing.race(runs, 6, repeat=False)
    assert [len(found) for found in times.values()] == [6, 6, 6]
    rounds = [turns[i : i + 3] for i in range(0, len(turns), 3)]
    assert all(sorted(found) == list("abc") for found in rounds)
    assert len(set(map(tuple, rounds))) > 1


def test_statistics_are_ratios_to_the_reference():
    found = _timing.statistics([2.0, 3.0, 8.0], [1.0, 2.0, 2.0])
    assert found["ratio_of_minima"] == 2
    assert found["ratio_of_medians"] == 1.5
    assert found["ratio_quartiles"] == [1.75, 3.0]


def test_exponent_of_a_power_law():
    assert exponent([(x, 3 * x**1.5) for x in (1, 2, 8)]) == pytest.approx(1.5)
    assert exponent([(1, 1.0)]) is None


def test_memory_that_is_not_there_is_an_absence(monkeypatch):
    monkeypatch.setattr(_tasks, "free_bytes", lambda: 10)
    with pytest.raises(_tasks.Absent, match="needs 0.0 GB where 0.0 are free"):
        _tasks.compiled(lambda x: jnp.outer(x, x), jnp.ones(8))


class TestCommandLine:
    def test_help_names_every_suite(self, capsys):
        with pytest.raises(SystemExit, match="0"):
            command_line.main(["--help"])
        shown = capsys.readouterr().out
        for name in ("all", *SUITES):
            assert f"• {name}" in shown

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("unroll --shapes 1,2", "Expected a shape T,B,D,H"),
            ("unroll --rounds 0", "Expected --rounds at least 1, got 0"),
            ("all --suites no_such", "Expected --suites among unroll"),
        ],
    )
    def test_bad_values_are_named(self, arguments, message, capsys):
        with pytest.raises(SystemExit, match="2"):
            command_line.main(arguments.split())
        shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
        assert message in shown

    def test_missing_extra_names_the_pip_line(self):
        code = (
            "import sys; sys.modules['tyro'] = None\n"
            "from benchmarks.__main__ import main; main([])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "pip install -e '.[bench]'" in done.stderr
        assert "Traceback" not in done.stderr


def test_devices_counts():
    from benchmarks.suites.devices import _counts

    assert _counts(1) == [1]
    assert _counts(6) == [1, 2, 4, 6]
    assert Devices().tiny().counts == (2,)


@pytest.mark.slow
def test_processes_are_started_and_timed(tmp_path):
    result = _run.run(dry(Processes, tmp_path))
    (case,) = result["cases"]
    assert [row["name"] for row in case["rows"]] == ["alone", "data parallel"]
    for row in case["rows"]:
        assert row["tokens_per_second"] == pytest.approx(16 / row["min_seconds"])
    assert result["summary"][0]["processes"] == 2
