"""Every score against loops from its equations; what padding may not do."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import attention
from tests.attention.references import attend, sigmoid

pytestmark = pytest.mark.usefixtures("x64")

S, B, Q, M, A = 7, 3, 4, 4, 5
LENGTHS = [7, 3, 0]
GENERATOR = np.random.default_rng(0)
QUERY, MEMORY = GENERATOR.normal(size=(B, Q)), GENERATOR.normal(size=(S, B, M))
COVERAGE = GENERATOR.uniform(size=(B, S))


def additive(p):
    return lambda q, m, c: (
        np.tanh(
            q @ p["query"]["kernel"] + m @ p["key"]["kernel"] + c * p.get("coverage", 0)
        )
        @ np.asarray(p["score"])
    )


def dot(p):
    return lambda q, m, c: q @ m


def general(p):
    return lambda q, m, c: q @ (m @ p["key"]["kernel"])


OPTIONS = {"param_dtype": jnp.float64}
CASES = {
    "bahdanau": (attention.bahdanau(A, **OPTIONS), additive),
    "bahdanau coverage": (attention.bahdanau(A, coverage=True, **OPTIONS), additive),
    "dot": (attention.luong("dot", **OPTIONS), dot),
    "general": (attention.luong("general", **OPTIONS), general),
    "concat": (attention.luong("concat", size=A, **OPTIONS), additive),
    "dot local": (attention.luong("dot", size=A, window=2, **OPTIONS), dot),
    "general local": (attention.luong("general", size=A, window=1, **OPTIONS), general),
    "concat local": (attention.luong("concat", size=A, window=3, **OPTIONS), additive),
}
every_case = pytest.mark.parametrize("name", CASES)
every_kind = pytest.mark.parametrize("name", [*CASES, "multi_head"])


def kind(name):
    if name == "multi_head":
        return attention.multi_head(2, 6, **OPTIONS)
    return CASES[name][0]


def random_params(layer):
    params = layer.init(jax.random.key(0), QUERY, MEMORY[0])
    draw = np.random.default_rng(1).normal
    return jax.tree.map(lambda a: jnp.asarray(draw(size=a.shape)), params)


@every_case
def test_equals_the_equations(name):
    layer, score = CASES[name]
    params = random_params(layer)
    memory = attention.remember(params, MEMORY, lengths=np.array(LENGTHS))
    context, weights = layer.read(params, memory, QUERY, COVERAGE)
    options = {"coverage": COVERAGE if layer.coverage else None}
    if "place" in params:
        place = params["place"]
        window = {"dot local": 2, "general local": 1, "concat local": 3}[name]
        options["window"] = window
        options["place"] = lambda q: sigmoid(
            np.tanh(q @ place["kernel"]) @ place["score"]
        )
    expected = attend(
        score(jax.tree.map(np.asarray, params)), MEMORY, LENGTHS, QUERY, **options
    )
    np.testing.assert_allclose(weights, expected[1], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(context, expected[0], rtol=1e-10, atol=1e-12)


@every_kind
def test_padding_reaches_no_context_and_no_gradient(name):
    layer = kind(name)
    params = random_params(layer)
    mask = np.arange(S)[:, None] < np.array(LENGTHS)

    def run(params, memory, query, how):
        remembered = attention.remember(params, memory, **how)
        context, weights = layer.read(params, remembered, query, COVERAGE)
        return jnp.sum(jnp.sin(context)) + jnp.sum(weights**2), (context, weights)

    gradient = jax.value_and_grad(run, argnums=(0, 1, 2), has_aux=True)
    blank = np.where(mask[..., None], MEMORY, 0)
    expected = gradient(params, blank, QUERY, {"mask": mask})
    for values in (np.nan, np.inf):
        dirty = np.where(mask[..., None], MEMORY, values)
        result = gradient(params, dirty, QUERY, {"lengths": np.array(LENGTHS)})
        chex.assert_trees_all_equal(result, expected)
    (_, (context, weights)), gradients = expected
    chex.assert_tree_all_finite(expected)
    assert not np.any(context[2]) and not np.any(weights[2])
    assert not np.any(gradients[1][~mask])


@every_kind
def test_any_batch_axes_and_no_positions(name):
    layer = kind(name)
    params = random_params(layer)

    def run(memory, query, coverage):
        return layer.read(params, attention.remember(params, memory), query, coverage)

    one_by_one = jax.vmap(run, (1, 0, 0))(MEMORY, QUERY, COVERAGE)
    chex.assert_trees_all_close(run(MEMORY, QUERY, COVERAGE), one_by_one, rtol=1e-12)
    context, weights = run(MEMORY[:0], QUERY, COVERAGE[:, :0])
    assert not np.any(context) and weights.shape[-1] == 0


@pytest.mark.parametrize(
    "call, error, match",
    [
        (lambda p: attention.remember(p, np.ones(3)), ValueError, "axis of positions"),
        (lambda p: attention.remember(p, np.ones((3, 2), int)), TypeError, "floating"),
        (
            lambda p: attention.remember(p, MEMORY, lengths=[1, 2]),
            ValueError,
            r"lengths: expected shape \(3,\)",
        ),
        (
            lambda p: attention.remember(p, MEMORY, mask=np.ones((S, B))),
            TypeError,
            "mask: expected bool",
        ),
        (
            lambda p: attention.remember(p, MEMORY, lengths=LENGTHS, mask=np.ones(3)),
            ValueError,
            "got both",
        ),
        (lambda p: attention.remember(p, np.ones((S, 9))), ValueError, "4 features"),
        (
            lambda p: kind("general").read(p, attention.remember(p, MEMORY), QUERY[0]),
            ValueError,
            "query: expected",
        ),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call(random_params(kind("general")))


def test_errors_of_the_factories():
    with pytest.raises(ValueError, match="luong.score"):
        attention.luong("cosine")
    with pytest.raises(ValueError, match="size: concat"):
        attention.luong(window=2)
    with pytest.raises(ValueError, match="divisor"):
        attention.multi_head(3, 4)
    with pytest.raises(ValueError, match="coverage: expected"):
        layer = kind("bahdanau coverage")
        params = random_params(layer)
        layer.read(params, attention.remember(params, MEMORY), QUERY)
    with pytest.raises(ValueError, match="one size"):
        attention.luong("dot").init(jax.random.key(0), QUERY[:, :2], MEMORY[0])
    with pytest.raises(ValueError, match="size of the keys"):
        attention.scaled_dot_product(
            jnp.ones(2), attention.Memory(jnp.ones((3, 4)), jnp.ones((3, 4)), None)
        )


def test_the_coverage_loss_is_its_definition():
    weights = np.random.default_rng(3).dirichlet(np.ones(S), size=(5, B))
    expected = np.zeros((5, B))
    for t in range(5):
        for b in range(B):
            for s in range(S):
                expected[t, b] += min(weights[t, b, s], weights[:t, b, s].sum())
    np.testing.assert_allclose(attention.coverage_loss(weights), expected, rtol=1e-10)
