"""What the three networks share: the update and the training loop.

The equations are in simple_rnn.py, lstm.py and gru.py.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from examples.from_equations.vectors import as_columns, check_lengths

Vectors = Sequence[ArrayLike]
Columns = list[np.ndarray]


class Recurrent:
    """A network with one recurrent layer and a linear output, trained by SGD.

    A subclass makes its weights in ``__init__`` and brings ``forward`` and
    ``gradients``. Weights have names that begin with ``W_``, biases with ``b_``.

    The loss of a sequence is half the squared error, summed over outputs and steps::

        L = 1/2 sum_t |y_t - target_t|^2
    """

    def __init__(self, input_size: int, hidden_size: int, output_size: int):
        self.input_size = _size("input_size", input_size)
        self.hidden_size = _size("hidden_size", hidden_size)
        self.output_size = _size("output_size", output_size)

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The weights and biases by name: the arrays themselves, not copies."""
        return {k: v for k, v in vars(self).items() if k.startswith(("W_", "b_"))}

    def forward(self, inputs: Vectors) -> tuple[Columns, Columns]:
        """Runs the network over a sequence, from a hidden state of zeros.

        Args:
            inputs: one vector ``[input_size]`` or column ``[input_size, 1]`` a step.

        Returns:
            ``(h_states, y_preds)``, two lists with one entry a step: the hidden states
            ``h_1 .. h_T`` and the outputs ``y_1 .. y_T``. They are columns if the
            inputs are, else 1-D.
        """
        raise NotImplementedError

    def gradients(
        self, inputs: Vectors, targets: Vectors, h_states: Vectors, y_preds: Vectors
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Backpropagates through all of time, and changes nothing.

        Args:
            inputs: what ``forward`` was given.
            targets: one vector or column of ``output_size`` a step.
            h_states: what ``forward`` returned.
            y_preds: what ``forward`` returned.

        Returns:
            The loss, and its gradient with respect to each parameter, by name.
        """
        raise NotImplementedError

    def backward(
        self,
        inputs: Vectors,
        targets: Vectors,
        h_states: Vectors,
        y_preds: Vectors,
        learning_rate: float,
    ) -> float:
        """Backpropagates through all of time, then takes one step of SGD in place.

        Args:
            inputs: what ``forward`` was given.
            targets: one vector or column of ``output_size`` a step.
            h_states: what ``forward`` returned.
            y_preds: what ``forward`` returned.
            learning_rate: each parameter moves by minus this times its gradient.

        Returns:
            The loss before the step.
        """
        loss, gradients = self.gradients(inputs, targets, h_states, y_preds)
        for name, parameter in self.parameters.items():
            parameter -= learning_rate * gradients[name]
        return loss

    def train_sequence(
        self,
        inputs: Vectors,
        targets: Vectors,
        epochs: int = 100,
        learning_rate: float = 0.01,
    ) -> list[float]:
        """Learns one sequence, and prints the loss of every 10th epoch.

        Args:
            inputs: one vector or column of ``input_size`` a step.
            targets: one vector or column of ``output_size`` a step.
            epochs: how often to go through the sequence.
            learning_rate: of SGD.

        Returns:
            The loss of each epoch, before its update.
        """
        losses = []
        for epoch in range(1, epochs + 1):
            h_states, y_preds = self.forward(inputs)
            loss = self.backward(inputs, targets, h_states, y_preds, learning_rate)
            losses.append(loss)
            if epoch % 10 == 0:
                print(f"epoch {epoch:4d}  loss {loss:.6f}")
        return losses

    def _as_columns(
        self, inputs: Vectors, targets: Vectors, h_states: Vectors, y_preds: Vectors
    ) -> tuple[Columns, Columns, Columns, Columns]:
        """Checks what ``gradients`` is given and makes columns of it."""
        columns = {
            "inputs": as_columns("inputs", inputs, self.input_size),
            "targets": as_columns("targets", targets, self.output_size),
            "h_states": as_columns("h_states", h_states, self.hidden_size),
            "y_preds": as_columns("y_preds", y_preds, self.output_size),
        }
        check_lengths(**columns)
        return tuple(columns.values())


def _size(name: str, value: int) -> int:
    try:
        size = operator.index(value)
    except TypeError:
        size = 0
    if size < 1:
        raise ValueError(f"Expected {name} to be an integer >= 1, got {value!r}.")
    return size
