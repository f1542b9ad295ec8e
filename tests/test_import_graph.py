"""Who imports whom: the direction of the design, read from the source by `ast`.

base <- {initializers, cells, unroll} <- combinators <- _aliases <- __init__, and all
the rest of the package uses the public API only.
"""

import ast
import graphlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import rnnjax

ROOT = Path(__file__).parents[1]

# A part of the core may import parts of its own row and of the rows above it.
CORE = [
    {"_compat", "_extras"},
    {"base"},
    {"_checks", "_norm", "_by_hand", "_wide"},
    {"kernels"},
    {"initializers", "cells", "unroll"},
    {"combinators"},
    {"_aliases", "_explain", "_summary"},
    {"__init__"},
]
RANK = {part: rank for rank, row in enumerate(CORE) for part in row}
# Private helpers that every part of the package may use.
SHARED = ("rnnjax._checks", "rnnjax._compat", "rnnjax._extras", "rnnjax._wide")


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): path
    for folder in ("rnnjax", "examples", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
TREES = {module: ast.parse(path.read_text()) for module, path in MODULES.items()}


def part_of(module):
    """The file or folder of rnnjax/ that `module` lies in; None outside of it."""
    folder, part, *_ = [*module.split("."), "__init__"]
    return part if folder == "rnnjax" else None


OURS = [module for module in MODULES if part_of(module)]
CORE_MODULES = [module for module in MODULES if part_of(module) in RANK]
OTHER_MODULES = [module for module in MODULES if part_of(module) not in RANK]


def imports(module):
    """Pairs (dotted name, local name) of all imports; of `from a import b`, a.b."""
    is_package = MODULES[module].name == "__init__.py"
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield alias.name, alias.asname or top
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            source = importlib.util.resolve_name(source, package)
            for alias in node.names:
                yield f"{source}.{alias.name}", alias.asname or alias.name


def used_names(module):
    """Dotted names of what `module` imports and of the attributes it takes of it."""
    local = {}
    for name, local_name in imports(module):
        yield name
        local[local_name] = name if local_name != name.partition(".")[0] else local_name
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Attribute):
            root, _, rest = ast.unparse(node).partition(".")
            if root in local:
                yield f"{local[root]}.{rest}"


def defining_module(name):
    """The module of rnnjax that an import of `name` runs."""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def is_private(name):
    parts = name.split(".")
    return any(part.startswith("_") and not part.endswith("__") for part in parts)


@pytest.mark.parametrize("module", CORE_MODULES)
def test_core_imports_in_its_direction(module):
    allowed = {"jax", "numpy", "rnnjax", *sys.stdlib_module_names}
    for name, _ in imports(module):
        top = name.partition(".")[0]
        assert top in allowed, f"{module} imports {name}: the core needs jax alone."
        if top == "rnnjax":
            part = part_of(defining_module(name))
            assert RANK.get(part, len(CORE)) <= RANK[part_of(module)], (
                f"{module} imports {name}, which lies above it."
            )


@pytest.mark.parametrize("module", OTHER_MODULES)
def test_the_rest_uses_the_public_api(module):
    own = ".".join(module.split(".")[:2])
    for name in used_names(module):
        if name.partition(".")[0] != "rnnjax" or name.startswith((own, *SHARED)):
            continue
        assert not is_private(name), f"{module} uses {name}, which is private."
        if name.count(".") == 1 and name not in MODULES:
            public = name.partition(".")[2] in rnnjax.__all__
            assert public, f"{module} uses {name}, which is not in rnnjax.__all__."


def test_there_are_no_cycles():
    graph = {}
    for module in MODULES:
        names = [
            name for name, _ in imports(module) if f"{name}.".startswith("rnnjax.")
        ]
        graph[module] = {defining_module(name) for name in names} - {module}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, naming them


@pytest.mark.parametrize("module", [m for m in OURS if m != "rnnjax._compat"])
def test_unstable_jax_only_in_compat(module):
    for name in used_names(module):
        if name.partition(".")[0] in {"jax", "jaxlib"}:
            unstable = name.startswith("jax.experimental") or is_private(name)
            assert not unstable, f"{module} uses {name}: move it to rnnjax/_compat.py."


@pytest.mark.parametrize("module", OURS)
def test_randomness_is_called_key(module):
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.arguments):
            names = [a.arg for a in (*node.posonlyargs, *node.args, *node.kwonlyargs)]
            assert "rng" not in names, f"{module} calls a parameter `rng`, not `key`."


def test_import_rnnjax_brings_jax_and_the_core_alone():
    code = (
        "import sys, jax, jax.numpy; before = set(sys.modules); import rnnjax;"
        "print(*sorted(set(sys.modules) - before))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    new = run.stdout.split()
    assert "rnnjax.base" in new
    known = {"jax", "jaxlib", *sys.stdlib_module_names}
    others = [name for name in new if not name.startswith("rnnjax")]
    assert [name for name in others if name.partition(".")[0] not in known] == []
    ours = [name for name in new if name.startswith("rnnjax")]
    assert [name for name in ours if part_of(name) not in RANK] == []
