"""Recurrences scheduled by hand: the time loop of a `HandSchedule`.

Inside the loop arrays lie in one of two layouts. "rows" is ``[B, G H]``, as everywhere
else. "columns" is feature-major and flat, ``[G H B]``: the product
``[G H, H] @ [H, B]`` is the faster one on CPU, above all for small batches, and
elementwise work vectorises over one long axis; in return what enters and leaves the
loop is transposed. The batch is cut in parts that the loop runs side by side: while one
is busy with its nonlinearities, which take one core, another multiplies.

The forward loop leaves the factors of its linearisation behind, those of the gates
where the projected input was (`Run.rewrite`). The tangents of all steps solve one
linear system. With ``dz_t`` those of the pre-activations, ``ds_t`` of the carry and
``e_t`` what weights and inputs add,

    dz_t = e_t + operand(ds_{t-1}) W,    ds_t = update(ds_{t-1}, slopes_t * dz_t):

block bidiagonal, its diagonal the identity. Running forwards is forward substitution,
and backpropagation through time is back substitution. So the rule is one
`lax.custom_linear_solve`, which takes both loops as written here, and every other mode
of differentiation and transformation follows. ``e_t``, and with it the gradient of the
weights, is formed outside of the loops for all steps at once.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero, zero_from_primal

from rnnjax._by_hand import HandSchedule
from rnnjax._checks import check_features, check_recurrent
from rnnjax._compat import target_device
from rnnjax.base import Array, Carry, Params, Shape
from rnnjax.unroll._blocks import fixed_type
from rnnjax.unroll._fused_loop import Part, Run, side_by_side
from rnnjax.unroll._fused_system import System, Tangents, all_linear
from rnnjax.unroll._layout import Layout, contract, time_first
from rnnjax.unroll._linear_backends import before

KEYS = {"kernel", "bias", "mask"}
"""The recurrent parameters that the loop knows."""


_BATCH_AXES = (0, 0, 0, 1, 1)
"""The place of the batch in the fields of a part."""


def fused_scan(
    hand: HandSchedule,
    layout: Layout,
    w: Params,
    carry: Carry,
    first: Carry,
    x: Array,
    resets: Array | None,
    mask: Array | None,
    *,
    reverse: bool = False,
) -> tuple[Carry, Array]:
    """The recurrence of ``hand`` over a sequence.

    Args:
      hand: the schedule.
      layout: how arrays lie in the loop.
      w: ``recurrent``, parameters with none but `KEYS`, and, if ``x`` is to be
        projected, ``input``: a kernel and perhaps a bias.
      carry: leaves ``[*batch, H]``.
      first: the carry that a reset restores.
      x: ``[T, *batch, F]``, without ``input`` the projected input.
      resets: bool ``[T, *batch]`` or None.
      mask: bool ``[T, *batch]`` or None.
      reverse: from the last step to the first.

    Returns:
      The last carry and ``hs [T, *batch, H]``.
    """
    leaves, structure = jax.tree.flatten(carry)
    length, shape, dtype = len(x), leaves[0].shape, leaves[0].dtype
    if 0 in (length, leaves[0].size):
        return carry, jnp.zeros((length, *shape), dtype)
    check_recurrent(w["recurrent"]["kernel"], leaves[0])
    w, x, mask_h = _prepare(hand, w, x, shape, dtype)
    whole = Part(tuple(leaves), None, mask_h, resets, mask)
    if resets is not None:
        whole = whole._replace(first=tuple(jax.tree.leaves(first)))
    if layout.merged:
        x = _merged(x, 1, len(shape) - 1)
    parts = [_enter(layout, p) for p in _cut(layout, whole, len(shape) - 1)]
    run = Run(hand, layout, reverse)
    carries = _fixed_carries(run, w, x, parts)
    parts = [p._replace(carry=c) for p, c in zip(parts, carries, strict=True)]
    lasts, hs = _fused(run, w, x, parts)

    def leave(*parts):
        rows = [layout.leave(a, shape[-1]) for a in parts]
        return jnp.concatenate(rows).reshape(shape) if len(rows) > 1 else rows[0]

    hs = jax.vmap(leave)(*hs).reshape(length, *shape)
    last = [leave(*leaf).reshape(shape) for leaf in zip(*lasts, strict=True)]
    return structure.unflatten(last), hs


def _prepare(hand, w, x, shape: Shape, dtype):
    """Weights scaled, a bias of the input as the kernel of one more input, 1."""
    recurrent = {name: value.astype(dtype) for name, value in w["recurrent"].items()}
    mask = recurrent.pop("mask", None)
    if mask is not None:
        mask = jnp.broadcast_to(mask, shape)
    x = x.astype(dtype)
    scale = jnp.repeat(jnp.asarray(hand.scales, dtype), shape[-1])
    new = {name: value * _last_axis(scale, value) for name, value in recurrent.items()}
    if "input" not in w:
        return new, x * _last_axis(scale, x), mask
    kernel = w["input"]["kernel"].astype(dtype)
    check_features("x (one step of xs)", x, len(kernel))
    bias = w["input"].get("bias")
    if bias is not None:
        bias = jnp.broadcast_to(bias.astype(dtype), (1, kernel.shape[-1]))
        kernel = jnp.concatenate([kernel, bias])
    return new | {"input": kernel * _last_axis(scale, kernel)}, x, mask


def _last_axis(a, like):
    return jnp.broadcast_to(a, like.shape)


def _cut(layout: Layout, whole: Part, batch_ndim: int) -> list[Part]:
    """The parts of a batch, its axes merged into one."""
    if not layout.merged:
        return [whole]

    def cut(a, lead, i):
        return layout.cut(_merged(a, lead, batch_ndim), lead)[i]

    def part(i):
        fields = zip(whole, _BATCH_AXES, strict=True)
        return Part(
            *(jax.tree.map(partial(cut, lead=n, i=i), field) for field, n in fields)
        )

    return [part(i) for i in range(layout.parts)]


def _merged(a: Array, lead: int, batch_ndim: int) -> Array:
    """The axes of the batch, which begin at ``lead``, as one."""
    return a.reshape(*a.shape[:lead], -1, *a.shape[lead + batch_ndim :])


def _enter(layout: Layout, part: Part) -> Part:
    return part._replace(
        carry=jax.tree.map(layout.enter, part.carry),
        first=jax.tree.map(layout.enter, part.first),
        mask=jax.tree.map(layout.enter, part.mask),
    )


def _fixed_carries(run: Run, w: Params, x: Array, parts: list[Part]) -> list[Carry]:
    """The carries in the type that the loop returns them."""
    step = side_by_side(_step(run, w), _constants(run, w, parts, x.shape[-1]))

    def step_from_x(carries, inputs):
        x, flags = inputs
        u = [[a[0] for a in of_part] for of_part in _project(run, w, x[None])]
        return step(carries, [(a, *two) for a, two in zip(u, flags, strict=True)])

    flags = [(p.resets, p.valid) for p in parts]
    return fixed_type(step_from_x, [p.carry for p in parts], (x, flags))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _fused(run, w, x, parts):
    step = _step(run, w)
    apart = run.hand.apart if target_device()[0] == "cpu" else ()

    def step_alone(constants, state, inputs):
        (h, *rest), gates = state
        # A gate is 1 at most. XLA does not know, so that it has to form the gates.
        for gate in gates:
            h = jnp.where(gate > 2, gate, h)
        carry, (h, factors) = step(constants, (h, *rest), inputs)
        return (carry, [factors[name] for name in apart]), h

    states = [(p.carry, [p.carry[0]] * len(apart)) for p in parts]
    us = _project(run, w, x)
    inputs = [(u, p.resets, p.valid) for u, p in zip(us, parts, strict=True)]
    constants = _constants(run, w, parts, x.shape[-1])
    states, hs = run.loop(step_alone, constants, states, inputs)
    return [carry for carry, _ in states], hs


def _forward(run, w, x, parts):
    """The last carries, the slopes, and ``hs`` with the other factors, over time."""
    step = _step(run, w)

    def step_and_slopes(constants, carry, u, inputs):
        carry, (h, factors) = step(constants, carry, (u, *inputs))
        slopes, rest = run.hand.set_apart(factors)
        return carry, slopes, (h, rest)

    return run.rewrite(
        step_and_slopes,
        _constants(run, w, parts, x.shape[-1]),
        [p.carry for p in parts],
        _project(run, w, x),
        [(p.resets, p.valid) for p in parts],
    )


def _constants(run, w, parts, features: int) -> list[tuple]:
    """Of every part what its steps share, biases as they meet products and input."""
    added = w["input"][features:].reshape(-1) if "input" in w else ()
    biases = run.split(w["bias"]) if "bias" in w else None

    def of_part(part):
        def per_gate(bias):
            # Materialised: inside of the loop a broadcast would not vectorise.
            spread = run.layout.per_gate(bias, part.carry[0], len(w["kernel"]))
            return lax.optimization_barrier(spread)

        of_input = list(map(per_gate, run.split(added))) if len(added) else None
        return part, jax.tree.map(per_gate, biases), of_input

    return list(map(of_part, parts))


def _project(run, w, x) -> list[list[Array]]:
    """The projected input of every part and product, all steps, as it lies in the loop.

    Scaled.
    """
    layout, kernel = run.layout, w.get("input")
    if kernel is None:
        enter = jax.vmap(layout.enter)
        return [list(map(enter, run.split(a))) for a in layout.cut(x, 1)]
    kernels = run.split(kernel[: x.shape[-1]])
    if not layout.merged:
        return [[x @ kernel for kernel in kernels]]
    if layout.columns:
        kernels = [lax.optimization_barrier(kernel.T) for kernel in kernels]

    def projected(x, kernel):
        merged = x.reshape(-1, x.shape[-1])
        if layout.columns:
            return time_first(len(x), contract(1, kernel, merged))
        return (merged @ kernel).reshape(*x.shape[:-1], -1)

    return [[projected(a, kernel) for kernel in kernels] for a in layout.cut(x, 1)]


def _step(run, w):
    linear = run.products(w)

    def step(constants, carry, inputs):
        part, biases, of_input = constants
        u, reset, valid = inputs
        if of_input is not None:
            u = list(map(jnp.add, u, of_input))
        u = jnp.concatenate(u, -1) if len(u) > 1 else u[0]

        def product(k, q):
            out = linear(part.mask, k, q)
            return out if biases is None else out + biases[k]

        start = run.restart(reset, part.first, carry)
        new, factors = run.hand.step(product, start, u)
        carry = run.freeze(valid, carry, new)
        return carry, (carry[0], factors)

    return step


@partial(_fused.defjvp, symbolic_zeros=True)
def _fused_jvp(run, primals, tangents):
    w, x, parts = primals
    lasts, slopes, outs = _forward(run, w, x, parts)
    # The inputs are mostly not differentiated, which saves a product.
    dx = None if _is_zero(tangents[1]) else tangents[1]
    tangents = jax.tree.map(_instantiate, tangents, primals, is_leaf=_is_zero)
    dw, _, dparts = tangents
    # Rather than keep the operands for the gradient of the weights, form them again.
    added = jax.checkpoint(partial(_added, run))(
        (w, x, parts, outs), (dw, dx, [d.mask for d in dparts])
    )
    given = [
        Tangents(d.carry, d.first, z, *jax.tree.map(jnp.zeros_like, (out[0], last)))
        for d, z, out, last in zip(dparts, added, outs, lasts, strict=True)
    ]
    factors = [rest for _, rest in outs]
    system = System(run, w, parts, slopes, factors)
    solved = lax.custom_linear_solve(
        system.residual,
        all_linear(given, tangents),
        system.forwards,
        system.backwards,
    )
    hs = [hs for hs, _ in outs]
    return (lasts, hs), ([s.last for s in solved], [s.hs for s in solved])


def _is_zero(tangent) -> bool:
    return isinstance(tangent, SymbolicZero)


def _instantiate(tangent, primal):
    return zero_from_primal(primal) if _is_zero(tangent) else tangent


def _added(run, primals, tangents) -> list[list[Array]]:
    """``e`` of every part: what the tangents of weights and inputs add."""
    layout = run.layout
    w, x, parts, outs = primals
    dw, dx, dmasks = tangents
    length = len(x)
    sums = [
        _recurrently_added(run, (w, part, out), (dw, dmask))
        for part, out, dmask in zip(parts, outs, dmasks, strict=True)
    ]
    if "input" not in w:
        more = [] if dx is None else [_project(run, w, dx)]
    else:
        products = [(x, dw["input"])]
        if dx is not None:
            products.append((dx, w["input"][: dx.shape[-1]]))
        more = [
            [_input_added(run, length, a, kernel) for a in layout.cut(x, 1)]
            for x, kernel in products
        ]
    for parts in more:
        sums = [list(map(jnp.add, e, z)) for e, z in zip(sums, parts, strict=True)]
    return sums


def _input_added(run, length, x, kernel) -> list[Array]:
    """What inputs of all steps add through a kernel, its row for the bias if any."""
    has_bias = len(kernel) > x.shape[-1]
    if run.layout.merged:
        x = x.reshape(-1, x.shape[-1]).T
    if has_bias:
        features = 0 if run.layout.merged else -1
        one = jnp.ones_like(lax.slice_in_dim(x, 0, 1, axis=features))
        x = jnp.concatenate([x, one], features)
    return [run.layout.all_products(length, x, k) for k in run.split(kernel)]


def _recurrently_added(run, primals, tangents) -> list[Array]:
    """What the tangents of the recurrent weights add, operands given."""
    w, part, (hs, factors) = primals
    dw, dmask = tangents
    entered = before(hs, part.carry[0], run.reverse)
    if part.first is not None:
        restart = jax.vmap(run.restart, (0, None, 0))
        entered = restart(part.resets, part.first[0], entered)
    operands = jax.vmap(run.hand.operands)(factors, entered)
    layout, length = run.layout, len(hs)

    def recurrent(w, mask):
        outs = []
        for k, (kernel, q) in enumerate(
            zip(run.split(w["kernel"]), operands, strict=True)
        ):
            if mask is not None:
                q = q * jnp.broadcast_to(mask, q.shape)
            q = layout.features_first(q, len(kernel))
            out = layout.all_products(length, q, kernel)
            if "bias" in w:
                bias = run.split(w["bias"])[k]
                bias = layout.per_gate(bias, part.carry[0], len(kernel))
                out += jnp.broadcast_to(bias, out.shape)
            outs.append(out)
        return outs

    names = [name for name in w if name != "input"]
    primals = {name: w[name] for name in names}, part.mask
    tangents = {name: dw[name] for name in names}, dmask
    _, added = jax.jvp(recurrent, primals, tangents)
    return [s * a for s, a in zip(run.scales(factors), added, strict=True)]
