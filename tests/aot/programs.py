"""The programs that these tests compile, and who can compile them."""

from importlib.util import find_spec

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

import rnnjax

# No product of a split one, of 2^n times B rows, has the size of a weight.
T, B, F, H = 64, 40, 24, 128
TARGETS = ("v5e:2x2", "v6e:2x2", "v5p:2x2x1", "h100")
CELLS = {"lstm": rnnjax.lstm, "gru": rnnjax.gru, "simple": rnnjax.simple}
GATES = {"lstm": 4, "gru": 3, "simple": 1}
ALONE = {}
DATA_PARALLEL = {"mesh": {"data": 4}, "specs": (P(), P(None, "data"))}


def needs(target):
    """Skips a test where the compiler of that target is not installed."""
    package = "jax_cuda12_plugin" if target.startswith("h100") else "libtpu"
    reason = f"{package} is not installed: pip install 'rnnjax[aot]'"
    return pytest.mark.skipif(find_spec(package) is None, reason=reason)


def on(*targets):
    """A parametrisation of `target`, each of which needs its compiler."""
    values = [pytest.param(target, marks=needs(target)) for target in targets]
    return pytest.mark.parametrize("target", values)


def forward(rnn, steps=T):
    """A sequence through a layer, and the types of its arguments."""
    xs = jax.ShapeDtypeStruct((steps, B, F), jnp.float32)
    params = jax.eval_shape(rnn.init, jax.random.key(0), xs)
    return lambda params, xs: rnn.unroll(params, None, xs)[1], (params, xs)


def value_and_grad(rnn, steps=T):
    """The value and gradient of ``mean(ys**2)`` in weights and inputs."""
    run, args = forward(rnn, steps)
    loss = lambda params, xs: jnp.mean(run(params, xs) ** 2)  # noqa: E731
    return jax.value_and_grad(loss, (0, 1)), args
