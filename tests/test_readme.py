"""The README's code runs as it stands there, and its cell is a full citizen."""

import pathlib
import re

import chex
import jax
import jax.numpy as jnp
import pytest

import rnnjax

README = pathlib.Path(__file__).parent.parent / "README.md"


@pytest.fixture(scope="module")
def names():
    """What the README's Python blocks define, run one after the other."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    defined = {}
    for block in blocks:
        exec(block, defined)
    return defined


def test_the_blocks_run_and_say_what_is_shown(names, capsys):
    assert names["ys"].shape == (100, 32, 10)
    assert names["y"].shape == (32, 10)
    explained = rnnjax.explain(*(names[n] for n in ("rnn", "params", "xs")))
    assert "gradient" in str(explained)


def test_the_cell_is_a_dozen_lines():
    block = README.read_text().split("```python\n")[1].split("```")[0]
    body = block.split("\n\n", 1)[1].strip().splitlines()
    assert len(body) <= 12


def test_the_cell_defers_and_trains(names):
    xs = jax.random.normal(jax.random.key(0), (12, 4, 3))
    targets = jnp.cumsum(xs[..., :1], 0) / 4

    def loss_of(gradient):
        schedule = rnnjax.Schedule(gradient=gradient)
        rnn = rnnjax.stack(rnnjax.layer(names["mgu"](8), schedule), rnnjax.dense(1))

        def loss(params):
            return jnp.mean((rnn.unroll(params, None, xs)[1] - targets) ** 2)

        return rnn, loss

    rnn, loss = loss_of("deferred")
    params = rnn.init(jax.random.key(1), xs[0])
    gradient = jax.jit(jax.value_and_grad(loss))
    oracle = jax.jit(jax.value_and_grad(loss_of("autodiff")[1]))(params)
    first, gradients = gradient(params)
    chex.assert_trees_all_close((first, gradients), oracle, rtol=1e-4, atol=1e-6)
    for _ in range(60):
        params = jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient(params)[1])
    assert gradient(params)[0] < 0.3 * first
