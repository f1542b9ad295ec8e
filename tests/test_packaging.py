"""What an installation has: version, type marker, dependencies, extras."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import rnnjax
from rnnjax import _extras

ROOT = Path(__file__).parents[1]
EXTRAS = {
    *("train", "tensorboard", "flax", "text", "plot", "examples", "test", "bench"),
    *("interop", "aot", "cuda", "tpu", "docs", "dev"),
}


def reached(name, extras, seen):
    """Add to `seen` all that `name[extras]` pulls in, as far as it is installed."""
    try:
        requirements = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return seen
    for requirement in map(Requirement, requirements):
        wanted = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ["", *extras]
        )
        found = (requirement.name.lower(), frozenset(requirement.extras))
        if wanted and found not in seen:
            seen.add(found)
            reached(*found, seen)
    return seen


def test_version_is_that_of_the_metadata():
    assert rnnjax.__version__ == metadata.version("rnnjax")
    assert f"version: {rnnjax.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_package_is_marked_as_typed():
    assert (Path(rnnjax.__file__).parent / "py.typed").is_file()


def test_core_depends_on_jax_alone():
    requirements = map(Requirement, metadata.requires("rnnjax"))
    core = [r.name for r in requirements if "extra" not in str(r.marker)]
    assert core == ["jax"]


def test_extras_are_the_documented_ones():
    assert set(metadata.metadata("rnnjax").get_all("Provides-Extra")) == EXTRAS


@pytest.mark.parametrize("extra", sorted(EXTRAS - {"interop"}))
def test_extra_does_not_reach_torch(extra):
    names = {name for name, _ in reached("rnnjax", [extra], set())}
    assert "jax" in names
    assert "torch" not in names


def test_interop_reaches_torch():
    assert "torch" in {name for name, _ in reached("rnnjax", ["interop"], set())}


def test_require_accepts_what_is_installed():
    _extras.require("jax", "pytest", extra="test")


def test_require_names_the_pip_line():
    message = r"Expected the package no_such_one.*pip install 'rnnjax\[train\]'"
    with pytest.raises(ModuleNotFoundError, match=message):
        _extras.require("jax", "no_such_one", extra="train")


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("training", "optax", "train"),
        ("losses", "optax", "train"),
        ("plotting", "matplotlib", "plot"),
        ("flax", "flax", "flax"),
    ],
)
def test_module_without_its_extra_names_the_pip_line(module, package, extra):
    # None in sys.modules makes a package look like one that is not installed.
    code = f"import sys; sys.modules[{package!r}] = None; import rnnjax.{module}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode != 0
    assert f"pip install 'rnnjax[{extra}]'" in run.stderr


def test_readme_has_the_two_commands():
    readme = (ROOT / "README.md").read_text()
    lines = re.findall(r"^pip install .*", readme, flags=re.MULTILINE)
    assert "pip install -e '.[examples]' && python -m examples.char_lm" in lines
    assert "pip install -e '.[test]' && pytest" in lines
