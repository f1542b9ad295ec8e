"""The attentive cell: its equations, input feeding, binding, decoding step by step."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import attention
from tests.attention.references import attend

T, S, B, F, H, M = 4, 5, 2, 3, 4, 6
LENGTHS = np.array([5, 2])
XS = np.random.default_rng(0).normal(size=(T, B, F)).astype("float32")
MEMORY = np.random.default_rng(1).normal(size=(S, B, M)).astype("float32")


def build(inside, read, **options):
    rnn = rnnjax.layer(attention.attentive(inside, read, M, **options))
    params = rnn.init(jax.random.key(0), XS[0])
    draw = np.random.default_rng(2).normal
    return rnn, jax.tree.map(
        lambda a: jnp.asarray(draw(size=a.shape, scale=0.5), a.dtype), params
    )


def test_equals_the_equations():
    read = attention.bahdanau(5, coverage=True)
    rnn, params = build(rnnjax.cells.simple(H), read, features=7, return_weights=True)
    bound = attention.bind(params, MEMORY, lengths=LENGTHS)
    carry, (outputs, weights) = rnn.unroll(bound, None, XS)

    p = jax.tree.map(np.asarray, params)
    w, a = p["recurrent"], p["recurrent"]["attention"]

    def score(q, m, c):
        inside = q @ a["query"]["kernel"] + m @ a["key"]["kernel"] + c * a["coverage"]
        return np.tanh(inside) @ a["score"]

    h, o, covered = np.zeros((B, H)), np.zeros((B, 7)), np.zeros((B, S))
    for t in range(T):
        u = XS[t] @ p["input"]["kernel"] + p["input"]["bias"] + o @ w["feed"]["kernel"]
        h = np.tanh(u + h @ w["cell"]["kernel"])
        context, new = attend(score, MEMORY, LENGTHS, h, coverage=covered)
        both = np.concatenate([context, h], -1)
        o = np.tanh(both @ w["output"]["kernel"] + w["output"]["bias"])
        covered = covered + new
        np.testing.assert_allclose(outputs[t], o, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(weights[t], new, rtol=1e-4, atol=1e-5)
    expected = attention.AttentionCarry(h, o, covered)
    chex.assert_trees_all_close(carry, expected, rtol=1e-4, atol=1e-5)


def test_a_cell_and_its_layer_are_one_function():
    """The feed kernel is the lower part of the input kernel of ``[x, o]``."""
    read = attention.luong("general")
    of_cell, params = build(rnnjax.cells.lstm(H), read)
    of_layer, other = build(rnnjax.lstm(H), read)
    weights = params["recurrent"]
    kernels = [params["input"]["kernel"], weights["feed"]["kernel"]]
    inside = {
        "input": {**params["input"], "kernel": jnp.concatenate(kernels)},
        "recurrent": weights["cell"],
    }
    shared = {name: weights[name] for name in ("attention", "output")}
    joined = {"input": {}, "recurrent": {"cell": inside, **shared}}
    chex.assert_trees_all_equal_shapes(joined, other)
    results = [
        rnn.unroll(attention.bind(p, MEMORY, lengths=LENGTHS), None, XS)
        for rnn, p in ((of_cell, params), (of_layer, joined))
    ]
    chex.assert_trees_all_close(*results, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def decoder():
    """A stack whose second layer attends."""
    cell = attention.attentive(rnnjax.cells.gru(H), attention.luong(), M)
    rnn = rnnjax.stack(rnnjax.embed(7, F), rnnjax.layer(cell), rnnjax.dense(7))
    return rnn, rnn.init(jax.random.key(0), jnp.zeros(B, int))


def test_bind_reaches_into_a_composition(decoder):
    rnn, params = decoder
    tokens = jnp.array([[1, 2], [3, 4], [5, 6]])

    @jax.jit
    def run(params, memory):
        bound = attention.bind(params, memory, lengths=LENGTHS)
        return rnn.unroll(bound, None, tokens)[1]

    ys = run(params, MEMORY)
    one = rnn.unroll(attention.bind(params, MEMORY[:2, 1]), None, tokens[:, 1])[1]
    np.testing.assert_allclose(ys[:, 1], one, rtol=1e-4, atol=1e-5)
    gradient = jax.jit(jax.grad(lambda memory: run(params, memory).sum()))(MEMORY)
    assert np.any(gradient[:2, 1]) and not np.any(gradient[2:, 1])
    assert attention.attends(params) and not attention.attends(params["2"])
    assert "memory" not in params["1"]["recurrent"]


def test_outputs_fed_back_defer_the_gradient_of_the_memory(decoder):
    """A greedy loop of `step` inside `rnnjax.scan`, and inside `jax.lax.scan`."""
    rnn, params = decoder

    def loss(scan, params, memory):
        bound = attention.bind(params, memory, lengths=LENGTHS)

        def step(state, _):
            carry, token = state
            carry, logits = rnn.step(bound, carry, token)
            return (carry, jnp.argmax(logits, -1)), logits

        start = rnn.initial_carry(bound, (B,)), jnp.zeros(B, int)
        return jnp.sum(jnp.sin(scan(step, start, None, 3)[1]))

    gradients = [
        jax.jit(jax.grad(lambda p, m, s=s: loss(s, p, m), (0, 1)))(params, MEMORY)
        for s in (rnnjax.scan, jax.lax.scan)
    ]
    chex.assert_trees_all_close(*gradients, rtol=1e-4, atol=1e-6)
    assert np.any(gradients[0][1])


def test_running_without_a_memory_raises_or_is_nan(decoder):
    rnn, params = decoder
    tokens = jnp.zeros((3, B), int)
    with pytest.raises(ValueError, match="Bind it for the call"):
        rnn.unroll(params, None, tokens)
    with pytest.raises(ValueError, match="Bind it for the call"):
        rnn.step(params, None, tokens[0])
    assert np.all(np.isnan(jax.jit(rnn.unroll)(params, None, tokens)[1]))
    with pytest.raises(ValueError, match="found none"):
        attention.bind(params["2"], MEMORY)


def test_the_keys_are_computed_outside_the_loop():
    """The loop has the products of the step, and none with all of the memory's size."""
    cell = attention.attentive(rnnjax.cells.simple(H), attention.bahdanau(11), M)
    rnn = rnnjax.layer(cell, rnnjax.Schedule(gradient="autodiff", backend="scan"))
    params = rnn.init(jax.random.key(0), XS[0])

    def run(params):
        return rnn.unroll(attention.bind(params, MEMORY), None, XS)[1]

    def products(jaxpr):
        for eqn in jaxpr.eqns:
            if eqn.primitive.name == "dot_general":
                yield [v.aval.shape for v in eqn.invars]
            for inner in jax.tree.leaves(list(eqn.params.values())):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from products(inner)

    shapes = list(products(jax.make_jaxpr(run)(params).jaxpr))
    of_keys = [s for s in shapes if (M, 11) in s]
    assert of_keys == [[(B, S, M), (M, 11)]]
    loop = next(
        eqn
        for eqn in jax.make_jaxpr(run)(params).jaxpr.eqns
        if "scan" in str(eqn.primitive)
    )
    assert (M, 11) not in [v.aval.shape for v in loop.invars]


def test_bad_arguments():
    with pytest.raises(TypeError, match="Attention"):
        attention.attentive(rnnjax.cells.gru(H), attention.luong, M)
    with pytest.raises(TypeError, match="rnnjax.Cell or a rnnjax.RNN"):
        attention.attentive(rnnjax.gru, attention.luong(), M)
    with pytest.raises(ValueError, match="Wrap rnnjax.layer"):
        cell = rnnjax.cells.gru(H)._replace(readout=lambda params, y, x, u: y)
        attention.attentive(cell, attention.luong(), M)
    with pytest.raises(ValueError, match="in front of attentive"):
        attention.attentive(rnnjax.embed(3, 2), attention.luong(), M)
    with pytest.raises(ValueError, match="one array"):
        cell = rnnjax.zoneout(rnnjax.cells.gru(H), 0.1)
        build(cell, attention.luong())
