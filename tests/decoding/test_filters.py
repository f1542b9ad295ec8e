"""The filters by their definitions, written as NumPy over one distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import decoding

LOGITS = np.random.default_rng(0).normal(size=(3, 5, 8)).astype("float32") * 2


def kept(filtered):
    filtered = np.asarray(filtered)
    where = np.isfinite(filtered)
    np.testing.assert_array_equal(filtered[where], LOGITS[where])
    return where


def by_definition(rule):
    """`rule` says of one distribution which tokens are kept."""
    return np.stack(
        [np.stack([rule(row) for row in rows]) for rows in np.asarray(LOGITS)]
    )


@pytest.mark.parametrize("k", [1, 3, 8, 20])
def test_top_k(k):
    def rule(row):
        return np.isin(np.arange(8), sorted(range(8), key=lambda i: -row[i])[:k])

    np.testing.assert_array_equal(kept(decoding.top_k(LOGITS, k)), by_definition(rule))


@pytest.mark.parametrize("p", [0.01, 0.5, 0.9, 1.0])
def test_top_p(p):
    def rule(row):
        probabilities = np.exp(row) / np.exp(row).sum()
        where, total = np.zeros(8, bool), 0.0
        for i in sorted(range(8), key=lambda i: -row[i]):
            where[i] = total < p or p == 1
            total += probabilities[i]
        return where

    np.testing.assert_array_equal(kept(decoding.top_p(LOGITS, p)), by_definition(rule))


@pytest.mark.parametrize("p", [0.0, 0.1, 1.0])
def test_min_p(p):
    def rule(row):
        return np.exp(row - row.max()) >= p

    np.testing.assert_array_equal(kept(decoding.min_p(LOGITS, p)), by_definition(rule))


def test_temperature():
    np.testing.assert_allclose(
        decoding.temperature(LOGITS, 0.5),
        2 * (LOGITS - LOGITS.max(-1, keepdims=True)),
        rtol=1e-6,
    )
    greedy = decoding.temperature(LOGITS, 0)
    assert np.all(np.isfinite(greedy).sum(-1) == 1)
    np.testing.assert_array_equal(np.argmax(greedy, -1), np.argmax(LOGITS, -1))


def test_equal_logits_leave_one_and_an_order():
    assert decoding.top_k(jnp.zeros(4), 2).tolist() == [0, 0, -np.inf, -np.inf]
    assert decoding.top_p(jnp.zeros(4), 0.3).tolist() == [0, 0, -np.inf, -np.inf]


def test_repetition_penalty():
    logits = jnp.array([2.0, -2.0, 2.0, -2.0])
    seen = jnp.array([True, True, False, False])
    penalised = decoding.repetition_penalty(logits, seen, 4.0)
    assert penalised.tolist() == [0.5, -8.0, 2.0, -2.0]


@pytest.mark.parametrize("temperature", [0.0, 1e-50, 1e-38, 1.5])
@pytest.mark.parametrize(
    "rest", [(), (1, 1e-3, 1.0), (9, 0.5, 0.3), (None, 1.0, 0.0), (4, None, 0.5)]
)
def test_something_is_always_kept_and_drawn(temperature, rest):
    sampling = decoding.Sampling(1.2, temperature, *rest)

    @jax.jit
    def run(logits, seen, key):
        return sampling.filtered(logits, seen), sampling.choose(logits, seen, key)

    filtered, token = run(LOGITS, LOGITS[::-1] > 0, jax.random.key(0))
    assert not np.isnan(filtered).any()
    assert np.all(
        np.take_along_axis(np.asarray(filtered), np.asarray(token)[..., None], -1)
        > -np.inf
    )


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"top_k": 0},
        {"top_p": 0.0},
        {"min_p": 1.5},
        {"repetition_penalty": 0.0},
    ],
)
def test_errors(options):
    with pytest.raises(ValueError, match=f"Sampling.{next(iter(options))}"):
        decoding.Sampling(**options)
