"""Loaders of the text examples: what they read, and errors that name file and line."""

import struct
import zlib

import pytest

from examples.common.errors import InputError
from examples.g2p import dictionary
from examples.sentiment import reviews
from examples.summarize import texts
from examples.tagging import treebank
from examples.translation import sword, verses
from tests.examples import text_data

# --- g2p -----------------------------------------------------------------------------


def test_dictionary(tmp_path):
    path = text_data.dictionary(tmp_path / "own.dict")
    words = dictionary.read(path)
    first = text_data.words(1)[0]
    spoken = tuple(text_data.PHONES[letter].rstrip("01") for letter in first)
    assert words[first] == [spoken, ("B",)]
    split = dictionary.load(path)
    assert len(split.train) + len(split.dev) + len(split.test) == 60
    assert not {*split.train} & {*split.dev, *split.test}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("word", r"own.dict, line 61: expected a word and its phones, got 'word'"),
        ("word W ER1 DD", "own.dict, line 61: expected phones of the 39 .* got 'DD'"),
    ],
)
def test_bad_dictionaries(tmp_path, line, message):
    path = text_data.dictionary(tmp_path / "own.dict")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:60], line]))
    with pytest.raises(InputError, match=message):
        dictionary.read(path)


def test_a_dictionary_of_few_words(tmp_path):
    path = text_data.dictionary(tmp_path / "own.dict", number=20)
    with pytest.raises(
        InputError, match="own.dict: expected at least 30 words, got 20"
    ):
        dictionary.load(path)


# --- tagging -------------------------------------------------------------------------


def test_treebank(tmp_path):
    path = tmp_path / "own.conllu"
    rows = "1\tA\t_\tX\t_\t_\t_\t_\t_\t_\n1-2\tAB\t_\t_\t_\t_\t_\t_\t_\t_\n"
    path.write_text(f"# a note\n{rows}\n\n{rows}")
    assert treebank.read(path) == [[("A", "X")], [("A", "X")]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\tword\t_\tX", "own.conllu, line 2: expected the 10 columns .* got 4"),
        ("1\tword" + "\t_" * 8, "line 2: expected a word and its tag, got 'word' and"),
    ],
)
def test_bad_treebanks(tmp_path, line, message):
    path = tmp_path / "own.conllu"
    path.write_text(f"# a note\n{line}\n")
    with pytest.raises(InputError, match=message):
        treebank.read(path)


def test_a_treebank_that_is_too_short(tmp_path):
    path = text_data.treebank(tmp_path / "own.conllu", number=5)
    with pytest.raises(InputError, match="at least 30 sentences, got 5"):
        treebank.load(path)


def test_every_tenth_sentence_is_held_out(tmp_path):
    data = treebank.load(text_data.treebank(tmp_path / "own.conllu", number=60))
    assert [len(s) for s in (data.train, data.dev, data.test)] == [48, 6, 6]


def test_most_frequent_tags():
    train = [[("a", "X"), ("a", "Y"), ("a", "Y"), ("b", "X")], [("c", "X")]]
    test = [[("a", "?"), ("b", "?")], [("unseen", "?")]]
    assert treebank.most_frequent(train, test) == [["Y", "X"], ["X"]]


# --- sentiment -----------------------------------------------------------------------


def test_reviews(tmp_path):
    path = tmp_path / "own.csv"
    rows = [f'"It\'s {word}!<br />Bad.",0' for word in text_data.words(40)]
    path.write_text("\n".join(["text,label", *rows, rows[0]]) + "\n")
    data = reviews.load(path)
    assert data.repeated == 1
    assert len(data.train) + len(data.dev) + len(data.test) == 40
    assert data.train[0].words[0] == "it's" and data.train[0].words[2:] == (
        *("!", "bad", "."),
    )
    assert reviews.shorten("abcdefg", 3) == ["a", "b", "g"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("fine,yes", "own.csv, line 2: expected a label 0 or 1, got 'yes'"),
        ("--,1", "own.csv, line 2: expected a review with words, got '--'"),
        ("fine,1", "own.csv: expected at least 30 different reviews"),
    ],
)
def test_bad_reviews(tmp_path, row, message):
    path = tmp_path / "own.csv"
    path.write_text(f"text,label\n{row}\n")
    with pytest.raises(InputError, match=message):
        reviews.load(path)


# --- translation ---------------------------------------------------------------------


def write_module(folder, entries):
    """A module of one block with the entries, and an empty second testament."""
    folder.mkdir()
    for testament, given in (("ot", entries), ("nt", [])):
        raw = [entry.encode() for entry in given]
        places, at = b"", 0
        for entry in raw:
            places += struct.pack("<IIH", 0, at, len(entry))
            at += len(entry)
        block = zlib.compress(b"".join(raw))
        header = struct.pack("<III", 0, len(block), at)
        (folder / f"{testament}.bzs").write_bytes(header)
        (folder / f"{testament}.bzv").write_bytes(places)
        (folder / f"{testament}.bzz").write_bytes(block)
    return folder


def test_sword_module(tmp_path):
    entries = [
        "",
        '<div canonical="true" osisID="Gen" type="book"/> <title>Genesis</title>',
        '<chapter n="1" osisID="Gen.1"/> ',
        '\u00b6 In <w lemma="x">the</w> beginning &amp; after.<note>or: at</note> ',
        'The end.<div type="colophon" sID="a"/>written from Rome.<div eID="a"/>',
    ]
    folder = write_module(tmp_path / "module", entries)
    assert list(sword.read_module(folder)) == [
        ("Gen", 3, "In the beginning & after."),
        ("Gen", 4, "The end."),
    ]
    (folder / "nt.bzz").write_bytes(b"no zlib")
    with pytest.raises(InputError, match=r"nt.bz\*: expected a zlib-compressed SWORD"):
        list(sword.read_module(folder))
    (folder / "nt.bzv").unlink()
    with pytest.raises(FileNotFoundError, match="nt.bzv: no such file"):
        list(sword.read_module(folder))


def test_aligned_files(tmp_path):
    source, target = text_data.aligned(tmp_path)
    data = verses.load(4, source, target)
    assert len(data.train) + len(data.dev) + len(data.test) == 100
    text = "¿No lo sé, (dijo) él?"
    assert verses.detokenize(verses.tokenize(text)) == text.lower()


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (
            "a\nb\n",
            "a\n",
            "target.txt, line 2: expected as many lines .* 2, got the end",
        ),
        ("a\n\nc\n", "a\nb\nc\n", "source.txt, line 2: expected a translation"),
        ("a\n", "b\n", "source.txt: expected at least 30 pairs"),
        ("", "b\n", "source.txt: expected a UTF-8 text file, got an empty one"),
    ],
)
def test_bad_aligned_files(tmp_path, ours, theirs, message):
    source, target = tmp_path / "source.txt", tmp_path / "target.txt"
    source.write_text(ours)
    target.write_text(theirs)
    with pytest.raises(InputError, match=message):
        verses.load(4, source, target)
    with pytest.raises(InputError, match="--source and --target together"):
        verses.load(4, source)


# --- summarize -----------------------------------------------------------------------


def test_docstrings_with_summary_and_prose():
    example = texts.of_docstring(
        "Return it\nall.\n\nThis is some prose that says so. It goes\non.\n\n"
        "More of it is here.\n\nArgs:\n    x: a number.\n"
    )
    assert example == texts.Example(
        "This is some prose that says so. It goes on. More of it is here.",
        "Return it all.",
    )
    assert texts.first_sentence(example.text) == "This is some prose that says so."
    assert texts.of_docstring("Return it.\n\n>>> f(1)\n1\n") is None
    assert texts.of_docstring("Return it") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,title\na,b\n", "own.csv, line 1: expected the columns text, summary"),
        ("text,summary\na,b\na,\n", "own.csv, line 3: expected a text and its summary"),
        ("text,summary\na,b\n", "own.csv: expected at least 30 texts"),
    ],
)
def test_bad_summaries(tmp_path, content, message):
    path = tmp_path / "own.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        texts.load(path)
