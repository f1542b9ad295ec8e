"""examples/from_equations beside rnnjax: equal weights, outputs and gradients."""

import jax
import numpy as np
import pytest

from examples.from_equations import GRU, LSTM, SimpleRNN, run
from examples.from_equations.__main__ import main
from examples.from_equations.comparison import Comparison, train_beside_twin
from examples.from_equations.twins import loss_of, to_names, to_params, twin_of

INPUT_SIZE, HIDDEN_SIZE, OUTPUT_SIZE, T = 3, 5, 2, 7
SMALL = ["--epochs", "3", "--steps", "6", "--hidden-size", "4"]

every_network = pytest.mark.parametrize("network", [SimpleRNN, LSTM, GRU])


def example(network):
    """A network with weights large enough that every gate moves, and a sequence."""
    generator = np.random.default_rng(0)
    model = network(INPUT_SIZE, HIDDEN_SIZE, OUTPUT_SIZE)
    for parameter in model.parameters.values():
        parameter[...] = generator.normal(0, 0.5, parameter.shape)
    inputs = generator.normal(size=(T, INPUT_SIZE))
    targets = generator.normal(size=(T, OUTPUT_SIZE))
    return model, inputs, targets


@pytest.mark.usefixtures("x64")
@every_network
def test_copied_weights_have_the_tree_of_the_twin(network):
    model, inputs, _ = example(network)
    params = to_params(model)
    own = jax.eval_shape(twin_of(model).init, jax.random.key(0), inputs[0])
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, own)
    names = to_names(model, params)
    assert names.keys() == model.parameters.keys()
    for name, value in model.parameters.items():
        assert np.array_equal(names[name], value)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("way", ["deferred", "autodiff"])
@every_network
def test_outputs_and_gradients_equal_those_of_numpy(network, way):
    model, inputs, targets = example(network)
    rnn, params = twin_of(model, way), to_params(model)

    @jax.jit
    def outputs_and_gradient(params):
        _, y_preds = rnn.unroll(params, None, inputs)
        return y_preds, jax.value_and_grad(loss_of, 1)(rnn, params, inputs, targets)

    h_states, ours = model.forward(inputs)
    loss, gradients = model.gradients(inputs, targets, h_states, ours)
    theirs, (jax_loss, gradient) = outputs_and_gradient(params)
    np.testing.assert_allclose(theirs, ours, atol=1e-13)
    assert jax_loss == pytest.approx(loss, rel=1e-13)
    for name, value in to_names(model, gradient).items():
        np.testing.assert_allclose(value, gradients[name], atol=1e-12, err_msg=name)


@pytest.mark.usefixtures("x64")
def test_training_is_the_same_epoch_by_epoch():
    model, inputs, targets = example(LSTM)
    result = train_beside_twin(model, inputs, targets, range(20), 0.05)
    assert len(result.numpy_losses) == len(result.jax_losses) == 20
    assert result.numpy_losses[-1] < 0.9 * result.numpy_losses[0]
    assert result.agrees(1e-12)
    assert min(result.sizes.values()) > 1e-3


@pytest.mark.usefixtures("x64")
def test_a_wrong_gradient_is_noticed(monkeypatch):
    right = SimpleRNN.gradients

    def wrong(self, *args):
        loss, gradients = right(self, *args)
        return loss, {**gradients, "b_h": gradients["b_h"] * (1 + 1e-6)}

    monkeypatch.setattr(SimpleRNN, "gradients", wrong)
    model, inputs, targets = example(SimpleRNN)
    result = train_beside_twin(model, inputs, targets, range(1), 0.05)
    assert not result.agrees(1e-9)
    assert result.differences["b_h"] > 1e-9
    assert result.differences["W_xh"] < 1e-12


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e-8])
def test_nan_does_not_agree(value):
    assert Comparison([1.0], [1.0], {"b_h": 1.0}, {"b_h": 0.0}).agrees(1e-9)
    assert not Comparison([1.0], [1.0], {"b_h": 1.0}, {"b_h": value}).agrees(1e-9)
    assert not Comparison([1.0], [1.0 + value], {}, {}).agrees(1e-9)


def test_the_example_runs(tmp_path, capsys):
    main([*SMALL, "--output", str(tmp_path)])
    out = capsys.readouterr().out
    for text in ("SimpleRNN", "W_xh", "LSTM", "W_hf", "GRU", "W_xn", "are equal"):
        assert text in out
    assert (tmp_path / "losses.png").stat().st_size > 5_000
    assert jax.numpy.ones(()).dtype == np.float32  # float64 stays inside the example


def test_the_example_exits_with_1_if_gradients_differ(tmp_path, monkeypatch, capsys):
    differ = Comparison([1.0], [1.0], {"b_h": 1.0}, {"b_h": 1e-8})
    monkeypatch.setattr(run, "train_beside_twin", lambda *args: differ)
    with pytest.raises(SystemExit) as error:
        main([*SMALL, "--output", str(tmp_path)])
    assert error.value.code == 1
    assert "NOT equal" in capsys.readouterr().out


def test_help_and_wrong_settings(capsys):
    with pytest.raises(SystemExit) as error:
        main(["--help"])
    assert error.value.code == 0
    assert "--learning-rate" in capsys.readouterr().out
    with pytest.raises(SystemExit) as error:
        main(["--epochs", "0"])
    assert error.value.code != 0
    assert "Expected --epochs at least 1, got 0" in capsys.readouterr().err
