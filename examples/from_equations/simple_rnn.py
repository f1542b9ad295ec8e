"""The simple recurrent network (Elman 1990), from its equations."""

from __future__ import annotations

import numpy as np

from examples.from_equations.recurrent import Columns, Recurrent, Vectors
from examples.from_equations.vectors import as_columns, in_the_form_of


class SimpleRNN(Recurrent):
    """A hidden state that is a tanh of the input and of the hidden state before::

        h_t = tanh(W_xh x_t + W_hh h_{t-1} + b_h)
        y_t = W_hy h_t + b_y

    Args:
        input_size: entries of ``x_t``.
        hidden_size: entries of ``h_t``.
        output_size: entries of ``y_t``.
        seed: of the initial weights; None draws others each time.

    Example:
        >>> model = SimpleRNN(1, 4, 1, seed=0)
        >>> h_states, y_preds = model.forward([[0.5], [-0.5], [1.0]])
        >>> len(h_states), h_states[0].shape, y_preds[0].shape
        (3, (4,), (1,))

    References:
        Elman, Finding structure in time, Cognitive Science 14 (1990).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        seed: int | None = None,
    ):
        super().__init__(input_size, hidden_size, output_size)
        normal = np.random.default_rng(seed).normal

        self.W_xh = normal(0, 0.01, (hidden_size, input_size))
        self.W_hh = normal(0, 0.01, (hidden_size, hidden_size))
        self.b_h = np.zeros((hidden_size, 1))

        self.W_hy = normal(0, 0.01, (output_size, hidden_size))
        self.b_y = np.zeros((output_size, 1))

    def forward(self, inputs: Vectors) -> tuple[Columns, Columns]:
        """Runs the equations over a sequence: ``(h_states, y_preds)``."""
        h = np.zeros((self.hidden_size, 1))
        h_states, y_preds = [], []
        for x in as_columns("inputs", inputs, self.input_size):
            h = np.tanh(self.W_xh @ x + self.W_hh @ h + self.b_h)
            y = self.W_hy @ h + self.b_y
            h_states.append(h)
            y_preds.append(y)
        return in_the_form_of(inputs, h_states), in_the_form_of(inputs, y_preds)

    def gradients(
        self, inputs: Vectors, targets: Vectors, h_states: Vectors, y_preds: Vectors
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Returns the loss and its gradients, last step first.

        ``dv`` is the gradient of the loss with respect to ``v``; ``a`` is what stands
        inside the tanh.
        """
        xs, targets, hs, ys = self._as_columns(inputs, targets, h_states, y_preds)
        h_0 = np.zeros((self.hidden_size, 1))

        loss = 0.0
        d = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        dh_next = np.zeros_like(h_0)  # what step t + 1 hands back to h_t

        for t in reversed(range(len(xs))):
            x, h = xs[t], hs[t]
            h_prev = hs[t - 1] if t > 0 else h_0

            # y_t = W_hy h_t + b_y
            dy = ys[t] - targets[t]
            loss += 0.5 * np.sum(dy**2)
            d["W_hy"] += dy @ h.T
            d["b_y"] += dy

            # h_t = tanh(a), and h_t is used twice: by y_t and by step t + 1
            dh = self.W_hy.T @ dy + dh_next
            da = dh * (1 - h**2)

            # a = W_xh x_t + W_hh h_{t-1} + b_h
            d["W_xh"] += da @ x.T
            d["W_hh"] += da @ h_prev.T
            d["b_h"] += da
            dh_next = self.W_hh.T @ da

        return float(loss), d
