"""LRU, RG-LRU and minGRU against NumPy loops of their papers' equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from tests.conformance.harness import compiled

pytestmark = pytest.mark.usefixtures("x64")
T, B, F, H = 6, 2, 3, 4
XS = np.random.default_rng(0).normal(size=(T, B, F))


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def with_random_params(rnn):
    """The layer's outputs for parameters that are all random, and those."""
    generator = np.random.default_rng(1)
    params = rnn.init(jax.random.key(0), jnp.asarray(XS[0]))
    params = jax.tree.map(lambda p: generator.normal(0, 0.5, p.shape), params)
    outputs = compiled(lambda params: rnn.unroll(params, None, jnp.asarray(XS)))(params)
    return outputs, params


def check(actual, a, b, output):
    """The carry and the outputs are those of the loop ``h = a h + b``."""
    h, ys = np.zeros((B, H)), []
    for t in range(T):
        h = a[t] * h + b[t]
        ys.append(output(t, h))
    np.testing.assert_allclose(actual[0], h, rtol=1e-10)
    np.testing.assert_allclose(actual[1], np.stack(ys), rtol=1e-10)


def test_lru():
    actual, params = with_random_params(rnnjax.lru(H, param_dtype=jnp.float64))
    own, nu, theta = params["input"], *params["recurrent"].values()
    decay = np.exp(-np.exp(nu) + 1j * np.exp(theta))
    matrix = (own["kernel"][:, :H] + 1j * own["kernel"][:, H:]) * np.exp(own["gamma"])
    kernel, skip = params["output"]["kernel"], params["output"]["skip"]
    out = kernel[:H] - 1j * kernel[H:]
    check(actual, [decay] * T, XS @ matrix, lambda t, h: (h @ out).real + skip * XS[t])


@pytest.mark.parametrize("use_bias", [True, False])
def test_rg_lru(use_bias):
    rnn = rnnjax.rg_lru(H, use_bias=use_bias, param_dtype=jnp.float64)
    actual, params = with_random_params(rnn)
    u = XS @ params["input"]["kernel"] + params["input"].get("bias", 0)
    r, i, v = np.split(u, 3, -1)
    # The paper's form: the decay a = sigmoid(-Lambda), to the power c r, with c = 8.
    a = sigmoid(-params["recurrent"]["decay"]) ** (8 * sigmoid(r))
    check(actual, a, np.sqrt(1 - a**2) * sigmoid(i) * v, lambda t, h: h)


@pytest.mark.parametrize("use_bias", [True, False])
def test_min_gru(use_bias):
    rnn = rnnjax.min_gru(H, use_bias=use_bias, param_dtype=jnp.float64)
    actual, params = with_random_params(rnn)
    u = XS @ params["input"]["kernel"] + params["input"].get("bias", 0)
    z, n = np.split(u, 2, -1)
    z = sigmoid(z)
    check(actual, 1 - z, z * n, lambda t, h: h)


def test_initial_memory():
    """LRU: the ring, and gamma of it. RG-LRU: the decay where the gate is open."""
    lru = rnnjax.lru(500, min_radius=0.9, max_radius=0.99, max_phase=0.5)
    params = lru.init(jax.random.key(0), jnp.ones(F))
    radius = np.exp(-np.exp(params["recurrent"]["nu"]))
    assert 0.9 <= radius.min() < 0.91 and 0.98 < radius.max() <= 0.99
    assert 0.45 < np.exp(params["recurrent"]["theta"]).max() <= 0.5
    gamma = np.exp(params["input"]["gamma"])
    np.testing.assert_allclose(gamma, np.sqrt(1 - radius**2), rtol=1e-4)
    for edge in (rnnjax.lru(5000), rnnjax.lru(5000, min_radius=0.999)):
        params = edge.init(jax.random.key(0), jnp.ones(F))
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(params))
    params = rnnjax.rg_lru(500).init(jax.random.key(0), jnp.ones(F))
    decay = sigmoid(-np.asarray(params["recurrent"]["decay"], np.float64)) ** 8
    assert 0.9 <= decay.min() < 0.901 and 0.998 < decay.max() <= 0.999


def test_a_closed_recurrence_gate_has_a_gradient():
    rnn = rnnjax.rg_lru(1, param_dtype=jnp.float32)
    params = rnn.init(jax.random.key(0), jnp.ones(1, jnp.float32))
    params["input"]["bias"] = jnp.asarray([-200.0, 0.0, 0.0], jnp.float32)

    def loss(params):
        return rnn.unroll(params, None, jnp.ones((3, 1), jnp.float32))[1].sum()

    gradient = jax.grad(loss)(params)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


TREES = {
    "lru": {
        "input": {"kernel": (F, 2 * H), "gamma": (H,)},
        "recurrent": {"nu": (H,), "theta": (H,)},
        "output": {"kernel": (2 * H, F), "skip": (F,)},
    },
    "rg_lru": {
        "input": {"kernel": (F, 3 * H), "bias": (3 * H,)},
        "recurrent": {"decay": (H,)},
    },
    "min_gru": {"input": {"kernel": (F, 2 * H), "bias": (2 * H,)}, "recurrent": {}},
}


@pytest.mark.parametrize("name", TREES)
def test_parameters_and_types(name):
    """The documented tree; under bfloat16 compute the carry stays wide."""
    rnn = getattr(rnnjax, name)(H, dtype=jnp.bfloat16)

    def run(key):
        params = rnn.init(key, jnp.ones(F, jnp.float32))
        return params, rnn.unroll(params, None, jnp.ones((T, B, F), jnp.float32))

    params, (carry, ys) = jax.eval_shape(run, jax.random.key(0))
    assert jax.tree.map(lambda p: p.shape, params) == TREES[name]
    assert {p.dtype.name for p in jax.tree.leaves(params)} == {"float32"}
    assert ys.dtype == jnp.bfloat16
    assert carry.dtype == (jnp.complex64 if name == "lru" else jnp.float32)


def test_bad_arguments():
    with pytest.raises(ValueError, match="hidden_size: expected a positive integer"):
        rnnjax.min_gru(0)
    with pytest.raises(ValueError, match=r"lru\(min_radius, max_radius\): expected 0"):
        rnnjax.lru(4, min_radius=0.9, max_radius=0.5)
    with pytest.raises(ValueError, match=r"max_decay <= 1, got 0.5 and 1.5"):
        rnnjax.rg_lru(4, min_decay=0.5, max_decay=1.5)
