"""The device subset: float32, at the tolerance that conftest states for the platform.

On CPU one row shows that it runs; `RNNJAX_TEST_PLATFORM=gpu|tpu` runs all of them.
"""

import numpy as np
import pytest

from tests.conformance.harness import (
    AUTODIFF,
    DEFERRED,
    PLATFORM,
    arguments,
    assert_close,
    assert_same,
    evaluate,
    evaluate_loop,
)
from tests.conformance.registry import rows

pytestmark = pytest.mark.device
device_rows = rows(
    where=lambda row: row.schedules and (PLATFORM != "cpu" or row.name == "gru")
)


@device_rows
def test_resets_and_mask_equal_the_loop_of_step(row, tolerance):
    a = arguments(row.name, "float32")
    expected = evaluate_loop(row.name, a.blank(), "float32")
    actual = evaluate(row.name, a.padded([np.nan]), dtype="float32")
    assert_close(actual, expected, **tolerance)


@device_rows
def test_deferred_gradients_are_those_of_autodiff(row, tolerance):
    a = arguments(row.name, "float32").plain()
    expected = evaluate(row.name, a, AUTODIFF, dtype="float32")
    assert_close(
        evaluate(row.name, a, DEFERRED, dtype="float32"), expected, **tolerance
    )


@device_rows
def test_padding_reaches_nothing(row):
    a = arguments(row.name, "float32")
    expected = evaluate(row.name, a.blank(), dtype="float32")
    padded = a.padded([np.inf, -np.inf, np.nan])
    assert_same(evaluate(row.name, padded, dtype="float32"), expected)
