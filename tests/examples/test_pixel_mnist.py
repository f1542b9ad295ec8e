"""examples/pixel_mnist: reading the file, its errors, a whole small run."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from examples.common.errors import InputError
from examples.pixel_mnist import run
from examples.pixel_mnist.baseline import nearest_neighbour
from examples.pixel_mnist.config import PRESETS, Config
from examples.pixel_mnist.data import SPLITS, Digits, load
from examples.pixel_mnist.model import build_classifier
from tests.examples import number_data
from tests.examples.number_data import image_lines


@pytest.fixture
def csv(tmp_path):
    return number_data.digits(tmp_path / "digits.csv.gz")


def test_splits_hold_every_image_once_in_the_order_asked(csv):
    plain, sources = load(csv, 1, permuted=False)
    assert sources[0].startswith("digits.csv.gz, sha256 ")
    sizes = [len(plain[name].labels) for name in SPLITS]
    assert sum(sizes) == 120 and sizes[0] > 80 and min(sizes) > 2
    first = np.concatenate([plain[name].pixels[:, 0] for name in SPLITS])
    labels = np.concatenate([plain[name].labels for name in SPLITS])
    np.testing.assert_allclose(first * 255, labels, atol=1e-4)
    lines = {tuple(map(int, line.split(",")[:784])) for line in image_lines(120)}
    for digits in plain.values():
        for image in digits.pixels:
            assert tuple(np.rint(image * 255).astype(int).tolist()) in lines

    permuted, _ = load(csv, 1, permuted=True)
    order = np.random.default_rng(0).permutation(784)
    for name in SPLITS:
        np.testing.assert_array_equal(permuted[name].labels, plain[name].labels)
        expected = plain[name].pixels[:, order]
        np.testing.assert_array_equal(permuted[name].pixels, expected)


def test_more_images_move_none_between_splits(csv):
    few, _ = load(csv, 2, permuted=False, most=100)
    many, _ = load(csv, 2, permuted=False)
    for name in SPLITS:
        count = len(few[name].labels)
        np.testing.assert_array_equal(few[name].pixels, many[name].pixels[:count])


@pytest.mark.parametrize("pool", [2, 4])
def test_pooling_is_the_mean_of_squares(csv, pool):
    plain, _ = load(csv, 1, permuted=False)
    pooled, _ = load(csv, pool, permuted=False)
    side = 28 // pool
    image = plain["test"].pixels[0].reshape(28, 28)
    small = pooled["test"].pixels[0].reshape(side, side)
    for row in range(side):
        for column in range(side):
            square = image[row * pool : (row + 1) * pool][
                :, column * pool : (column + 1) * pool
            ]
            assert small[row, column] == pytest.approx(square.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3", r"line 3: expected 784 pixels and a label, got 3 columns"),
        ("", r"line 3: expected 784 pixels and a label, got 1 columns"),
        (",".join(["0"] * 783 + ["x", "1"]), r"line 3: expected whole .*, got 'x'"),
        (",".join(["0"] * 783 + ["1.5", "1"]), r"line 3: .*whole numbers, got '1.5'"),
        (",".join(["0"] * 783 + ["256", "1"]), r"line 3: .*0 to 255, got 0 to 256"),
        (",".join(["0"] * 784 + ["10"]), r"line 3: .*label of 0 to 9, got 10"),
        ("é", r"line 3: expected numbers and commas, got the byte 0xc3"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    path = tmp_path / "bad.csv"
    path.write_text("\n".join([*image_lines(2), line, *image_lines(1)]), "utf-8")
    with pytest.raises(InputError, match=message):
        load(path, 1, permuted=False)


def test_bad_files_are_named(tmp_path):
    path = tmp_path / "digits.csv"
    with pytest.raises(FileNotFoundError, match="digits.csv: no such file"):
        load(path, 1, permuted=False)
    path.write_text("")
    with pytest.raises(InputError, match="got an empty file"):
        load(path, 1, permuted=False)
    path.write_text("\n".join(image_lines(2)))
    with pytest.raises(InputError, match="enough images for three splits"):
        load(path, 1, permuted=False)
    broken = tmp_path / "digits.csv.gz"
    broken.write_text("not gzip")
    with pytest.raises(InputError, match="expected a file made by gzip"):
        load(broken, 1, permuted=False)


def test_nearest_neighbour_against_a_loop():
    generator = np.random.default_rng(3)

    def digits(count):
        pixels = generator.random((count, 6)).astype(np.float32)
        return Digits(pixels, generator.integers(0, 3, count))

    train, test = digits(20), digits(15)
    right = 0
    for image, label in zip(*test, strict=True):
        distances = [sum((image - other) ** 2) for other in train.pixels]
        right += train.labels[int(np.argmin(distances))] == label
    assert nearest_neighbour(train, test) == pytest.approx(right / 15)


def test_the_model_reads_pixels_in_order_and_answers_after_the_last():
    config = dataclasses.replace(PRESETS["smoke"], hidden_size=3)
    classifier = build_classifier("simple", 5, config)
    params = classifier.init(jax.random.key(0))
    pixels = np.random.default_rng(0).random((2, 5), np.float32)
    reader = params["reader"]
    expected = []
    for image in pixels:
        h = np.zeros(3)
        for x in image:
            encoded = x * reader["0"]["kernel"][0] + reader["0"]["bias"]
            encoded = np.maximum(encoded, 0) @ reader["1"]["input"]["kernel"]
            recurrent = h @ reader["1"]["recurrent"]["kernel"]
            h = np.tanh(encoded + recurrent + reader["1"]["input"]["bias"])
        hidden = h @ params["head"]["0"]["kernel"] + params["head"]["0"]["bias"]
        last = params["head"]["1"]
        expected.append(np.maximum(hidden, 0) @ last["kernel"] + last["bias"])
    logits = classifier.logits(params, pixels)
    np.testing.assert_allclose(logits, np.stack(expected), rtol=1e-4, atol=1e-5)


def test_smoke_run_and_going_on(csv, tmp_path, capsys):
    output = tmp_path / "out"
    arguments = f"--preset smoke --data {csv} --output {output} --batch-size 40"
    run.main(arguments.split())
    shown = capsys.readouterr().out
    for part in ("permuted", "min_gru", "nearest neighbour"):
        assert part in shown
    folder = output / "permuted" / "min_gru"
    result = json.loads((folder / "result.json").read_text())
    assert result["steps"] == 2 and 0 <= result["test"] <= 1
    assert sum(result["data"][name] for name in SPLITS) == 100
    assert (output / "permuted.png").read_bytes().startswith(b"\x89PNG")
    whole = json.loads((output / "result.json").read_text())
    assert whole["rows"][0]["task"] == "permuted MNIST-5k, 49 pixels one by one"

    run.main(arguments.split())
    assert "permuted, min_gru: done before" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--no-train: expected results in"):
        run.main([*arguments.split(), "--no-train", "--orders", "sequential"])
    with pytest.raises(ValueError, match="epochs was 1, is 2"):
        run.main([*arguments.split(), "--epochs", "2"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pool": 3}, "--pool 1, 2 or 4, got 3"),
        ({"epochs": 0}, "--epochs at least 1, got 0"),
        ({"learning_rate": 0.0}, "--learning-rate above 0"),
        ({"ring_rate": -1.0}, "--ring-rate at least 0"),
        ({"min_radius": 1.0}, r"--min-radius in \[0, 1\)"),
        ({"orders": ()}, "--orders at least one"),
        ({"images": 10}, "--images None or at least 100"),
    ],
)
def test_bad_settings_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        Config(**changed)
