"""Bundles per step of the Pallas kernels: ``python -m benchmarks.kernels``.

The TPU compiler writes down the program of a kernel: instruction words of several
operations each, *bundles*, issued one a cycle where nothing is waited for. Their number
in the time loops is counted here, on a machine without a TPU, and set beside what the
arithmetic of the step and the reading of its weights from VMEM would take. That is not
a time: waiting for memory outside of the chip does not show in it.

Needs libtpu (``pip install 'rnnjax[aot]'``).
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

VARIABLES = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
TOPOLOGIES = {"v5e": "v5e:2x2", "v6e": "v6e:2x2"}
LENGTH, FEATURES = 256, 128
GATES = {"simple": 1, "lstm": 4, "gru": 3, "gru_reset_after": 3}
# Multiplications and additions a cycle: systolic arrays of 128 x 128 and 256 x 256.
PRODUCTS = {"v5e": 4 * 128**2, "v6e": 2 * 256**2}
# Three loads a bundle of a register of 4 KiB, as the compiler's dump says.
LOADED = 3 * 4096


class Case(NamedTuple):
    """A recurrence."""

    cell: str
    hidden: int
    batch: int
    dtype: str


CASES = (
    Case("lstm", 256, 16, "float32"),
    Case("lstm", 256, 16, "bfloat16"),
    Case("lstm", 256, 32, "float32"),
    Case("lstm", 256, 32, "bfloat16"),
    Case("gru", 256, 32, "float32"),
    Case("gru", 256, 32, "bfloat16"),
    Case("gru_reset_after", 256, 32, "float32"),
    Case("gru_reset_after", 256, 32, "bfloat16"),
    Case("simple", 256, 32, "float32"),
    Case("simple", 256, 32, "bfloat16"),
    Case("lstm", 512, 32, "bfloat16"),
    Case("lstm", 1024, 32, "bfloat16"),
)


def main(arguments: list[str] | None = None) -> None:
    """Compiles the cases, prints a line for each and writes JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernels",
        description=(__doc__ or "").partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--target", choices=TOPOLOGIES, default="v5e")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument(
        "--only",
        type=int,
        nargs="+",
        default=range(len(CASES)),
        metavar="N",
        help="these cases, counted from 0; others stay in the JSON as they are",
    )
    given = parser.parse_args(arguments)
    if "jax" in sys.modules:
        sys.exit("JAX was imported before the compiler could be told to write dumps.")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(VARIABLES)
        dump = f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true"
        os.environ["LIBTPU_INIT_ARGS"] = dump
        for number in given.only:
            row = measure(given.target, CASES[number], Path(folder))
            print(line(row), flush=True)
            print(write(given.target, row, given.output), flush=True)


def write(target: str, row: dict[str, object], folder: Path) -> Path:
    """Puts a row into the JSON of its target, in the place of an older one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"kernels-{target}.json"
    names = Case._fields
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    by_case = {tuple(old[name] for name in names): old for old in rows}
    by_case[tuple(row[name] for name in names)] = row
    found = {
        "what": "bundles of the compiler's dump, a step; no run on a device",
        "target": target,
        "date": datetime.date.today().isoformat(),
        "versions": {
            name: importlib.metadata.version(name) for name in ("jax", "libtpu")
        },
        "rows": [by_case[case] for case in CASES if case in by_case],
    }
    path.write_text(json.dumps(found, indent=1) + "\n")
    return path


def measure(target: str, case: Case, folder: Path) -> dict[str, object]:
    """The bundles of one case, and its limits."""
    for old in folder.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    how = compile_case(target, case)
    unroll, side = (
        int(re.search(pattern, how)[1])  # type: ignore[index]
        for pattern in (r"unrolled by (\d+)", r"factors of (\d+) steps")
    )
    (walk,) = loops(dumped(folder, "rnnjax_forward"))
    factors, back = loops(dumped(folder, "rnnjax_backward"))
    numbers = GATES[case.cell] * case.hidden**2
    size = numbers * (2 if case.dtype == "bfloat16" else 4)
    forward = case.batch * numbers / PRODUCTS[target]
    return case._asdict() | {
        "forward": walk / unroll,
        "forward_arithmetic": forward,
        "forward_vmem": size / LOADED,
        "backward": back / unroll + factors / side,
        "backward_of_it_factors": factors / side,
        "backward_arithmetic": 2 * forward,
        "backward_vmem": size / LOADED * (1 + 1 / side),
        "cut": how,
    }


def compile_case(target: str, case: Case) -> str:
    """Has the compiler make a value and gradient; how the kernels are cut."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    import rnnjax

    make = getattr(rnnjax, case.cell.removesuffix("_reset_after"))
    options = {"reset_after": True} if case.cell.endswith("_reset_after") else {}
    rnn = make(
        case.hidden,
        schedule=rnnjax.Schedule(backend="pallas"),
        dtype=jnp.dtype(case.dtype),
        **options,
    )
    device = topologies.get_topology_desc(TOPOLOGIES[target], "tpu").devices[0]
    mesh = Mesh(np.array([device]), ("device",))
    whole = NamedSharding(mesh, PartitionSpec())

    def loss(params, xs):
        return jnp.sum(rnn.unroll(params, None, xs)[1].astype(jnp.float32))

    shape = (LENGTH, case.batch, FEATURES)
    xs = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=whole)
    params = jax.eval_shape(rnn.init, jax.random.key(0), xs)
    params = jax.tree.map(
        lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=whole), params
    )
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        how = rnnjax.explain(rnn, params, xs).reasons[0]
        traced = jax.jit(jax.value_and_grad(loss)).trace(params, xs)
        traced.lower(lowering_platforms=("tpu",)).compile()
    return how


def dumped(folder: Path, name: str) -> str:
    """The final program of a kernel."""
    files = [
        path
        for path in folder.rglob(f"*{name}*-final_bundles.txt")
        if "schedule-analysis" not in path.name
    ]
    if not files:
        raise RuntimeError(
            f"Expected a dump of {name} from the compiler and found none: this version "
            f"of libtpu does not know --xla_jf_dump_to."
        )
    return max(files, key=lambda path: path.stat().st_size).read_text()


def loops(program: str) -> list[int]:
    """The number of bundles of each innermost loop, in order.

    A line of a bundle has its address, a label where a loop begins, and one ``>`` a
    loop that it is in.
    """
    found: list[tuple[int, int]] = []
    for label, depth in _bundles(program):
        if label == "LB":
            found.append((depth, 0))
        if found and depth == found[-1][0]:
            found[-1] = depth, found[-1][1] + 1
    deepest = max(depth for depth, _ in found)
    return [count for depth, count in found if depth == deepest]


def _bundles(program: str) -> Iterator[tuple[str, int]]:
    pattern = re.compile(r"\s*(?:0x[0-9a-f]+|0)\s+(LB|LH|LE|PB|PF|CT)?\s*:([\s>]*)\{")
    for text in program.splitlines():
        match = pattern.match(text)
        if match:
            yield match[1] or "", match[2].count(">")


def line(row: dict[str, object]) -> str:
    """A row of the table."""
    name = "{cell} H {hidden} B {batch} {dtype}".format(**row)
    parts = [
        "{}: {:.0f} (arithmetic {:.0f}, VMEM {:.0f})".format(
            way, *(row[f"{way}{what}"] for what in ("", "_arithmetic", "_vmem"))
        )
        for way in ("forward", "backward")
    ]
    return f"{name:36} {'; '.join(parts)}"


if __name__ == "__main__":
    main()
