"""What fits where, what "auto" takes, and what the record says."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks import kernels as bundles
from rnnjax import cells, kernels
from rnnjax._by_hand import hand_schedule
from rnnjax.kernels import _plan

PROGRAM = """
= control target key start
     0   :  { %1 = smov 0 }
   0x1 LB: > { %2 = sadd 1 }
   0x2   : > { %3 = sadd 1 }
   0x3 LB: >> { %4 = vld }
base_bounds: (2, 2)
   0x4   : >> { %5 = vst }
   0x5   : > { %6 = sadd 1 }
   0x6 LB: >> { %7 = vld }
   0x7   : > { %8 = sbr }
   0x8   :  { %9 = sbr }
"""


def plan(hidden, batch, dtype=jnp.float32, length=256, make=cells.lstm):
    cell = make(hidden, dtype=dtype)
    first = jax.eval_shape(lambda: cell.initial_carry({}, (batch,)))
    with kernels.interpret():
        return _plan.plan(hand_schedule(cell), first, length)


@pytest.mark.parametrize("batch", [1, 5, 32, 1000, 20000])
@pytest.mark.parametrize("hidden", [1, 256, 1024])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_what_is_planned_fits(batch, hidden, dtype):
    found = plan(hidden, batch, dtype)
    tiles = found.tiles
    assert found.bytes <= 0.75 * 128 * 2**20
    assert tiles.rows % (8 if dtype == jnp.float32 else 16) == 0
    assert tiles.chunk % found.side == 0 and tiles.chunk <= 256
    # Each block of rows loads the kernel again: they are large.
    assert tiles.rows >= min(batch, 32)


def test_chunks_divide_the_sequence_where_some_can():
    assert plan(8, 4, length=100).tiles.chunk == 20
    assert plan(8, 4, length=7).tiles.chunk == 7
    assert plan(8, 4, length=257).tiles.chunk == 32


def test_a_small_memory_is_the_reason(monkeypatch):
    monkeypatch.setattr(_plan, "tpu_memory", lambda: (16 * 2**20, 2))
    assert plan(256, 32).tiles.rows == 16  # one half of the batch a core
    assert "MiB of VMEM, of which the recurrent kernel is 16" in plan(1024, 32)
    assert plan(1024, 32, jnp.bfloat16, make=cells.simple).tiles.rows == 16


def test_bundles_are_counted_by_innermost_loop():
    assert bundles.loops(PROGRAM) == [2, 1]
