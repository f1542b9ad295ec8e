"""Initial weights: gate by gate, orthogonal, and the biases that are known to help."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import initializers

F, H = 3, 8
X = np.zeros(F, np.float32)
KEY = jax.random.key(0)


@pytest.mark.parametrize(("name", "gates"), [("simple", 1), ("lstm", 4), ("gru", 3)])
def test_each_recurrent_kernel_is_orthogonal_by_itself(name, gates):
    params = getattr(rnnjax, name)(H).init(KEY, X)
    kernels = np.split(np.asarray(params["recurrent"]["kernel"]), gates, axis=1)
    for kernel in kernels:
        np.testing.assert_allclose(kernel.T @ kernel, np.eye(H), atol=1e-5)
    for other in kernels[1:]:
        assert not np.allclose(kernels[0], other)


@pytest.mark.parametrize(("name", "gates"), [("simple", 1), ("lstm", 4), ("gru", 3)])
def test_input_kernels_are_glorot_uniform_gate_by_gate(name, gates):
    x = np.zeros(100, np.float32)
    kernel = getattr(rnnjax, name)(50).init(KEY, x)["input"]["kernel"]
    limit = np.sqrt(6 / (100 + 50))  # of one gate, not of all side by side
    assert kernel.shape == (100, gates * 50)
    assert 0.98 * limit < np.abs(kernel).max() <= limit


def test_the_forget_bias_is_one_and_the_others_are_zero():
    bias = rnnjax.lstm(H).init(KEY, X)["input"]["bias"].reshape(4, H)
    np.testing.assert_array_equal(bias, np.eye(4)[1][:, None] * np.ones(H))
    for name in ("simple", "gru"):
        assert not np.any(getattr(rnnjax, name)(H).init(KEY, X)["input"]["bias"])


def test_chrono_biases_span_the_time_scales():
    longest, units = 100.0, 4000
    bias = initializers.chrono_lstm(longest)(KEY, (4, units))
    i, f, g, o = np.asarray(bias)
    assert not g.any() and not o.any()
    np.testing.assert_array_equal(i, -f)
    times = np.exp(f)  # uniform in [1, longest - 1]
    assert 1 <= times.min() < 2 and 97 < times.max() <= 99.01
    assert times.mean() == pytest.approx(50, rel=0.05)
    z, r, n = np.asarray(initializers.chrono_gru(longest)(KEY, (3, units)))
    assert not r.any() and not n.any()
    assert np.exp(-z).mean() == pytest.approx(50, rel=0.05)


def test_initialisers_are_options():
    zeros, ones = initializers.zeros, initializers.constant(1.0)
    for name in ("simple", "lstm", "gru"):
        rnn = getattr(rnnjax, name)(
            H, kernel_init=ones, recurrent_init=zeros, bias_init=ones
        )
        params = rnn.init(KEY, X)
        assert np.all(params["input"]["kernel"] == 1)
        assert not np.any(params["recurrent"]["kernel"])
        assert np.all(params["input"]["bias"] == 1)


def test_parameters_depend_on_the_key_and_not_on_the_batch():
    rnn = rnnjax.lstm(H)
    one, batch = rnn.init(KEY, X), rnn.init(KEY, np.zeros((5, F), np.float32))
    other = rnn.init(jax.random.key(1), jax.ShapeDtypeStruct((F,), jnp.float32))
    assert jax.tree.all(jax.tree.map(np.array_equal, one, batch))
    assert not np.array_equal(one["input"]["kernel"], other["input"]["kernel"])
    assert not np.array_equal(one["recurrent"]["kernel"], other["recurrent"]["kernel"])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_param_dtype(dtype):
    params = rnnjax.lstm(H, layer_norm=True, param_dtype=dtype).init(KEY, X)
    assert {p.dtype for p in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
