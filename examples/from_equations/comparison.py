"""One network and its twin, trained side by side on one sequence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from examples.from_equations.recurrent import Recurrent
from examples.from_equations.twins import loss_of, to_names, to_params, twin_of


@dataclass(frozen=True)
class Comparison:
    """What a NumPy network and its twin did, epoch by epoch.

    Attributes:
        numpy_losses: loss of each epoch of the NumPy network.
        jax_losses: loss of each epoch of the twin.
        sizes: of each parameter, the largest entry of its gradient over all epochs.
        differences: of each parameter, the largest entry of the difference between the
            two gradients, over all epochs.
    """

    numpy_losses: list[float]
    jax_losses: list[float]
    sizes: dict[str, float]
    differences: dict[str, float]

    @property
    def loss_difference(self) -> float:
        """The largest difference between the two losses of an epoch."""
        return _largest(np.subtract(self.numpy_losses, self.jax_losses))

    def agrees(self, tolerance: float) -> bool:
        """Whether losses and gradients differ nowhere by more than that."""
        differences = [self.loss_difference, *self.differences.values()]
        return all(difference <= tolerance for difference in differences)  # not if NaN


def train_beside_twin(
    model: Recurrent,
    inputs: np.ndarray,
    targets: np.ndarray,
    epochs: Iterable[int],
    learning_rate: float,
) -> Comparison:
    """Trains a network, and its twin from the same weights, each on its own gradients.

    Call it with float64 enabled in JAX.
    """
    xs, ys = jnp.array(inputs), jnp.array(targets)
    params = to_params(model)
    loss_and_gradient = jax.value_and_grad(partial(loss_of, twin_of(model)))

    @jax.jit
    def update(params):
        loss, gradient = loss_and_gradient(params, xs, ys)
        step = jax.tree.map(lambda p, g: p - learning_rate * g, params, gradient)
        return step, loss, gradient

    result = Comparison([], [], {}, {})
    for _ in epochs:
        states = model.forward(inputs)
        _, ours = model.gradients(inputs, targets, *states)
        loss = model.backward(inputs, targets, *states, learning_rate)
        params, jax_loss, gradient = update(params)
        theirs = to_names(model, gradient)

        result.numpy_losses.append(loss)
        result.jax_losses.append(float(jax_loss))
        for name in ours:
            _raise_to(result.sizes, name, _largest(ours[name]))
            _raise_to(result.differences, name, _largest(ours[name] - theirs[name]))
    return result


def _largest(values: np.ndarray) -> float:
    return float(np.max(np.abs(values), initial=0.0))


def _raise_to(table: dict[str, float], name: str, value: float) -> None:
    table[name] = float(np.maximum(table.get(name, 0.0), value))  # keeps a NaN
