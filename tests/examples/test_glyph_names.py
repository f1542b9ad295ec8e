"""examples/glyph_names: a run on a few glyphs, pictures, names, scores."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.common.errors import InputError
from examples.glyph_names import data, naming
from examples.glyph_names.config import PRESETS, Config
from examples.glyph_names.model import moved
from examples.glyph_names.run import main


@pytest.fixture(scope="module")
def glyphs():
    return data.read(data.default_font(), 16, 0x41, 0x5A)


def test_smoke_run(tmp_path, capsys):
    output = tmp_path / "out"
    main(f"--preset smoke --output {output}".split())
    assert "whole name right" in capsys.readouterr().out
    result = json.loads((output / "result.json").read_text())
    assert set(result["test"]) == {"nearest picture", "greedy", "beam"}
    # Names are unique, so a name of the training set is never that of a test glyph.
    assert result["test"]["nearest picture"]["exact"] == 0
    assert result["glyphs"]["training"] > result["glyphs"]["test"] > 0
    for name in ("names", "learning_curves"):
        assert (output / f"{name}.png").stat().st_size > 0


def test_pictures_and_names(glyphs):
    assert [glyph.code for glyph in glyphs] == list(range(0x41, 0x5B))
    assert glyphs[0].name == ("LATIN", "CAPITAL", "LETTER", "A")
    for glyph in glyphs:
        assert glyph.image.shape == (16, 16) and 0.8 < glyph.image.max() <= 1
    letter_i = glyphs[8].image
    assert np.ptp(np.flatnonzero(letter_i.any(1))) > np.ptp(
        np.flatnonzero(letter_i.any(0))
    ), "an I is higher than it is wide"
    rows = np.flatnonzero(letter_i.any(1))
    assert abs((rows[0] + rows[-1]) / 2 - 7.5) <= 0.5, "it stands in the middle"


def test_splits_are_whole_and_fixed():
    config = Config(image_size=16, first_code=0x41, last_code=0x17F)
    splits, sources = data.load(config)
    codes = [glyph.code for glyphs in splits.values() for glyph in glyphs]
    assert len(codes) == len(set(codes)) > 200
    assert len(splits["training"]) > 5 * len(splits["test"])
    assert "DejaVuSans.ttf, sha256" in sources[0] and "Unicode" in sources[1]


def test_moved_pictures_keep_what_stays_inside():
    images = jnp.zeros((64, 9, 9)).at[:, 4, 4].set(1.0)
    new = moved(jax.random.key(0), images, 2)
    assert new.shape == images.shape
    np.testing.assert_array_equal(new.sum((1, 2)), np.ones(64))
    rows, columns = np.nonzero(np.asarray(new.sum(0)))
    assert {rows.min(), rows.max(), columns.min(), columns.max()} == {2, 6}


def test_nearest_names_and_scores(glyphs):
    near = naming.nearest_names(glyphs, glyphs[:3])
    assert near == [glyph.name for glyph in glyphs[:3]]
    scores = naming.score(near, glyphs[:3])
    assert scores["exact"] == 1 and scores["bleu"] == pytest.approx(100)
    other = naming.score([("LATIN", "SMALL", "LETTER", "X")] * 3, glyphs[:3])
    assert other["exact"] == 0 and other["first_word"] == 1 and other["bleu"] < 60


def test_bad_fonts(tmp_path):
    path = tmp_path / "font.ttf"
    with pytest.raises(FileNotFoundError, match="font.ttf: no such file"):
        data.read(path, 16, 0x41, 0x5A)
    path.write_text("no font")
    with pytest.raises(InputError, match="font.ttf: expected a TrueType or OpenType"):
        data.read(path, 16, 0x41, 0x5A)
    config = Config(first_code=0xE000, last_code=0xE001)
    with pytest.raises(InputError, match="expected glyphs with a name.*U.E000"):
        data.load(config)


def test_options_are_checked():
    with pytest.raises(InputError, match="--image-size a multiple of 8"):
        Config(image_size=20)
    with pytest.raises(InputError, match="--last-code at least --first-code 33"):
        Config(last_code=0x20)
    assert PRESETS["full"].epochs > PRESETS["quick"].epochs
