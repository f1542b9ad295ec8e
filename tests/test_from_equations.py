"""The NumPy networks of examples/from_equations: equations, gradients, training."""

import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from examples.from_equations import GRU, LSTM, SimpleRNN

NETWORKS = [SimpleRNN, LSTM, GRU]
INPUT_SIZE, HIDDEN_SIZE, OUTPUT_SIZE, T = 3, 4, 2, 6

every_network = pytest.mark.parametrize("network", NETWORKS)


def example(network, seed=0):
    """A network with weights large enough that every gate moves."""
    generator = np.random.default_rng(seed)
    model = network(INPUT_SIZE, HIDDEN_SIZE, OUTPUT_SIZE)
    for parameter in model.parameters.values():
        parameter[...] = generator.normal(0, 0.5, parameter.shape)
    inputs = generator.normal(size=(T, INPUT_SIZE))
    targets = generator.normal(size=(T, OUTPUT_SIZE))
    return model, inputs, targets


def loss_of(model, inputs, targets):
    _, y_preds = model.forward(inputs)
    return 0.5 * np.sum((np.array(y_preds) - targets) ** 2)


# --- weights ---------------------------------------------------------------------


def test_simple_rnn_has_the_five_arrays_of_the_textbook():
    shapes = {k: v.shape for k, v in SimpleRNN(3, 4, 2).parameters.items()}
    assert shapes == {
        "W_xh": (4, 3),
        "W_hh": (4, 4),
        "b_h": (4, 1),
        "W_hy": (2, 4),
        "b_y": (2, 1),
    }


@pytest.mark.parametrize(("network", "gates"), [(LSTM, "ifgo"), (GRU, "zrn")])
def test_each_gate_has_its_own_weights(network, gates):
    shapes = {k: v.shape for k, v in network(3, 4, 2).parameters.items()}
    expected = {"W_hy": (2, 4), "b_y": (2, 1)}
    for gate in gates:
        expected |= {f"W_x{gate}": (4, 3), f"W_h{gate}": (4, 4), f"b_{gate}": (4, 1)}
    assert shapes == expected


@every_network
def test_weights_start_small_and_biases_at_zero(network):
    for name, value in network(50, 60, 40, seed=0).parameters.items():
        assert value.dtype == np.float64
        if name.startswith("b_"):
            assert not value.any()
        else:
            assert abs(value.mean()) < 0.001
            assert 0.009 < value.std() < 0.011


@every_network
def test_a_seed_gives_the_same_weights_and_none_gives_others(network):
    def weights(seed):
        return network(3, 4, 2, seed=seed).W_hy

    assert np.array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))
    assert not np.array_equal(weights(None), weights(None))


# --- forward ---------------------------------------------------------------------


def test_two_steps_of_a_simple_rnn_by_hand():
    model = SimpleRNN(1, 1, 1)
    model.W_xh[:], model.W_hh[:], model.b_h[:] = 0.5, -0.3, 0.1
    model.W_hy[:], model.b_y[:] = 2.0, -1.0
    h_states, y_preds = model.forward([[1.0], [2.0]])
    h_1 = np.tanh(0.5 * 1.0 + 0.1)
    h_2 = np.tanh(0.5 * 2.0 - 0.3 * h_1 + 0.1)
    np.testing.assert_allclose(np.ravel(h_states), [h_1, h_2], rtol=1e-15)
    np.testing.assert_allclose(
        np.ravel(y_preds), [2 * h_1 - 1, 2 * h_2 - 1], rtol=1e-15
    )


@every_network
@pytest.mark.parametrize("columns", [False, True])
def test_outputs_have_the_form_of_the_inputs(network, columns):
    model, inputs, _ = example(network)
    h_states, y_preds = model.forward(inputs[:, :, None] if columns else list(inputs))
    last = (1,) if columns else ()
    assert [h.shape for h in h_states] == [(HIDDEN_SIZE, *last)] * T
    assert [y.shape for y in y_preds] == [(OUTPUT_SIZE, *last)] * T


@every_network
def test_vectors_columns_and_lists_give_the_same(network):
    model, inputs, targets = example(network)
    results = []
    for form in (inputs, inputs[:, :, None], inputs.tolist(), list(inputs)):
        h_states, y_preds = model.forward(form)
        loss, gradients = model.gradients(form, targets, h_states, y_preds)
        results.append((loss, *gradients.values()))
    for result in results[1:]:
        for one, other in zip(results[0], result, strict=True):
            assert np.array_equal(one, other)


@every_network
def test_numbers_are_vectors_of_size_one(network):
    model = network(1, 4, 1, seed=0)
    numbers, _ = model.forward([0.1, -0.2, 0.3])
    vectors, _ = model.forward([[0.1], [-0.2], [0.3]])
    assert np.array_equal(numbers, vectors)


@every_network
def test_large_inputs_do_not_overflow(network):
    model, inputs, _ = example(network)
    h_states, _ = model.forward(1e6 * inputs)  # a warning would be an error
    assert np.isfinite(h_states).all()


# --- gradients -------------------------------------------------------------------


@every_network
def test_gradients_equal_numerical_differences(network):
    """Central differences, with one Richardson step: the error is of order e^4."""
    model, inputs, targets = example(network)
    loss, gradients = model.gradients(inputs, targets, *model.forward(inputs))
    assert loss == pytest.approx(loss_of(model, inputs, targets), rel=1e-14)
    assert gradients.keys() == model.parameters.keys()

    def difference(parameter, index, e):
        value = parameter[index]
        parameter[index] = value + e
        above = loss_of(model, inputs, targets)
        parameter[index] = value - e
        below = loss_of(model, inputs, targets)
        parameter[index] = value
        return (above - below) / (2 * e)

    for name, parameter in model.parameters.items():
        numerical = np.zeros_like(parameter)
        for index in np.ndindex(parameter.shape):
            coarse = difference(parameter, index, 2e-3)
            fine = difference(parameter, index, 1e-3)
            numerical[index] = (4 * fine - coarse) / 3
        np.testing.assert_allclose(gradients[name], numerical, atol=1e-9, err_msg=name)


@every_network
def test_gradients_are_the_sum_of_those_of_each_step_s_loss(network):
    model, inputs, targets = example(network)
    h_states, y_preds = model.forward(inputs)
    _, whole = model.gradients(inputs, targets, h_states, y_preds)
    total = {name: 0.0 for name in whole}
    for t in range(T):
        others_hit = np.array(y_preds)
        others_hit[t] = targets[t]  # only step t has a loss
        _, part = model.gradients(inputs, others_hit, h_states, y_preds)
        total = {name: total[name] + part[name] for name in total}
    for name in whole:
        np.testing.assert_allclose(whole[name], total[name], atol=1e-13, err_msg=name)


@every_network
def test_gradients_depend_on_their_arguments_alone(network):
    model, inputs, targets = example(network)
    states = model.forward(inputs)
    loss, expected = model.gradients(inputs, targets, *states)
    model.forward(inputs[::-1])  # nothing of this run is remembered
    again, gradients = model.gradients(inputs, targets, *states)
    assert again == loss
    for name in expected:
        assert np.array_equal(gradients[name], expected[name])


# --- training --------------------------------------------------------------------


@every_network
def test_backward_takes_one_step_of_sgd_in_place(network):
    model, inputs, targets = example(network)
    states = model.forward(inputs)
    loss, gradients = model.gradients(inputs, targets, *states)
    arrays = dict(model.parameters)
    before = {name: value.copy() for name, value in arrays.items()}
    assert model.backward(inputs, targets, *states, 0.1) == loss
    for name, value in model.parameters.items():
        assert value is arrays[name]
        assert np.array_equal(value, before[name] - 0.1 * gradients[name])


@every_network
def test_train_sequence_learns_and_prints_every_10th_epoch(network, capsys):
    wave = np.sin(2 * np.pi * np.arange(21) / 10)
    model = network(1, 8, 1, seed=0)
    losses = model.train_sequence(wave[:-1], wave[1:], learning_rate=0.03)
    assert len(losses) == 100
    assert all(isinstance(loss, float) for loss in losses)
    assert losses[-1] < 0.6 * losses[0]
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[1]) for line in lines] == list(range(10, 101, 10))
    assert float(lines[-1].split()[3]) == pytest.approx(losses[-1], abs=1e-6)


@every_network
def test_no_steps_give_nothing_to_learn(network):
    model, _, _ = example(network)
    assert model.forward([]) == ([], [])
    loss, gradients = model.gradients([], [], [], [])
    assert loss == 0
    assert not any(gradient.any() for gradient in gradients.values())


# --- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x, y: m.forward(x[:, :2]), r"inputs\[0\] of shape \(3,\) or \(3, 1"),
        (lambda m, x, y: m.forward(x[0]), r"inputs\[0\] .* got \(\).*without a batch"),
        (lambda m, x, y: m.forward(x[:, None]), r"inputs\[0\] .* got \(1, 3\)"),
        (lambda m, x, y: m.forward(iter(x)), "inputs to be a sequence .* Make a list"),
        (lambda m, x, y: m.forward(1j * x), r"inputs\[0\] to hold real .* complex128"),
        (
            lambda m, x, y: m.gradients(x, y[:-1], *m.forward(x)),
            "targets to have 6 steps like inputs, got 5",
        ),
        (
            lambda m, x, y: m.gradients(x, y, *m.forward(x[:-1])),
            "h_states to have 6 steps like inputs, got 5",
        ),
        (
            lambda m, x, y: m.backward(x, y, *m.forward(x)[::-1], 0.1),
            r"h_states\[0\] of shape \(4,\) .* got \(2,\)",
        ),
        (
            lambda m, x, y: m.train_sequence(x, x),
            r"targets\[0\] of shape \(2,\) or \(2, 1\), got \(3,\)",
        ),
        (lambda m, x, y: type(m)(3, 0, 2), "hidden_size to be an integer >= 1, got 0"),
        (lambda m, x, y: type(m)(3, 4, 2.0), "output_size to be an integer >= 1"),
    ],
)
@every_network
def test_errors_name_the_argument_what_was_expected_and_what_was_got(
    network, call, message
):
    with pytest.raises(ValueError, match=message):
        call(*example(network))


# --- doc examples ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["simple_rnn", "lstm", "gru"])
def test_docstring_examples_run(name):
    module = importlib.import_module(f"examples.from_equations.{name}")
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_docs_page_s_examples_run():
    page = (Path(__file__).parents[1] / "docs/from_equations.md").read_text("utf-8")
    source = "".join(re.findall(r"```\{doctest\}\n(.*?)```", page, re.DOTALL))
    test = doctest.DocTestParser().get_doctest(source, {}, "docs", None, None)
    result = doctest.DocTestRunner().run(test)
    assert result.attempted > 10
    assert result.failed == 0
