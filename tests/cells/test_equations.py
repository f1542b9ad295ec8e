"""One step of every built-in cell, and of its options, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax

pytestmark = pytest.mark.usefixtures("x64")
B, F, H = 3, 2, 4
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(B, F))
H0, C0 = GENERATOR.normal(size=(2, B, H))


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def normalised(a, scale):
    deviation = np.sqrt(np.var(a, -1, keepdims=True) + 1e-6)
    return scale * (a - a.mean(-1, keepdims=True)) / deviation


def one_step(cell, carry):
    """Random parameters of a cell, and its step with them."""
    rnn = rnnjax.layer(cell)
    params = rnn.init(jax.random.key(0), X)
    generator = np.random.default_rng(1)
    params = jax.tree.map(lambda p: generator.normal(size=p.shape), params)
    new, y = rnn.step(jax.tree.map(jnp.asarray, params), carry, X)
    return params["input"], params["recurrent"], new, y


def equal(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-10)


def parts(a, sizes):
    return np.split(a, np.cumsum(sizes)[:-1], -1)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize(
    ("activation", "f"),
    [(jnp.tanh, np.tanh), (jax.nn.relu, lambda a: np.maximum(a, 0))],
)
def test_simple(activation, f, layer_norm):
    cell = rnnjax.cells.simple(
        H, activation=activation, layer_norm=layer_norm, param_dtype=jnp.float64
    )
    w_x, w_h, new, y = one_step(cell, H0)
    a, b = X @ w_x["kernel"], H0 @ w_h["kernel"]
    if layer_norm:
        a, b = normalised(a, w_x["scale"]), normalised(b, w_h["scale"])
    equal(y, f(a + b + w_x["bias"]))
    equal(new, y)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_lstm(layer_norm, use_bias):
    cell = rnnjax.cells.lstm(
        H, layer_norm=layer_norm, use_bias=use_bias, param_dtype=jnp.float64
    )
    w_x, w_h, new, y = one_step(cell, rnnjax.cells.LSTMCarry(H0, C0))
    assert ("bias" in w_x) == use_bias
    a, b = X @ w_x["kernel"], H0 @ w_h["kernel"]
    if layer_norm:
        a, b = normalised(a, w_x["scale"]), normalised(b, w_h["scale"])
    i, f, g, o = parts(a + b + w_x.get("bias", 0), [H] * 4)
    c = sigmoid(f) * C0 + sigmoid(i) * np.tanh(g)
    seen = c
    if layer_norm:
        seen = normalised(c, w_h["cell_scale"]) + w_h["cell_bias"]
    equal(new.c, c)
    equal(y, sigmoid(o) * np.tanh(seen))
    equal(new.h, y)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_gru_with_the_reset_before_the_product(layer_norm):
    cell = rnnjax.cells.gru(H, layer_norm=layer_norm, param_dtype=jnp.float64)
    w_x, w_h, new, y = one_step(cell, H0)

    def norm(a, scale, columns):
        return normalised(a, scale[columns]) if layer_norm else a

    gates, candidate = slice(0, 2 * H), slice(2 * H, 3 * H)
    u, k, b = X @ w_x["kernel"], w_h["kernel"], w_x["bias"]
    s_x, s_h = w_x.get("scale"), w_h.get("scale")
    a = norm(u[:, gates], s_x, gates) + norm(H0 @ k[:, gates], s_h, gates)
    z, r = parts(sigmoid(a + b[gates]), [H, H])
    n = norm((r * H0) @ k[:, candidate], s_h, candidate)
    n = np.tanh(norm(u[:, candidate], s_x, candidate) + n + b[candidate])
    equal(y, (1 - z) * H0 + z * n)
    equal(new, y)


def test_gru_with_the_reset_after_the_product():
    cell = rnnjax.cells.gru(H, reset_after=True, param_dtype=jnp.float64)
    w_x, w_h, new, y = one_step(cell, H0)
    u_z, u_r, u_n = parts(X @ w_x["kernel"] + w_x["bias"], [H] * 3)
    z, r, n = parts(H0 @ w_h["kernel"] + w_h["bias"], [H] * 3)
    z, r = sigmoid(u_z + z), sigmoid(u_r + r)
    equal(y, (1 - z) * H0 + z * np.tanh(u_n + r * n))
    equal(new, y)


TREES = {
    "simple": (
        {"input": {"kernel": (F, H), "bias": (H,)}, "recurrent": {"kernel": (H, H)}},
        {},
    ),
    "lstm": (
        {
            "input": {"kernel": (F, 4 * H), "bias": (4 * H,)},
            "recurrent": {"kernel": (H, 4 * H)},
        },
        {},
    ),
    "gru": (
        {
            "input": {"kernel": (F, 3 * H), "bias": (3 * H,)},
            "recurrent": {"kernel": (H, 3 * H), "bias": (3 * H,)},
        },
        {"reset_after": True},
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_the_tree_of_parameters_is_the_documented_one(name):
    tree, options = TREES[name]
    init = getattr(rnnjax.cells, name)(H, **options).init
    x = jax.ShapeDtypeStruct((F,), jnp.float32)
    params = jax.eval_shape(lambda key: init(key, x), jax.random.key(0))
    assert jax.tree.map(lambda p: p.shape, params) == tree
