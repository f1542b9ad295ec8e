"""The text of examples/char_lm: extraction, splits, the user's files, vocabulary."""

import ast
import math
import textwrap

import numpy as np
import pytest

from examples.char_lm.corpus import (
    MINIMUM_CHARACTERS,
    describe,
    extract_modules,
    load_corpus,
    split_modules,
)
from examples.char_lm.vocabulary import UNKNOWN, Vocabulary


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


class TestExtraction:
    def test_reads_docstrings_at_every_depth_in_source_order(self, tmp_path):
        write(
            tmp_path / "a.py",
            '''
            """Module."""
            class C:
                """Class."""
                def method(self):
                    """Method."""
                    def inner():
                        """Inner."""
                x = "no docstring"
            if True:
                try:
                    pass
                except ValueError:
                    def handler():
                        """Handler."""
                else:
                    async def later():
                        """Later."""
            ''',
        )
        text = extract_modules({"p": tmp_path})["p.a"]
        assert text.split() == "Module. Class. Method. Inner. Handler. Later.".split()

    def test_same_docstrings_as_walking_every_node(self):
        import email
        from pathlib import Path

        root = Path(email.__file__).parent
        expected = set()
        for path in root.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(
                    node,
                    ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
                ):
                    expected |= set((ast.get_docstring(node) or "").split())
        got = set(" ".join(extract_modules({"email": root}).values()).split())
        assert got == expected

    def test_never_imports(self, tmp_path):
        write(tmp_path / "a.py", '"""Text."""\nraise SystemExit("imported")')
        assert extract_modules({"p": tmp_path}) == {"p.a": "Text.\n\n"}

    def test_takes_add_newdoc_calls(self, tmp_path):
        write(
            tmp_path / "a.py",
            """
            add_newdoc("numpy", "f", '''
                First line.
                  Indented.
                ''')
            other("g", '''
                Not a
                docstring.''')
            """,
        )
        text = extract_modules({"p": tmp_path})["p.a"]
        assert text == "First line.\n  Indented.\n\n"

    def test_a_paragraph_counts_once(self, tmp_path):
        write(tmp_path / "a.py", '"""One.\n\nTwo\nlines.\n"""')
        write(tmp_path / "b.py", '"""Two   lines.\n\nThree.\n"""')
        write(tmp_path / "c.py", '"""One."""')
        modules = extract_modules({"p": tmp_path})
        assert modules == {"p.a": "One.\n\nTwo\nlines.\n\n", "p.b": "Three.\n\n"}

    def test_skips_tests_and_what_does_not_parse(self, tmp_path):
        write(tmp_path / "tests" / "a.py", '"""Test."""')
        write(tmp_path / "site-packages" / "a.py", '"""Other."""')
        write(tmp_path / "python2.py", '"""Old."""\nprint "x"')
        (tmp_path / "null.py").write_bytes(b'"""Null."""\n\0')
        write(tmp_path / "surrogate.py", r'"""Lone \ud800."""')
        assert extract_modules({"p": tmp_path}) == {}


class TestSplit:
    modules = {f"m{i}": f"<{i}>" + "x" * (i % 7) for i in range(200)}

    def test_modules_are_whole_and_in_one_split(self):
        parts = split_modules(self.modules, 100, 50)
        for text in self.modules.values():
            assert sum(text in part for part in parts) == 1
        assert sum(map(len, parts)) == sum(map(len, self.modules.values()))

    def test_held_out_sizes_are_reached_and_not_much_exceeded(self):
        _, dev, test = split_modules(self.modules, 100, 50)
        assert 100 <= len(test) < 100 + 12
        assert 50 <= len(dev) < 50 + 12

    def test_depends_on_names_alone(self):
        backwards = dict(reversed(self.modules.items()))
        assert split_modules(backwards, 100, 50) == split_modules(self.modules, 100, 50)
        longer = self.modules | {"m150": "<150> changed"}
        before, after = (split_modules(m, 100, 50) for m in (self.modules, longer))
        assert [("<7>" in p) for p in before] == [("<7>" in p) for p in after]


class TestOwnText:
    def test_is_split_in_order(self, tmp_path):
        text = "".join(f"line {i}\n" for i in range(1000))
        corpus = load_corpus(write(tmp_path / "own.txt", text))
        assert corpus.train + corpus.dev + corpus.test == text
        assert len(corpus.train) == len(text) * 9 // 10
        assert abs(len(corpus.dev) - len(corpus.test)) <= 1
        assert corpus.sha256 in describe(corpus)

    def test_folder_with_three_files(self, tmp_path):
        for name in ("train", "valid", "test"):
            write(tmp_path / f"ptb.{name}.txt", f"{name} " * 1000)
        corpus = load_corpus(tmp_path)
        assert corpus.dev == "valid " * 1000
        (tmp_path / "ptb.valid.txt").unlink()
        with pytest.raises(FileNotFoundError, match=r"one file named \*valid.txt"):
            load_corpus(tmp_path)

    def test_missing_file_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.txt: no such file"):
            load_corpus(tmp_path / "nowhere.txt")

    @pytest.mark.parametrize("text", ["", "too short"])
    def test_too_little_text_says_how_much_is_needed(self, tmp_path, text):
        path = write(tmp_path / "short.txt", text)
        with pytest.raises(ValueError, match=f"{MINIMUM_CHARACTERS:,}.*{len(text)}"):
            load_corpus(path)

    def test_bad_bytes_are_located(self, tmp_path):
        path = tmp_path / "latin.txt"
        path.write_bytes(b"first\nsecond\nth\xefrd\n" * 400)
        with pytest.raises(ValueError, match=r"latin\.txt, line 3 \(byte 15\).*0xef"):
            load_corpus(path)

    def test_byte_order_mark_and_windows_line_ends(self, tmp_path):
        path = tmp_path / "windows.txt"
        path.write_bytes(b"\xef\xbb\xbf" + b"word\r\n" * 1000)
        assert load_corpus(path).train.startswith("word\nword\n")


@pytest.mark.slow
def test_docstring_corpus_is_as_documented():
    corpus = load_corpus()
    assert len(corpus.test) >= 400_000
    assert len(corpus.dev) >= 200_000
    assert len(corpus.train) >= 8_000_000
    assert corpus == load_corpus()
    paragraphs = [
        {" ".join(p.split()) for p in text.split("\n\n") if p.strip()}
        for text in (corpus.train, corpus.dev, corpus.test)
    ]
    assert not paragraphs[0] & paragraphs[2]
    assert not paragraphs[1] & paragraphs[2]
    assert not paragraphs[0] & paragraphs[1]


class TestVocabulary:
    def test_round_trip_and_unknown(self):
        vocabulary = Vocabulary.from_text("abcabc é", minimum_count=2)
        assert vocabulary.characters == "abc"
        symbols = vocabulary.encode("caé😀b")
        np.testing.assert_array_equal(symbols, [3, 1, UNKNOWN, UNKNOWN, 2])
        assert vocabulary.decode(symbols) == "ca\ufffd\ufffdb"

    def test_an_unknown_character_pays_for_its_name(self):
        vocabulary = Vocabulary("abc")
        bits = vocabulary.escape_bits(vocabulary.encode("aéb😀"))
        assert bits == 2 * math.log2(0x110000 - 0x800 - 3)
        assert vocabulary.size == 4
