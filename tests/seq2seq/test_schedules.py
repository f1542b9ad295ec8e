"""The schedules are their formulas, fall, and stay probabilities."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax.seq2seq import schedules

CASES = [
    (schedules.constant(0.3), lambda i: 0.3),
    (schedules.linear(50), lambda i: max(0.0, 1 - i / 50)),
    (
        schedules.linear(80, start=0.9, end=0.2),
        lambda i: max(0.2, 0.9 - 0.7 * i / 80),
    ),
    (schedules.exponential(0.97), lambda i: 0.97**i),
    (schedules.inverse_sigmoid(20.0), lambda i: 20 / (20 + math.exp(i / 20))),
]


@pytest.mark.parametrize("schedule, formula", CASES)
def test_equals_its_formula(schedule, formula):
    steps = range(0, 200, 7)
    values = jax.jit(schedule)(jnp.array(steps))
    np.testing.assert_allclose(values, [formula(i) for i in steps], rtol=1e-5)
    assert np.all(np.diff(values) <= 0) and values.dtype == jnp.float32
    assert 0 <= schedule(10**9) <= 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.constant(1.5),
        lambda: schedules.linear(0),
        lambda: schedules.linear(9, start=0.2, end=0.5),
        lambda: schedules.exponential(1.0),
        lambda: schedules.inverse_sigmoid(0.5),
    ],
)
def test_errors(make):
    with pytest.raises(ValueError, match="expected"):
        make()
