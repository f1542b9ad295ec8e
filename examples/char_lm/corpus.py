"""The text: docstrings of the installed packages, or a file of the user's own.

The default corpus is prose that every installation of JAX already has: the docstrings
of the standard library, NumPy, SciPy and JAX, read with ``ast`` and never imported.
Files of tests are left out; docstrings that NumPy and SciPy attach by calls of
``add_newdoc`` are taken in. A paragraph counts once, in the first module that has it,
so no paragraph stands in two splits. Modules (files) are put in the order of the
SHA-256 of their names; the first ones, whole, are the test split, the next ones the
development split, and all others are for training.
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .config import InputError

PACKAGES = ("numpy", "scipy", "jax")
TEST_CHARACTERS = 500_000
DEV_CHARACTERS = 250_000
MINIMUM_CHARACTERS = 2_000
EXTRACTION_VERSION = 1

SKIPPED_FOLDERS = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
_PARAGRAPH_BREAK = re.compile(r"\n\s*\n")
_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


@dataclass(frozen=True)
class Corpus:
    """Three disjoint texts and where they come from.

    Attributes:
        train: text the model and the baselines learn from.
        dev: text for every choice (early looks, weights of the baselines).
        test: held-out text, used once, at the end.
        source: one line that says what the text is.
        versions: versions of what the text was read from.
        sha256: hash of the three texts.
        rebuild: the command that makes the same text available.
    """

    train: str
    dev: str
    test: str
    source: str
    versions: dict[str, str]
    sha256: str
    rebuild: str


def load_corpus(data: Path | None = None) -> Corpus:
    """Loads the docstring corpus, or the user's own text.

    Args:
        data: None for the docstring corpus; else a UTF-8 text file, which is split in
            order into 90 % training, 5 % development and 5 % test text; or a folder
            with files ``train.txt``, ``valid.txt`` and ``test.txt`` (a prefix such as
            ``ptb.`` is allowed).

    Returns:
        The corpus.

    Raises:
        FileNotFoundError: ``data`` or one of its files does not exist.
        ValueError: a file is not UTF-8 text or holds too little of it.
    """
    if data is None:
        return _docstring_corpus()
    if data.is_dir():
        parts = [_read_text(_find_split(data, name)) for name in _SPLIT_FILES]
        source = f"{data.name}/ (its own three files)"
    else:
        text = _read_text(data)
        cuts = len(text) * 90 // 100, len(text) * 95 // 100
        parts = [text[: cuts[0]], text[cuts[0] : cuts[1]], text[cuts[1] :]]
        source = f"{data.name}, in order 90 % / 5 % / 5 %"
    digest = _digest(parts)
    versions = {"python": platform.python_version()}
    return Corpus(*parts, source, versions, digest, rebuild=f"--data {data.name}")


def describe(corpus: Corpus) -> str:
    """Says what the corpus is, in a few lines."""
    sizes = ", ".join(
        f"{name} {len(getattr(corpus, name)):,}" for name in ("train", "dev", "test")
    )
    versions = ", ".join(f"{name} {v}" for name, v in corpus.versions.items())
    return (
        f"corpus   {corpus.source}\n"
        f"         characters: {sizes}\n"
        f"         versions: {versions}\n"
        f"         sha256: {corpus.sha256}\n"
        f"         rebuilt by: {corpus.rebuild}"
    )


# --- The user's own text -------------------------------------------------------------

_SPLIT_FILES = ("train.txt", "valid.txt", "test.txt")


def _find_split(folder: Path, name: str) -> Path:
    found = sorted(folder.glob(f"*{name}"))
    if len(found) != 1:
        raise FileNotFoundError(
            f"Expected exactly one file named *{name} in {folder}, got {len(found)}: "
            "give a folder with train.txt, valid.txt and test.txt, or one text file."
        )
    return found[0]


def _read_text(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such file. --data expects a UTF-8 text file of at least "
            f"{MINIMUM_CHARACTERS:,} characters."
        )
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line} (byte {error.start:,}): expected UTF-8 text, got "
            f"the byte 0x{raw[error.start]:02x} ({error.reason}). Convert the file "
            "first, for example with `iconv -t utf-8`."
        ) from None
    if len(text) < MINIMUM_CHARACTERS:
        raise InputError(
            f"{path}: expected at least {MINIMUM_CHARACTERS:,} characters of UTF-8 "
            f"text, got {len(text):,}. A language model needs more to learn from."
        )
    return text


# --- The docstring corpus ------------------------------------------------------------


def _docstring_corpus() -> Corpus:
    versions = {"python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in PACKAGES}
    modules = _cached_modules(versions)
    parts = split_modules(modules)
    pins = " ".join(f"{name}=={versions[name]}" for name in PACKAGES)
    return Corpus(
        *parts,
        source="docstrings of the standard library, numpy, scipy and jax",
        versions=versions,
        sha256=_digest(parts),
        rebuild=f"pip install {pins}  (Python {versions['python']})",
    )


def split_modules(
    modules: dict[str, str],
    test_characters: int = TEST_CHARACTERS,
    dev_characters: int = DEV_CHARACTERS,
) -> tuple[str, str, str]:
    """Splits whole modules by the hash of their names.

    Args:
        modules: text by module name.
        test_characters: modules go to the test split until it has at least this many.
        dev_characters: then to the development split until it has this many.

    Returns:
        The training, development and test texts.
    """
    parts: dict[str, list[str]] = {"test": [], "dev": [], "train": []}
    sizes = {"test": 0, "dev": 0}
    for name in sorted(modules, key=lambda n: hashlib.sha256(n.encode()).digest()):
        if sizes["test"] < test_characters:
            part = "test"
        elif sizes["dev"] < dev_characters:
            part = "dev"
        else:
            part = "train"
        parts[part].append(modules[name])
        if part in sizes:
            sizes[part] += len(modules[name])
    return "".join(parts["train"]), "".join(parts["dev"]), "".join(parts["test"])


def extract_modules(roots: dict[str, Path]) -> dict[str, str]:
    """Extracts the docstrings of every module below the given folders.

    Args:
        roots: folder by the name of the package whose top folder it is.

    Returns:
        Text by module name; modules without a new paragraph are left out.
    """
    seen: set[str] = set()
    modules = {}
    for package, root in roots.items():
        for path in sorted(root.rglob("*.py")):
            relative = path.relative_to(root)
            if SKIPPED_FOLDERS.intersection(relative.parts):
                continue
            paragraphs = []
            for docstring in docstrings(path):
                for paragraph in _PARAGRAPH_BREAK.split(docstring):
                    words = " ".join(paragraph.split())
                    if words and words not in seen:
                        seen.add(words)
                        paragraphs.append(paragraph.rstrip() + "\n\n")
            if paragraphs:
                name = ".".join((package, *relative.with_suffix("").parts))
                modules[name] = "".join(paragraphs)
    return modules


def docstrings(path: Path) -> Iterator[str]:
    """Yields the docstrings of a file of Python, which is read and never run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Invalid escapes in other people's code.
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # Templates and files for other interpreters.
        return
    for text in _statement_docstrings(tree):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:  # A lone surrogate is no Unicode character.
            continue
        yield text.replace("\r\n", "\n").strip("\n")


def _statement_docstrings(node: ast.AST) -> Iterator[str]:
    """Yields docstrings in the order of the source, visiting statements only."""
    if isinstance(
        node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    ):
        docstring = ast.get_docstring(node)
        if docstring:
            yield docstring
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        function = node.value.func
        name = getattr(function, "attr", getattr(function, "id", ""))
        if name == "add_newdoc":
            for child in ast.walk(node.value):
                if (
                    isinstance(child, ast.Constant)
                    and isinstance(child.value, str)
                    and "\n" in child.value
                ):
                    yield inspect.cleandoc(child.value)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _STATEMENTS):
            yield from _statement_docstrings(child)


def package_roots() -> dict[str, Path]:
    """The folders of the standard library and of the packages of the corpus."""
    roots = {"stdlib": Path(sysconfig.get_paths()["stdlib"])}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(
                f"The docstring corpus reads {name}, which is not installed: "
                f"pip install {name}"
            )
        roots[name] = Path(spec.submodule_search_locations[0])
    return roots


def _cached_modules(versions: dict[str, str]) -> dict[str, str]:
    """Extracts once per set of versions; a damaged or stale cache is made anew."""
    roots = package_roots()
    key = json.dumps(
        [EXTRACTION_VERSION, versions, {k: str(v) for k, v in roots.items()}],
        sort_keys=True,
    )
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = f"char_lm-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json.gz"
    path = base / "rnnjax" / name
    try:
        stored = json.loads(gzip.decompress(path.read_bytes()))
        if stored["sha256"] == _digest(stored["modules"].values()):
            return stored["modules"]
    except (OSError, EOFError, ValueError, KeyError, AttributeError, TypeError):
        pass  # No cache yet, or not one of ours.
    modules = extract_modules(roots)
    stored = {"sha256": _digest(modules.values()), "modules": modules}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(gzip.compress(json.dumps(stored).encode(), 4, mtime=0))
        os.replace(partial, path)
    except OSError:
        pass  # A read-only home costs the extraction again, nothing else.
    return modules


def _digest(texts) -> str:
    digest = hashlib.sha256()
    for text in texts:
        raw = text.encode("utf-8")
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()
