"""Long short-term memory (Hochreiter and Schmidhuber 1997), from its equations."""

from __future__ import annotations

import numpy as np

from examples.from_equations.activations import sigmoid
from examples.from_equations.recurrent import Columns, Recurrent, Vectors
from examples.from_equations.vectors import as_columns, in_the_form_of


class LSTM(Recurrent):
    """A cell state that is kept, forgotten and written to through gates::

        i_t = sigmoid(W_xi x_t + W_hi h_{t-1} + b_i)     input gate
        f_t = sigmoid(W_xf x_t + W_hf h_{t-1} + b_f)     forget gate
        g_t = tanh(W_xg x_t + W_hg h_{t-1} + b_g)        candidate
        o_t = sigmoid(W_xo x_t + W_ho h_{t-1} + b_o)     output gate
        c_t = f_t * c_{t-1} + i_t * g_t
        h_t = o_t * tanh(c_t)
        y_t = W_hy h_t + b_y

    Args:
        input_size: entries of ``x_t``.
        hidden_size: entries of ``h_t`` and of ``c_t``.
        output_size: entries of ``y_t``.
        seed: of the initial weights; None draws others each time.

    Example:
        >>> model = LSTM(1, 4, 1, seed=0)
        >>> h_states, y_preds = model.forward([[0.5], [-0.5], [1.0]])
        >>> len(h_states), h_states[0].shape, y_preds[0].shape
        (3, (4,), (1,))

    References:
        Hochreiter and Schmidhuber, Long short-term memory, Neural Computation 9
        (1997); the forget gate is from Gers, Schmidhuber and Cummins, Learning to
        forget, Neural Computation 12 (2000).
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

        self.W_xi = normal(0, 0.01, (hidden_size, input_size))
        self.W_hi = normal(0, 0.01, (hidden_size, hidden_size))
        self.b_i = np.zeros((hidden_size, 1))

        self.W_xf = normal(0, 0.01, (hidden_size, input_size))
        self.W_hf = normal(0, 0.01, (hidden_size, hidden_size))
        self.b_f = np.zeros((hidden_size, 1))

        self.W_xg = normal(0, 0.01, (hidden_size, input_size))
        self.W_hg = normal(0, 0.01, (hidden_size, hidden_size))
        self.b_g = np.zeros((hidden_size, 1))

        self.W_xo = normal(0, 0.01, (hidden_size, input_size))
        self.W_ho = normal(0, 0.01, (hidden_size, hidden_size))
        self.b_o = np.zeros((hidden_size, 1))

        self.W_hy = normal(0, 0.01, (output_size, hidden_size))
        self.b_y = np.zeros((output_size, 1))

    def gates(self, x: np.ndarray, h_prev: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns ``i_t, f_t, g_t, o_t``, from the columns ``x_t`` and ``h_{t-1}``."""
        i = sigmoid(self.W_xi @ x + self.W_hi @ h_prev + self.b_i)
        f = sigmoid(self.W_xf @ x + self.W_hf @ h_prev + self.b_f)
        g = np.tanh(self.W_xg @ x + self.W_hg @ h_prev + self.b_g)
        o = sigmoid(self.W_xo @ x + self.W_ho @ h_prev + self.b_o)
        return i, f, g, o

    def forward(self, inputs: Vectors) -> tuple[Columns, Columns]:
        """Runs the equations over a sequence: ``(h_states, y_preds)``."""
        h = np.zeros((self.hidden_size, 1))
        c = np.zeros((self.hidden_size, 1))
        h_states, y_preds = [], []
        for x in as_columns("inputs", inputs, self.input_size):
            i, f, g, o = self.gates(x, h)
            c = f * c + i * g
            h = o * np.tanh(c)
            y = self.W_hy @ h + self.b_y
            h_states.append(h)
            y_preds.append(y)
        return in_the_form_of(inputs, h_states), in_the_form_of(inputs, y_preds)

    def gradients(
        self, inputs: Vectors, targets: Vectors, h_states: Vectors, y_preds: Vectors
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Returns the loss and its gradients, last step first.

        ``dv`` is the gradient of the loss with respect to ``v``; ``da_i`` is that for
        what stands inside the sigmoid of ``i_t``, and so on.
        """
        xs, targets, hs, ys = self._as_columns(inputs, targets, h_states, y_preds)
        h_0 = c_0 = np.zeros((self.hidden_size, 1))

        # The gates follow from x_t and h_{t-1}, the cell states from the gates.
        gates, cs = [], []
        h_prev, c = h_0, c_0
        for x, h in zip(xs, hs, strict=True):
            i, f, g, o = self.gates(x, h_prev)
            c = f * c + i * g
            gates.append((i, f, g, o))
            cs.append(c)
            h_prev = h

        loss = 0.0
        d = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        dh_next = np.zeros_like(h_0)  # what step t + 1 hands back to h_t
        dc_next = np.zeros_like(c_0)  # what step t + 1 hands back to c_t

        for t in reversed(range(len(xs))):
            x, h, c = xs[t], hs[t], cs[t]
            h_prev, c_prev = (hs[t - 1], cs[t - 1]) if t > 0 else (h_0, c_0)
            i, f, g, o = gates[t]

            # y_t = W_hy h_t + b_y
            dy = ys[t] - targets[t]
            loss += 0.5 * np.sum(dy**2)
            d["W_hy"] += dy @ h.T
            d["b_y"] += dy

            # h_t = o_t * tanh(c_t), and h_t is used by y_t and by step t + 1
            dh = self.W_hy.T @ dy + dh_next
            do = dh * np.tanh(c)
            dc = dh * o * (1 - np.tanh(c) ** 2) + dc_next

            # c_t = f_t * c_{t-1} + i_t * g_t
            df = dc * c_prev
            di = dc * g
            dg = dc * i
            dc_next = dc * f

            # through the sigmoids and the tanh of the gates
            da_i = di * i * (1 - i)
            da_f = df * f * (1 - f)
            da_g = dg * (1 - g**2)
            da_o = do * o * (1 - o)

            # a_i = W_xi x_t + W_hi h_{t-1} + b_i, and so on
            for gate, da in {"i": da_i, "f": da_f, "g": da_g, "o": da_o}.items():
                d[f"W_x{gate}"] += da @ x.T
                d[f"W_h{gate}"] += da @ h_prev.T
                d[f"b_{gate}"] += da
            dh_next = (
                self.W_hi.T @ da_i
                + self.W_hf.T @ da_f
                + self.W_hg.T @ da_g
                + self.W_ho.T @ da_o
            )

        return float(loss), d
