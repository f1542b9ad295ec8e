"""The built-in cells against the NumPy networks of examples/from_equations.

Those are written from the equations and backpropagate by hand, step by step.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.from_equations import GRU, LSTM, SimpleRNN
from examples.from_equations.twins import loss_of, to_names, to_params, twin_of
from tests.conformance.harness import compiled

pytestmark = pytest.mark.usefixtures("x64")
NETWORKS = [SimpleRNN, LSTM, GRU]
T, F, H, OUT = 6, 3, 4, 2


def example(network):
    generator = np.random.default_rng(0)
    model = network(F, H, OUT)
    for parameter in model.parameters.values():
        parameter[...] = generator.normal(0, 0.5, parameter.shape)
    return model, generator.normal(size=(T, F)), generator.normal(size=(T, OUT))


@pytest.mark.parametrize("gradient", ["deferred", "autodiff"])
@pytest.mark.parametrize("network", NETWORKS)
def test_outputs_and_gradients_equal_backpropagation_by_hand(network, gradient):
    model, xs, targets = example(network)
    h_states, y_preds = model.forward(xs)
    loss, gradients = model.gradients(xs, targets, h_states, y_preds)
    rnn, params = twin_of(model, gradient), to_params(model)
    actual = compiled(jax.value_and_grad(partial(loss_of, rnn)))(params, xs, targets)
    np.testing.assert_allclose(actual[0], loss, rtol=1e-12)
    named = to_names(model, actual[1])
    assert named.keys() == gradients.keys()
    for name, expected in gradients.items():
        np.testing.assert_allclose(
            named[name], expected, rtol=1e-9, atol=1e-12, err_msg=name
        )


@pytest.mark.parametrize("network", NETWORKS)
def test_the_gradient_is_the_sum_of_those_of_the_losses_of_all_steps(network):
    """Each of them through the steps up to its own, by `lengths`."""
    model, xs, targets = example(network)
    rnn, params = twin_of(model, "deferred"), to_params(model)

    @compiled
    def of_step(params, t):
        def loss(params):
            _, ys = rnn.unroll(params, None, jnp.asarray(xs), lengths=t + 1)
            return 0.5 * jnp.sum((ys[t] - jnp.asarray(targets)[t]) ** 2)

        return jax.value_and_grad(loss)(params)

    losses, parts = zip(*(of_step(params, t) for t in range(T)), strict=True)
    total = jax.tree.map(lambda *leaves: sum(leaves), *parts)
    loss, gradients = model.gradients(xs, targets, *model.forward(xs))
    np.testing.assert_allclose(sum(losses), loss, rtol=1e-12)
    for name, actual in to_names(model, total).items():
        np.testing.assert_allclose(
            actual, gradients[name], rtol=1e-9, atol=1e-12, err_msg=name
        )
