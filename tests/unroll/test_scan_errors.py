"""What raises under `jax.lax.scan` raises the same under `rnnjax.scan`."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import rnnjax

H0 = jnp.zeros(3)
XS = jnp.ones((5, 3))
AN_OBJECT = object()


def keep(h, x):
    return h, x


class Unhashable:
    __hash__ = None

    def __call__(self, h, x):
        return h, x


def fails(h, x):
    raise KeyError("inside the step")


CASES = {
    "carry changes dtype": lambda scan: scan(
        lambda h, x: (h.astype(jnp.bfloat16), x), H0, XS
    ),
    "carry changes shape": lambda scan: scan(lambda h, x: (h[:2], x), H0, XS),
    "carry changes rank": lambda scan: scan(lambda h, x: (h.sum(), x), H0, XS),
    "a leaf of the carry changes": lambda scan: scan(
        lambda c, x: ({"a": c["a"], "b": c["b"].astype(jnp.int32)}, x),
        {"a": H0, "b": H0},
        XS,
    ),
    "strong int carry becomes float": lambda scan: scan(
        lambda h, x: (h + 0.5, x), jnp.zeros((), jnp.int32), XS
    ),
    "weak carry changes shape": lambda scan: scan(lambda c, x: (c + x, x), 0.0, XS),
    "carry of another structure": lambda scan: scan(lambda h, x: ((h, h), x), H0, XS),
    "carry of another container": lambda scan: scan(
        lambda c, x: (list(c), x), (H0, H0), XS
    ),
    "carry with another key": lambda scan: scan(
        lambda c, x: ({"b": c["a"]}, x), {"a": H0}, XS
    ),
    "carry becomes None": lambda scan: scan(lambda h, x: (None, x), H0, XS),
    "xs of different lengths": lambda scan: scan(keep, H0, (XS, XS[:3])),
    "length other than xs": lambda scan: scan(keep, H0, XS, length=4),
    "negative length": lambda scan: scan(keep, H0, XS, length=-1),
    "neither xs nor length": lambda scan: scan(keep, H0, None),
    "xs without leaves": lambda scan: scan(keep, H0, {}),
    "traced length": lambda scan: jax.jit(lambda n: scan(keep, H0, None, n))(3),
    "length is no number": lambda scan: scan(keep, H0, None, length="three"),
    "traced unroll": lambda scan: jax.jit(lambda n: scan(keep, H0, XS, unroll=n))(2),
    "negative unroll": lambda scan: scan(keep, H0, XS, unroll=-1),
    "no pair": lambda scan: scan(lambda h, x: h, H0, XS),
    "a triple": lambda scan: scan(lambda h, x: (h, x, x), H0, XS),
    "returns None": lambda scan: scan(lambda h, x: None, H0, XS),
    "returns an array": lambda scan: scan(lambda h, x: jnp.stack([h, x]), H0, XS),
    "returns a string": lambda scan: scan(lambda h, x: (h, "text"), H0, XS),
    "xs is a list of numbers": lambda scan: scan(keep, H0, [1, 2, 3]),
    "xs is a number": lambda scan: scan(keep, H0, 3.0),
    "xs has no axis": lambda scan: scan(keep, H0, jnp.float32(3)),
    "xs is a string": lambda scan: scan(keep, H0, "text"),
    "xs is an object": lambda scan: scan(keep, H0, AN_OBJECT),
    "carry is a string": lambda scan: scan(keep, "text", XS),
    "f is no function": lambda scan: scan(3, H0, XS),
    "f is not hashable": lambda scan: scan(Unhashable(), H0, XS),
    "f takes one argument": lambda scan: scan(jnp.tanh, H0, XS),
    "f raises": lambda scan: scan(fails, H0, XS),
    "f branches on a value": lambda scan: scan(
        lambda h, x: (h, x) if x[0] > 0 else (x, h), H0, XS
    ),
    "rank promotion": lambda scan: scan(lambda h, x: (h + x, x), jnp.ones((2, 3)), XS),
    "under grad": lambda scan: jax.grad(
        lambda w: scan(lambda h, x: ((h * w)[:2], x), H0, XS)[0].sum()
    )(2.0),
    "under vmap": lambda scan: jax.vmap(lambda h: scan(lambda h, x: (h[:2], x), h, XS))(
        jnp.zeros((4, 3))
    ),
    "zero steps": lambda scan: scan(lambda h, x: (h[:2], x), H0, XS[:0]),
}


def raised(case, scan):
    with pytest.raises(Exception) as info:  # noqa: PT011, B017
        case(scan)
    return info.type, str(info.value)


@pytest.mark.parametrize("name", CASES)
def test_raises_what_lax_scan_raises(name):
    expected, got = (raised(CASES[name], scan) for scan in (lax.scan, rnnjax.scan))
    assert got == expected


def test_no_reverse_gradient_of_a_while_loop():
    def gradient(scan):
        def loss(w):
            def step(h, x):
                return lax.while_loop(lambda h: h.sum() < 9, lambda h: h + w, h), x

            return scan(step, H0, XS)[0].sum()

        return jax.grad(loss)(1.0)

    assert raised(gradient, rnnjax.scan) == raised(gradient, lax.scan)


def test_no_forward_gradient_of_a_custom_vjp():
    @jax.custom_vjp
    def sine(x):
        return jnp.sin(x)

    sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))

    def tangent(scan):
        def loss(w):
            return scan(lambda h, x: (sine(h * w + x), h), H0, XS)[0].sum()

        return jax.jvp(loss, (1.0,), (1.0,))

    assert raised(tangent, rnnjax.scan) == raised(tangent, lax.scan)


def test_varying_axes_of_the_carry():
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))

    def mapped(scan):
        def local(xs):
            return scan(lambda h, x: (h + x, h), jnp.zeros((1, 3)), xs)[0]

        spec = jax.sharding.PartitionSpec("rows")
        return jax.shard_map(
            local,
            mesh=mesh,
            in_specs=jax.sharding.PartitionSpec(None, "rows"),
            out_specs=spec,
        )(jnp.ones((5, 8, 3)))

    assert raised(mapped, rnnjax.scan) == raised(mapped, lax.scan)
