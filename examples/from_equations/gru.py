"""The gated recurrent unit (Cho et al. 2014), from its equations."""

from __future__ import annotations

import numpy as np

from examples.from_equations.activations import sigmoid
from examples.from_equations.recurrent import Columns, Recurrent, Vectors
from examples.from_equations.vectors import as_columns, in_the_form_of


class GRU(Recurrent):
    """A hidden state that moves towards a candidate by as much as a gate says::

        z_t = sigmoid(W_xz x_t + W_hz h_{t-1} + b_z)          update gate
        r_t = sigmoid(W_xr x_t + W_hr h_{t-1} + b_r)          reset gate
        n_t = tanh(W_xn x_t + W_hn (r_t * h_{t-1}) + b_n)     candidate
        h_t = (1 - z_t) * h_{t-1} + z_t * n_t
        y_t = W_hy h_t + b_y

    Args:
        input_size: entries of ``x_t``.
        hidden_size: entries of ``h_t``.
        output_size: entries of ``y_t``.
        seed: of the initial weights; None draws others each time.

    Example:
        >>> model = GRU(1, 4, 1, seed=0)
        >>> h_states, y_preds = model.forward([[0.5], [-0.5], [1.0]])
        >>> len(h_states), h_states[0].shape, y_preds[0].shape
        (3, (4,), (1,))

    References:
        Cho et al., Learning phrase representations using RNN encoder-decoder for
        statistical machine translation, EMNLP 2014 (where z_t and 1 - z_t have changed
        places); in this form in Chung et al., Empirical evaluation of gated recurrent
        neural networks on sequence modeling, 2014.
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

        self.W_xz = normal(0, 0.01, (hidden_size, input_size))
        self.W_hz = normal(0, 0.01, (hidden_size, hidden_size))
        self.b_z = np.zeros((hidden_size, 1))

        self.W_xr = normal(0, 0.01, (hidden_size, input_size))
        self.W_hr = normal(0, 0.01, (hidden_size, hidden_size))
        self.b_r = np.zeros((hidden_size, 1))

        self.W_xn = normal(0, 0.01, (hidden_size, input_size))
        self.W_hn = normal(0, 0.01, (hidden_size, hidden_size))
        self.b_n = np.zeros((hidden_size, 1))

        self.W_hy = normal(0, 0.01, (output_size, hidden_size))
        self.b_y = np.zeros((output_size, 1))

    def gates(self, x: np.ndarray, h_prev: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns ``z_t, r_t, n_t``, from the columns ``x_t`` and ``h_{t-1}``."""
        z = sigmoid(self.W_xz @ x + self.W_hz @ h_prev + self.b_z)
        r = sigmoid(self.W_xr @ x + self.W_hr @ h_prev + self.b_r)
        n = np.tanh(self.W_xn @ x + self.W_hn @ (r * h_prev) + self.b_n)
        return z, r, n

    def forward(self, inputs: Vectors) -> tuple[Columns, Columns]:
        """Runs the equations over a sequence: ``(h_states, y_preds)``."""
        h = np.zeros((self.hidden_size, 1))
        h_states, y_preds = [], []
        for x in as_columns("inputs", inputs, self.input_size):
            z, _, n = self.gates(x, h)
            h = (1 - z) * h + z * n
            y = self.W_hy @ h + self.b_y
            h_states.append(h)
            y_preds.append(y)
        return in_the_form_of(inputs, h_states), in_the_form_of(inputs, y_preds)

    def gradients(
        self, inputs: Vectors, targets: Vectors, h_states: Vectors, y_preds: Vectors
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Returns the loss and its gradients, last step first.

        ``dv`` is the gradient of the loss with respect to ``v``; ``da_z`` is that for
        what stands inside the sigmoid of ``z_t``, and so on.
        """
        xs, targets, hs, ys = self._as_columns(inputs, targets, h_states, y_preds)
        h_0 = np.zeros((self.hidden_size, 1))

        loss = 0.0
        d = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        dh_next = np.zeros_like(h_0)  # what step t + 1 hands back to h_t

        for t in reversed(range(len(xs))):
            x, h = xs[t], hs[t]
            h_prev = hs[t - 1] if t > 0 else h_0
            z, r, n = self.gates(x, h_prev)

            # y_t = W_hy h_t + b_y
            dy = ys[t] - targets[t]
            loss += 0.5 * np.sum(dy**2)
            d["W_hy"] += dy @ h.T
            d["b_y"] += dy

            # h_t = (1 - z_t) * h_{t-1} + z_t * n_t, used by y_t and by step t + 1
            dh = self.W_hy.T @ dy + dh_next
            dz = dh * (n - h_prev)
            dn = dh * z

            # n_t = tanh(W_xn x_t + W_hn (r_t * h_{t-1}) + b_n)
            da_n = dn * (1 - n**2)
            drh = self.W_hn.T @ da_n  # for the product r_t * h_{t-1}
            dr = drh * h_prev

            # through the sigmoids of the gates
            da_z = dz * z * (1 - z)
            da_r = dr * r * (1 - r)

            # a_z = W_xz x_t + W_hz h_{t-1} + b_z, and so on
            for gate, da in {"z": da_z, "r": da_r, "n": da_n}.items():
                d[f"W_x{gate}"] += da @ x.T
                d[f"b_{gate}"] += da
            d["W_hz"] += da_z @ h_prev.T
            d["W_hr"] += da_r @ h_prev.T
            d["W_hn"] += da_n @ (r * h_prev).T
            dh_next = dh * (1 - z) + drh * r + self.W_hz.T @ da_z + self.W_hr.T @ da_r

        return float(loss), d
