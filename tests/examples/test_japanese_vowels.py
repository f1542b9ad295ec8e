"""examples/japanese_vowels: a run on made-up series, files, folds, augmentation."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.common.errors import InputError
from examples.japanese_vowels import data
from examples.japanese_vowels.augment import augment, interpolate
from examples.japanese_vowels.baseline import discriminant_analysis, resampled
from examples.japanese_vowels.config import PRESETS, Config
from examples.japanese_vowels.model import deltas
from examples.japanese_vowels.run import main
from tests.examples.number_data import VOWELS_HEADER as HEADER
from tests.examples.number_data import vowels


def test_smoke_run(tmp_path, capsys):
    train, test = vowels(tmp_path / "train.ts"), vowels(tmp_path / "test.ts", 4)
    output = tmp_path / "out"
    options = f"--train {train} --test {test} --output {output} --batch-size 5"
    main(f"--preset smoke {options}".split())
    assert "mean over seeds" in capsys.readouterr().out
    result = json.loads((output / "result.json").read_text())
    assert len(result["accuracies"]) == 2
    expected = [1 - errors / 4 for errors in result["errors"]]
    assert result["accuracies"] == pytest.approx(expected)
    assert result["mean_accuracy"] == pytest.approx(np.mean(expected))
    assert (output / "confusion.png").stat().st_size > 0
    assert (output / "learning_curves.png").stat().st_size > 0


def test_reading(tmp_path):
    path = tmp_path / "some.ts"
    path.write_text(HEADER + "1,2:3,4:b\n\n5:6:a\n")
    series = data.read(path)
    np.testing.assert_array_equal(series.xs, [[[1, 3], [2, 4]], [[5, 6], [0, 0]]])
    assert series.lengths.tolist() == [2, 1]
    assert series.labels.tolist() == [1, 0] and series.classes == ("a", "b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,2:3,4:a\n", "a line '@data'"),
        ("@data\n1,2:a\n", "a line '@classLabel true"),
        (HEADER, "series below '@data'"),
        (HEADER + "1,2:3,4:a\n1,2:b\n", "line 5: expected 2 channels and a class"),
        (HEADER + "1,2:3,4:c\n", "line 4: expected a class of a, b, got 'c'"),
        (HEADER + "1,2:3,x:a\n", "line 4: expected numbers in channel 2"),
        (HEADER + "1,2:3,nan:a\n", "line 4: expected finite numbers in channel 2"),
        (HEADER + "1,2:3:a\n", "line 4: expected channels of one length"),
        ("", "an empty one"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path, content, message):
    path = tmp_path / "bad.ts"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as raised:
        data.read(path)
    assert "bad.ts" in str(raised.value)


def test_both_files_or_none(tmp_path):
    with pytest.raises(InputError, match="--train and --test together"):
        data.load(vowels(tmp_path / "train.ts"), None)
    other = vowels(tmp_path / "other.ts", channels=2)
    with pytest.raises(InputError, match="other.ts, line 4: expected 3 channels"):
        data.load(vowels(tmp_path / "train.ts"), other)


def test_standardised_by_the_training_series_alone(tmp_path):
    train = data.read(vowels(tmp_path / "train.ts"))
    test = data.read(vowels(tmp_path / "test.ts", 2))
    first, second = data.standardise(train, test)
    valid = np.arange(first.xs.shape[1]) < first.lengths[:, None]
    np.testing.assert_allclose(first.xs[valid].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(first.xs[valid].std(0), 1, atol=1e-5)
    assert not first.xs[~valid].any()
    steps = int(test.lengths[0])
    np.testing.assert_allclose(second.xs[0, :steps], first.xs[0, :steps])


def test_folds_are_stretches_of_each_class():
    labels = np.array([0] * 4 + [1] * 6)
    fold = data.block_folds(labels, 2)
    assert fold.tolist() == [0, 0, 1, 1, 0, 0, 0, 1, 1, 1]


def test_augmentation_stays_inside_the_series():
    config = Config(noise=0.0, offset=0.0, crop=0.5, speed=2.0)
    xs = jnp.broadcast_to(jnp.arange(9.0)[:, None, None], (9, 50, 1))
    lengths = jnp.full(50, 6)
    new, new_lengths = augment(config, jax.random.key(0), xs, lengths)
    assert 1 <= int(new_lengths.min()) and int(new_lengths.max()) <= 9
    assert len(np.unique(new_lengths)) > 3
    assert (
        0 <= float(new.min()) and float(new.max()) <= 5
    )  # of 6 steps, none of padding
    same = Config(noise=0.0, offset=0.0, crop=1.0, speed=1.0)
    kept, kept_lengths = augment(same, jax.random.key(0), xs, lengths)
    assert kept_lengths.tolist() == [6] * 50
    np.testing.assert_allclose(kept[:6], xs[:6], atol=1e-5)


def test_interpolation_and_deltas():
    xs = jnp.array([0.0, 2.0, 6.0])[:, None, None]
    times = jnp.array([0.5, 1.25, 2.0])[:, None]
    assert interpolate(xs, times).ravel().tolist() == [1.0, 3.0, 6.0]
    assert deltas(xs, jnp.array([3])).ravel().tolist() == [0.0, 3.0, 0.0]
    assert deltas(xs, jnp.array([2])).ravel().tolist() == [0.0, 0.0, 0.0]


def test_options_are_checked():
    with pytest.raises(InputError, match=r"--crop in \(0, 1\]"):
        Config(crop=0.0)
    assert PRESETS["full"].runs == 5


def test_discriminant_analysis_tells_straight_lines_apart(tmp_path):
    xs = np.zeros((8, 6, 1), np.float32)
    lengths, labels = np.array([6, 5] * 4), np.array([0, 1] * 4)
    for i in range(8):
        slope = 1 + 0.01 * i if labels[i] else -1 - 0.01 * i
        xs[i, : lengths[i], 0] = slope * np.arange(lengths[i])
    series = data.Series(xs, lengths, labels, ("down", "up"))
    assert resampled(series)[1].tolist() == pytest.approx(
        1.01 * np.linspace(0, 4, 8), abs=1e-5
    )
    assert discriminant_analysis(series, series).tolist() == labels.tolist()
