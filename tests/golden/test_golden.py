"""Outputs and gradients equal those recorded from PyTorch (`make.py`)."""

import json
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax

GOLDEN = json.loads(pathlib.Path(__file__).with_name("torch.json").read_text())


def blocks(matrix, order):
    """The gates of a PyTorch matrix ``[g * H, ...]`` in our order, ``[..., g * H]``."""
    parts = np.split(np.asarray(matrix), len(order))
    return np.concatenate([parts[i] for i in order]).T


def to_params(name, weights):
    """PyTorch's weights, or their gradients, as ours.

    Its LSTM orders the gates i, f, g, o as we do; its GRU r, z, n with
    ``h = (1 - z) n + z h``, so that our z is ``1 - sigmoid`` of its: the sign of that
    row is flipped, here by the caller through `z_sign`.
    """
    order = {"simple": [0], "lstm": [0, 1, 2, 3], "gru": [1, 0, 2]}[name]
    w_ih, w_hh, b_ih, b_hh = (
        blocks(weights[f"{kind}_l0"], order)
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    if name == "gru":
        hidden = w_hh.shape[0]
        z_sign = np.where(np.arange(3 * hidden) < hidden, -1.0, 1.0)
        w_ih, w_hh, b_ih, b_hh = (a * z_sign for a in (w_ih, w_hh, b_ih, b_hh))
        recurrent = {"kernel": w_hh, "bias": b_hh}
        return {"input": {"kernel": w_ih, "bias": b_ih}, "recurrent": recurrent}
    bias = (b_ih + b_hh) if weights is GOLDEN[name]["weights"] else b_ih
    return {
        "input": {"kernel": w_ih, "bias": bias},
        "recurrent": {"kernel": w_hh},
    }


@pytest.mark.parametrize("gradient", ["deferred", "autodiff"])
@pytest.mark.parametrize("name", ["simple", "lstm", "gru"])
def test_equals_pytorch(name, gradient, x64):
    golden = GOLDEN[name]
    options = {"reset_after": True} if name == "gru" else {}
    rnn = getattr(rnnjax, name)(
        len(golden["ys"][0][0]),
        param_dtype=jnp.float64,
        schedule=rnnjax.Schedule(gradient=gradient),
        **options,
    )

    @jax.jit
    def run(params, xs):
        def loss(params, xs):
            ys = rnn.unroll(params, None, xs)[1]
            return jnp.sum(ys**2), ys

        return jax.grad(loss, (0, 1), has_aux=True)(params, xs)

    params = to_params(name, golden["weights"])
    (gradients, xs_gradient), ys = run(params, np.asarray(golden["xs"]))
    close = {"rtol": 1e-10, "atol": 1e-12}
    chex.assert_trees_all_close(ys, np.asarray(golden["ys"]), **close)
    chex.assert_trees_all_close(xs_gradient, np.asarray(golden["xs_gradient"]), **close)
    expected = to_params(name, golden["gradients"])
    chex.assert_trees_all_close(gradients, expected, **close)
