"""Dot-product attention equals PyTorch's, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import attention
from tests.interop.problems import peer

pytestmark = pytest.mark.interop
torch = peer("torch")
torch.set_num_threads(1)

S, B, Q, M, SIZE, HEADS = 6, 3, 8, 5, 8, 4
MASK = np.arange(S)[:, None] < np.array([6, 3, 1])
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_scaled_dot_product():
    query, keys, values = normal(0, B, Q), normal(1, B, S, Q), normal(2, B, S, M)
    memory = attention.Memory(jnp.asarray(keys), jnp.asarray(values), MASK.T)
    context, _ = attention.scaled_dot_product(jnp.asarray(query), memory)
    expected = torch.nn.functional.scaled_dot_product_attention(
        *map(torch.tensor, (query[:, None], keys, values)),
        attn_mask=torch.tensor(MASK.T)[:, None],
    )
    np.testing.assert_allclose(context, expected[:, 0].numpy(), **CLOSE)


def test_multi_head():
    layer = attention.multi_head(HEADS, SIZE)
    query, memory = normal(0, B, Q), normal(1, S, B, M)
    params = layer.init(jax.random.key(0), query, memory[0])
    params = jax.tree.map(lambda a: jnp.asarray(normal(2, *a.shape)), params)
    theirs = torch.nn.MultiheadAttention(SIZE, HEADS, kdim=M, vdim=M)
    names = {"query": "q", "key": "k", "value": "v"}
    with torch.no_grad():
        for name, short in names.items():
            weight = getattr(theirs, f"{short}_proj_weight")
            weight.copy_(torch.tensor(np.asarray(params[name]["kernel"]).T))
        biases = [params[name]["bias"] for name in names]
        theirs.in_proj_bias.copy_(torch.tensor(np.concatenate(biases)))
        theirs.out_proj.weight.copy_(
            torch.tensor(np.asarray(params["output"]["kernel"]).T)
        )
        theirs.out_proj.bias.copy_(torch.tensor(np.asarray(params["output"]["bias"])))
    given = [torch.tensor(a, requires_grad=True) for a in (query, memory)]
    context, weights = theirs(
        given[0][None],
        given[1],
        given[1],
        key_padding_mask=torch.tensor(~MASK.T),
        average_attn_weights=False,
    )
    torch.sum(torch.sin(context)).backward()

    def run(query, memory):
        remembered = attention.remember(params, memory, mask=MASK)
        result = layer.read(params, remembered, query)
        return jnp.sum(jnp.sin(result[0])), result

    gradients, result = jax.grad(run, (0, 1), has_aux=True)(
        jnp.asarray(query), jnp.asarray(memory)
    )
    np.testing.assert_allclose(result[0], context[0].detach().numpy(), **CLOSE)
    np.testing.assert_allclose(result[1], weights[:, :, 0].detach().numpy(), **CLOSE)
    for ours, tensor in zip(gradients, given, strict=True):
        np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=1e-4, atol=1e-5)
