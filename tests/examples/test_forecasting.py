"""examples/forecasting: a run on a made-up series, files, windows, baselines."""

import json

import numpy as np
import pytest

from examples.common.errors import InputError
from examples.forecasting import data, evaluate
from examples.forecasting.baselines import naive_forecasts
from examples.forecasting.config import Config
from examples.forecasting.run import main
from tests.examples import number_data

SMALL = {"day": 4, "week": 12, "horizon": 3, "past": 5}
OPTIONS = " ".join(f"--{name} {value}" for name, value in SMALL.items())


def test_smoke_run(tmp_path, capsys):
    path, output = number_data.series(tmp_path / "load.csv"), tmp_path / "out"
    main(
        f"--preset smoke --data {path} --column load --output {output} "
        f"{OPTIONS}".split()
    )
    assert "a week before, moved" in capsys.readouterr().out
    result = json.loads((output / "result.json").read_text())
    errors = result["mae_by_horizon"]
    assert {len(e) for e in errors.values()} == {3}
    assert set(result["coverage"]) == {"0.8", "0.5"}
    assert 0 <= result["coverage"]["0.5"] <= result["coverage"]["0.8"] <= 1
    assert result["steps_chosen"] in (1, 2)
    mean = np.mean(errors["this model"])
    assert result["totals"]["this model"]["mae"] == pytest.approx(mean, abs=0.06)
    for name in ("forecast", "errors", "learning_curves"):
        assert (output / f"{name}.png").stat().st_size > 0


def series_of(count=120, **options):
    config = Config(**{**SMALL, **options})
    values = np.arange(count, dtype=float)
    return config, data.split(config, values, "a file")


def test_windows_know_nothing_of_what_they_foretell():
    config, series = series_of()
    windows, mean, deviation = data.make_windows(config, series)
    firsts = data.origins(config, series.test, 120)
    batch = windows(firsts)
    steps = firsts + np.arange(3)[:, None]
    np.testing.assert_allclose(batch["targets"] * deviation + mean, steps, rtol=1e-4)
    np.testing.assert_allclose(batch["past"][-1, :, 0] * deviation + mean, firsts - 1)
    # A straight line: the value a week before, and what came on top of it since.
    np.testing.assert_allclose(batch["base"] * deviation + mean, steps, rtol=1e-4)
    changed = series.values.copy()
    changed[firsts[0] :] = -1e3
    other, _, _ = data.make_windows(
        config, data.Split(changed, series.dev, series.test)
    )
    for name in ("past", "coming", "base"):
        np.testing.assert_array_equal(
            other(firsts[:1])[name], windows(firsts[:1])[name]
        )


def test_parts_do_not_overlap():
    config, series = series_of()
    assert (series.dev, series.test) == (60, 80)
    train = data.origins(config, 0, series.dev)
    dev = data.origins(config, series.dev, series.test)
    test = data.origins(config, series.test, 120)
    assert train[0] == config.week + config.past
    assert train[-1] + config.horizon == series.dev == dev[0]
    assert dev[-1] + config.horizon == series.test == test[0]
    assert test[-1] + config.horizon == 120


def test_naive_forecasts():
    config, series = series_of()
    firsts = np.array([50, 51])
    naive = naive_forecasts(config, series.values, firsts)
    assert naive["last value"][:, 0].tolist() == [49, 49, 49]
    assert naive["a day before"][:, 0].tolist() == [46, 47, 48]
    assert naive["a week before"][:, 1].tolist() == [39, 40, 41]
    assert naive["a week before, moved"][:, 0].tolist() == [50, 51, 52]


def test_coverage_and_errors():
    actual = np.zeros((2, 4))
    quantiles = np.broadcast_to([-2.0, -1.0, 0.0, 1.0, 2.0], (2, 4, 5)).copy()
    quantiles[0, 0] += 1.5  # inside of the outer interval alone
    quantiles[1, :2] += 3.0  # outside of both
    shares = evaluate.coverage(quantiles, actual)
    assert shares == {"0.8": [1.0, 0.5], "0.5": [0.75, 0.5]}
    errors = evaluate.errors_by_horizon(
        {"a": actual + 1, "b": actual + [[2], [0.5]]}, actual
    )
    assert errors["a"].tolist() == [1, 1] and errors["b"].tolist() == [2, 0.5]
    assert evaluate.beaten_everywhere(errors, "a") == {"b": False}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"time,value\n1,2\n", "bad.csv, line 1: expected the columns load"),
        (b"time,load\n1,2\n2,many\n", "bad.csv, line 3: expected a number in load"),
        (b"time,load\n1,inf\n", "bad.csv, line 2: expected a finite number in load"),
        (b"time,load\n1,2\n2\n", "bad.csv, line 3: expected 2 values"),
        (b"time,load\n1,\xff\n", "bad.csv, line 2: expected UTF-8"),
        (b"time,load\n", "bad.csv: expected rows"),
        (b"", "bad.csv: expected a UTF-8 text file, got an empty one"),
        (b"time,load\n1,2\n2,3\n", "bad.csv: 2 steps are too short"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        data.load(Config(data=path, column="load"))


def test_numbers_in_source_are_read_and_not_run(tmp_path):
    path = tmp_path / "taylor.py"
    path.write_text("import nothing\nx = ['a']\ny = f([1, 2.5, -3])\n")
    assert data.read_taylor(path).tolist() == [1, 2.5, -3]
    path.write_text("x = ['a']\n")
    with pytest.raises(InputError, match="expected a list of numbers"):
        data.read_taylor(path)


def test_seasons_must_fit():
    with pytest.raises(InputError, match="--horizon <= --day <= --week"):
        Config(horizon=49)
