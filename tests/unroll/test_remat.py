"""Keeping every K-th carry: same results, and memory that grows with the root of T."""

import jax
import jax.numpy as jnp
import pytest

import rnnjax
from rnnjax import Schedule
from tests.conformance.harness import AUTODIFF, arguments, assert_close, evaluate


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("gru", Schedule(backend="fused", remat=2)),
        ("lstm layer_norm", Schedule(gradient="deferred", remat=3)),
        ("user: carry of every kind", Schedule(remat="sqrt")),
    ],
)
def test_equals_autodiff(name, schedule):
    a = arguments(name).blank()
    assert_close(evaluate(name, a, schedule), evaluate(name, a, AUTODIFF))


def temporary_bytes(length, **options):
    rnn = rnnjax.gru(16, schedule=Schedule(**options))
    xs = jax.ShapeDtypeStruct((length, 4, 8), jnp.float32)
    params = rnn.init(jax.random.key(0), jnp.ones(8))

    def loss(params, xs):
        return jnp.sum(rnn.unroll(params, None, xs)[0] ** 2)

    compiled = jax.jit(jax.grad(loss)).lower(params, xs).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("backend", ["scan", "fused"])
def test_memory_grows_with_the_square_root_of_the_length(backend):
    short, long = (
        temporary_bytes(n, remat="sqrt", backend=backend) for n in (1024, 16384)
    )
    assert long < 4.5 * short
    everything = temporary_bytes(16384, remat="none", backend=backend)
    assert everything > 4 * long


def test_a_block_beside_it_is_an_error():
    with pytest.raises(ValueError, match=r"remat=..., block=...\): expected one of"):
        Schedule(remat=4, block=2)
    with pytest.raises(
        ValueError, match="remat=.*'step', 'sqrt'.*or a number of steps"
    ):
        Schedule(remat="every")
