"""What the pictures contain: data, ticks, labels; and what they refuse."""

import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from rnnjax import plotting

RECORDS = [
    {"step": 1, "loss": 3.0},
    {"step": 2, "loss": 2.0, "dev": 2.5},
    {"step": 3, "loss": 1.0},
    {"step": 4, "loss": float("nan"), "dev": 1.5},
]
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def texts(items):
    return [item.get_text() for item in items]


def quantiles(ahead=6):
    middle = np.arange(ahead, dtype=float)
    return middle[:, None] + np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


def draw_all(**options):
    """One picture of each function that draws into one axes."""
    yield plotting.learning_curves(RECORDS, ["loss"], **options)
    yield plotting.confusion_matrix(np.eye(3), **options)
    yield plotting.attention_alignment(np.eye(2), "ab", "xy", **options)
    yield plotting.spectrogram(np.eye(5), frame_seconds=0.1, **options)
    yield plotting.forecast(np.arange(9.0), quantiles(), levels=LEVELS, **options)


def test_every_function_returns_a_figure_that_can_be_drawn_and_saved(tmp_path):
    path = tmp_path / "picture.png"
    for figure in draw_all(path=path):
        assert isinstance(figure, Figure)
        assert path.read_bytes().startswith(b"\x89PNG")
        path.unlink()
    figure = plotting.gate_activations({"a": np.eye(3)}, path=path)
    assert isinstance(figure, Figure) and path.exists()


def test_given_axes_are_drawn_into():
    figure = Figure()
    rows = iter(figure.subplots(5).ravel())
    for axes in rows:
        assert not axes.has_data()
    for axes in figure.axes[:1]:
        for drawn in draw_all(axes=axes):
            assert drawn is figure
        assert axes.has_data()
    part = Figure().subfigures(1, 2)[0].subplots()
    drawn = plotting.confusion_matrix(np.eye(2), axes=part)
    assert isinstance(drawn, Figure) and part.has_data()


def test_axes_that_are_none():
    with pytest.raises(TypeError, match="axes: expected matplotlib Axes, got Figure"):
        plotting.confusion_matrix(np.eye(2), axes=Figure())


def test_pyplot_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for figure in draw_all():
        figure.canvas.draw()


def test_learning_curves_draw_each_metric_where_it_was_taken():
    names = {"loss": "training", "dev": "development"}
    figure = plotting.learning_curves(
        RECORDS, names, y_label="bits", levels={"n-gram": 2.2}, title="an LSTM"
    )
    axes = figure.axes[0]
    loss, dev, level = axes.get_lines()
    np.testing.assert_array_equal(loss.get_xydata()[:3], [[1, 3], [2, 2], [3, 1]])
    np.testing.assert_array_equal(dev.get_xydata(), [[2, 2.5], [4, 1.5]])
    assert set(level.get_ydata()) == {2.2}
    assert texts(axes.get_legend().get_texts()) == ["training", "development"]
    assert texts(axes.texts) == ["n-gram"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "bits")
    assert axes.get_title(loc="left") == "an LSTM"


def test_learning_curves_on_a_logarithmic_axis():
    axes = plotting.learning_curves(RECORDS, ["dev"], log=True).axes[0]
    assert axes.get_yscale() == "log" and axes.get_ylabel() == "dev"
    with pytest.raises(ValueError, match="above 0 on a logarithmic axis.*'xz'"):
        plotting.learning_curves(RECORDS, ["dev"], log=True, levels={"xz": 0.0})
    records = [*RECORDS, {"step": 5, "loss": -1.0}]
    with pytest.raises(ValueError, match="above 0 on a logarithmic axis.*'loss'"):
        plotting.learning_curves(records, ["loss"], log=True)


def test_learning_curves_of_a_metric_that_is_missing():
    with pytest.raises(ValueError, match="'step' and a finite 'dev_loss'.*'loss'"):
        plotting.learning_curves(RECORDS, ["dev_loss"])
    with pytest.raises(ValueError, match="'tokens' and a finite 'loss'"):
        plotting.learning_curves(RECORDS, ["loss"], x="tokens")


def test_confusion_matrix_colours_parts_and_writes_counts():
    figure = plotting.confusion_matrix([[3, 1], [0, 0]], ["cat", "dog"])
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert texts(axes.texts) == ["3", "1", "0", "0"]
    assert [text.get_position() for text in axes.texts][1] == (1, 0)  # x is predicted
    assert texts(axes.get_xticklabels()) == texts(axes.get_yticklabels())
    assert texts(axes.get_yticklabels()) == ["cat", "dog"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_confusion_matrix_of_many_classes_thins_its_labels_out():
    axes = plotting.confusion_matrix(np.eye(100)).axes[0]
    assert not axes.texts
    ticks = texts(axes.get_xticklabels())
    assert len(ticks) <= 40 and ticks[:2] == ["0", "3"]


@pytest.mark.parametrize(
    ("matrix", "labels", "error", "message"),
    [
        (np.ones((2, 3)), None, ValueError, r"matrix: expected \[C, C\].*\(2, 3\)"),
        (np.ones(4), None, ValueError, r"matrix: expected \[C, C\].*\(4,\)"),
        (np.zeros((0, 0)), None, ValueError, "none of them 0"),
        (-np.eye(2), None, ValueError, "0 or more"),
        (np.eye(2) * np.nan, None, ValueError, "0 or more"),
        (np.eye(2), "abc", ValueError, "labels: expected 2 labels.*each class, got 3"),
        ([["a", "b"], ["c", "d"]], None, TypeError, "real numbers"),
    ],
)
def test_confusion_matrix_refuses(matrix, labels, error, message):
    with pytest.raises(error, match=message):
        plotting.confusion_matrix(matrix, labels)


def test_attention_alignment():
    weights = np.array([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]], np.float32)
    sources, targets = ["the", "big", "house"], ["la", "casa"]
    axes = plotting.attention_alignment(weights, sources, targets).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), weights)
    assert texts(axes.get_xticklabels()) == sources
    assert texts(axes.get_yticklabels()) == targets
    top = axes.yaxis_inverted()
    assert top, "the first word of the output stands on top"
    for bad, message in [
        (weights[None], "weights: expected .T, S. of one example"),
        (-weights, "0 or more"),
        (weights.T, "sources: expected 2 labels"),
    ]:
        with pytest.raises(ValueError, match=message):
            plotting.attention_alignment(bad, sources, targets)
    with pytest.raises(ValueError, match="targets: expected 2 labels.*row"):
        plotting.attention_alignment(weights, sources, sources)


def test_spectrogram_draws_time_to_the_right_and_low_channels_below():
    features = np.arange(50.0).reshape(10, 5)
    labels = [(2, "h"), (6, "i"), (9, " ")]
    figure = plotting.spectrogram(
        features,
        frame_seconds=0.02,
        frequencies=[100, 200, 400, 800, 1600],
        transcript="hi ",
        labels=labels,
    )
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), features.T)
    assert axes.images[0].origin == "lower"
    np.testing.assert_allclose(axes.images[0].get_extent()[:2], [0, 0.2])
    assert texts(axes.texts) == ["h", "i", "\N{OPEN BOX}"]
    np.testing.assert_allclose([t.xy[0] for t in axes.texts], [0.05, 0.13, 0.19])
    assert texts(axes.get_yticklabels()) == ["100", "200", "400", "800", "1600"]
    assert axes.get_title(loc="left") == "hi "
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("seconds", "Hz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": np.ones((1, 4, 2))}, r"features: expected \[T, F\]"),
        ({"frame_seconds": 0}, "frame_seconds: expected a time above 0"),
        ({"frequencies": [1, 2]}, "frequencies: expected 3, one for each channel"),
        ({"labels": [(4, "a")]}, "labels: expected frames from 0 to 3, got 4"),
    ],
)
def test_spectrogram_refuses(options, message):
    options = {"features": np.ones((4, 3)), "frame_seconds": 0.1, **options}
    with pytest.raises(ValueError, match=message):
        plotting.spectrogram(options.pop("features"), **options)


def test_forecast_draws_bands_and_lines():
    past = np.arange(-3.0, 1.0)
    figure = plotting.forecast(
        past,
        quantiles(),
        levels=LEVELS,
        actual=np.full(6, 7.0),
        baselines={"last value": np.zeros(6)},
        step=0.5,
        x_label="hours ahead",
        y_label="MW",
    )
    axes = figure.axes[0]
    known, middle, naive, actual, _ = axes.get_lines()
    np.testing.assert_array_equal(known.get_xdata(), [-1.5, -1.0, -0.5, 0.0])
    np.testing.assert_array_equal(known.get_ydata(), past)
    np.testing.assert_array_equal(middle.get_xdata(), 0.5 * np.arange(1, 7))
    np.testing.assert_array_equal(middle.get_ydata(), np.arange(6))
    assert set(naive.get_ydata()) == {0} and set(actual.get_ydata()) == {7}
    outer, inner = (band.get_paths()[0].vertices for band in axes.collections)
    assert (outer[:, 1].min(), outer[:, 1].max()) == (-2, 7)
    assert (inner[:, 1].min(), inner[:, 1].max()) == (-1, 6)
    shown = texts(axes.get_legend().get_texts())
    assert shown[:4] == ["known", "80 % interval", "50 % interval", "forecast (median)"]
    assert shown[4:] == ["last value", "what came"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("hours ahead", "MW")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"past": np.ones((3, 1))}, r"past: expected \[P\]"),
        ({"levels": (0.1, 0.5, 0.9)}, "levels: expected 5, one for each column"),
        ({"levels": (0.1, 0.3, 0.5, 0.6, 0.9)}, "symmetric around 0.5"),
        ({"levels": LEVELS[::-1]}, "rising"),
        ({"levels": (0.0, 0.25, 0.5, 0.75, 1.0)}, r"in \(0, 1\)"),
        ({"actual": np.ones(5)}, r"actual: expected shape \(6,\)"),
        ({"baselines": {"naive": np.ones((6, 1))}}, r"naive: expected shape \(6,\)"),
    ],
)
def test_forecast_refuses(options, message):
    options = {"past": np.ones(3), "levels": LEVELS, **options}
    with pytest.raises(ValueError, match=message):
        plotting.forecast(options.pop("past"), quantiles(), **options)


def test_gate_activations():
    gates = {"update": np.full((4, 3), 0.5), "hidden state": np.full((4, 2), -2.0)}
    figure = plotting.gate_activations(gates, "abcd", title="a GRU")
    update, hidden = figure.axes[:2]
    assert (update.get_ylabel(), hidden.get_ylabel()) == tuple(gates)
    np.testing.assert_array_equal(update.images[0].get_array(), np.full((3, 4), 0.5))
    assert update.images[0].get_clim() == (0, 1)
    assert hidden.images[0].get_clim() == (-2, 2)
    assert texts(hidden.get_xticklabels()) == list("abcd")
    assert update.get_title(loc="left") == "a GRU"


@pytest.mark.parametrize(
    ("gates", "steps", "message"),
    [
        ({}, None, "at least one"),
        ({"z": np.ones(4)}, None, r"gates\['z'\]: expected \[T, H\]"),
        ({"z": np.ones((4, 2)), "r": np.ones((3, 2))}, None, r"\['r'\].*4 steps"),
        ({"z": np.ones((4, 2))}, "abc", "steps: expected 4 labels"),
    ],
)
def test_gate_activations_refuse(gates, steps, message):
    with pytest.raises(ValueError, match=message):
        plotting.gate_activations(gates, steps)
