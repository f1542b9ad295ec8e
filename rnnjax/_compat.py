"""Every use of a JAX interface that is experimental or depends on the version.

Written for jax 0.10.2 to 0.12.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun
from jax.interpreters import partial_eval

__all__ = [
    "Literal",
    "bind",
    "call_kernel",
    "compile_only_devices",
    "cudnn_lstm",
    "deferrable",
    "in_order",
    "inlined",
    "inner_jaxprs",
    "is_concrete",
    "is_explicit",
    "is_variable",
    "jaxpr_as_fun",
    "kernel_block",
    "kernel_output",
    "like_type",
    "one_device",
    "reached_preemption",
    "replicated_sharding",
    "rows_sharding",
    "scan_sizes",
    "same_type",
    "some_of",
    "sync_global_devices",
    "target_device",
    "tpu_memory",
    "unpack_register",
    "varying",
    "varying_like",
    "when",
    "where_written",
    "whole_on_each_device",
    "without_constants",
    "without_dead_code",
    "zeros_of_type",
]


def is_concrete(x: Any) -> bool:
    """Whether the values of ``x`` are known: it is no tracer."""
    return not isinstance(x, Tracer)


def like_type(x: jax.Array, like: jax.ShapeDtypeStruct) -> jax.Array:
    """``x`` with the sharding and the varying axes of ``like``; values unchanged.

    Outside `shard_map` and explicit sharding this is ``x`` itself. The varying axes
    are `manual_axis_type.varying`, named `vma` before jax 0.10.
    """
    have, want = jax.typeof(x), like
    if have.sharding != want.sharding and want.sharding is not None:
        if is_explicit(want.sharding.mesh):
            x = jax.sharding.reshard(x, want.sharding)
    missing = _varying(want) - _varying(have)
    return lax.pcast(x, tuple(missing), to="varying") if missing else x


def rows_sharding(index: jax.Array) -> jax.sharding.NamedSharding | None:
    """Where the rows ``table[index]`` of a replicated table belong: with ``index``.

    Under explicit sharding a gather must be told; elsewhere this is None.
    """
    have = jax.typeof(index).sharding
    if not is_explicit(have.mesh):
        return None
    spec = jax.sharding.PartitionSpec(*have.spec, None)
    return jax.sharding.NamedSharding(have.mesh, spec)


def replicated_sharding(x: jax.Array) -> jax.sharding.NamedSharding | None:
    """Where what is summed over all of ``x`` belongs: whole on every device.

    Under explicit sharding a scatter must be told; elsewhere this is None.
    """
    mesh = jax.typeof(x).sharding.mesh
    if not is_explicit(mesh):
        return None
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def varying(tree: Any, axes: Sequence[str]) -> Any:
    """The leaves as values that differ along those manual mesh axes.

    What enters a loop so has its gradient summed over the devices once, after it.
    """

    def vary(leaf):
        missing = tuple(sorted(set(axes) - _varying(jax.typeof(leaf))))
        return lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(vary, tree)


def is_explicit(mesh: Any) -> bool:
    """Whether a mesh has an axis whose sharding is part of the types."""
    return any(t == jax.sharding.AxisType.Explicit for t in mesh.axis_types)


def _varying(aval) -> frozenset:
    """The manual mesh axes over which a value varies."""
    kind = getattr(aval, "manual_axis_type", None)
    return frozenset() if kind is None else frozenset(kind.varying)


def same_type(a: Any, b: Any) -> bool:
    """Whether two types of values are equal, weak types aside."""
    names = ("shape", "dtype", "sharding", "manual_axis_type")
    return all(getattr(a, name, None) == getattr(b, name, None) for name in names)


def without_constants(jaxpr: Any) -> Any:
    """The inner jaxpr of a closed one, holding on to none of its constants.

    Since jax 0.12 the two are one class, and an inner jaxpr carries them along.
    """
    inner = jaxpr.jaxpr
    return inner.with_consts(()) if hasattr(inner, "with_consts") else inner


def deferrable(jaxpr: Any) -> bool:
    """Whether a step may run more often than once, and for all of time at once.

    Not where it writes to a reference or calls back into Python. Unordered debug
    prints may be repeated.
    """
    effects = {type(effect).__name__ for effect in jaxpr.effects}
    return effects <= {"DebugEffect", "NamedAxisEffect"} and not _calls_back(jaxpr)


def _calls_back(value: Any) -> bool:
    """Whether a jaxpr, or those among the values in a tuple, call Python."""
    if isinstance(value, tuple | list):
        return any(map(_calls_back, value))
    value = getattr(value, "jaxpr", value)
    return any(
        eqn.primitive.name in ("pure_callback", "io_callback")
        or any(map(_calls_back, eqn.params.values()))
        for eqn in getattr(value, "eqns", ())
    )


def reached_preemption(step: int) -> bool:
    """Whether all processes shall save and end after this step: one got SIGTERM."""
    from jax.experimental import multihost_utils

    return multihost_utils.reached_preemption_sync_point(step)


def sync_global_devices() -> None:
    """Waits for all processes, by the devices over which JAX compares their values.

    These are the first of each process; the second of each; ...
    """
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices("rnnjax")


def compile_only_devices(
    platform: str, topology: str, description: str | None = None
) -> list[Any]:
    """Devices to compile for that need not be there, as of jax 0.10.2 to 0.12.

    Args:
      platform: "tpu" or "cuda".
      topology: how they are joined, such as "v5e:2x2" or "1x1x8".
      description: of a GPU, as XLA's text of a ``GpuTargetConfigProto``.
    """
    from jax.experimental import topologies

    if description is None:
        found = topologies.get_topology_desc(topology, platform)
    else:
        found = topologies.get_topology_desc(
            platform=platform, topology=topology, target_config=description
        )
    return list(found.devices)


def cudnn_lstm(
    xs: jax.Array,
    h: jax.Array,
    c: jax.Array,
    weights: jax.Array,
    lengths: jax.Array,
    *,
    input_size: int,
    hidden_size: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One layer of cuDNN's LSTM, `jax.experimental.rnn` as of jax 0.10.2 to 0.12.

    Args:
      xs: ``[B, T, F]``.
      h: ``[1, B, H]``.
      c: ``[1, B, H]``.
      weights: flat.
      lengths: int32 ``[B]``, at least 1.
      input_size: ``F``.
      hidden_size: ``H``.

    Returns:
      ``ys [B, T, H]``, and the last ``h`` and ``c``, ``[1, B, H]``.
    """
    from jax.experimental import rnn

    layers, dropout, bidirectional = 1, 0.0, False
    sizes = input_size, hidden_size, layers, dropout, bidirectional
    return rnn.lstm(xs, h, c, weights, lengths, *sizes)


def target_device() -> tuple[str, str]:
    """Platform and kind of the device that is traced for.

    That of the mesh in context, which may name a device that is not here
    (`jax.sharding.use_abstract_mesh`); else that of the default backend.
    """
    device = getattr(jax.sharding.get_abstract_mesh(), "abstract_device", None)
    if device is None:
        device = jax.devices()[0]
    platform = str(device.platform)
    kind = {"cuda": "gpu", "rocm": "gpu"}.get(platform, platform)
    return kind, str(device.device_kind)


def in_order(tree: Any) -> Any:
    """Arrays whose axes lie in memory as they are written, the last one contiguous.

    Compilers of other devices than CPUs choose the order themselves, and for one use of
    an array at another's cost. `with_layout_constraint` as of jax 0.10.2 to 0.12.
    """
    from jax.experimental.layout import Layout, with_layout_constraint

    def constrained(a):
        kinds = (jax.dtypes.extended, jnp.complexfloating)  # XLA for TPUs splits these
        if any(jnp.issubdtype(a.dtype, kind) for kind in kinds):
            return a
        return with_layout_constraint(a, Layout(tuple(range(a.ndim))))

    return jax.tree.map(constrained, tree)


def one_device() -> bool:
    """Whether the program is for a single device."""
    mesh = jax.sharding.get_abstract_mesh()
    if getattr(mesh, "abstract_device", None) is not None:
        return mesh.size == 1
    return jax.device_count() == 1


def whole_on_each_device() -> bool:
    """Whether what is traced is not split: for one device, or inside `shard_map`."""
    types = jax.sharding.get_abstract_mesh().axis_types
    manual = bool(types) and all(t == jax.sharding.AxisType.Manual for t in types)
    return manual or one_device()


def without_dead_code(jaxpr: Any) -> Any:
    """The inner jaxpr of a closed one, without what no output needs."""
    inner = jaxpr.jaxpr
    return partial_eval.dce_jaxpr(inner, [True] * len(inner.outvars))[0]


def zeros_of_type(aval: Any) -> jax.Array:
    """Zeros of that type, its sharding and varying axes included."""
    return like_type(jnp.zeros(aval.shape, aval.dtype), aval)


def is_variable(atom: Any) -> bool:
    """Whether an operand of an equation is a variable of the jaxpr, no literal."""
    return not isinstance(atom, Literal)


def bind(eqn: Any, inputs: Sequence[Any]) -> list:
    """The outputs of one equation of a jaxpr."""
    params = eqn.primitive.get_bind_params(eqn.params)
    with eqn.ctx.manager:
        outputs = eqn.primitive.bind(*inputs, **params)
    return list(outputs) if eqn.primitive.multiple_results else [outputs]


# Primitives that apply their one inner jaxpr to their operands, once.
CALLS = ("jit", "pjit", "closed_call", "core_call")


def inlined(jaxpr: Any) -> Any:
    """A closed jaxpr with the functions that it calls written out."""

    def run(closed, args):
        jaxpr = closed.jaxpr
        env = dict(zip(jaxpr.constvars, closed.consts, strict=True))
        env.update(zip(jaxpr.invars, args, strict=True))

        def value(v):
            return env[v] if is_variable(v) else v.val

        for eqn in jaxpr.eqns:
            inputs = list(map(value, eqn.invars))
            call = eqn.primitive.name in CALLS
            outputs = run(eqn.params["jaxpr"], inputs) if call else bind(eqn, inputs)
            env.update(zip(eqn.outvars, outputs, strict=True))
        return list(map(value, jaxpr.outvars))

    return jax.make_jaxpr(lambda *args: run(jaxpr, args))(*jaxpr.in_avals)


def inner_jaxprs(eqn: Any) -> list[Any]:
    """The jaxprs among the parameters of an equation, closed."""
    found = [v for v in eqn.params.values() if hasattr(v, "eqns")]
    return [v if hasattr(v, "consts") else ClosedJaxpr(v, ()) for v in found]


def scan_sizes(params: Any) -> tuple[int, int]:
    """How many constants and carried values a scan has; of its parameters.

    Since jax 0.12 they are told by the structure ``ft_in``.
    """
    if "ft_in" in params:
        consts, carry, _ = map(len, params["ft_in"].unpack())
        return consts, carry
    return params["num_consts"], params["num_carry"]


def where_written(eqn: Any) -> str:
    """The innermost place outside of JAX where an equation was written."""
    if eqn.source_info.traceback is None:
        return "place unknown"
    frames = traceback.extract_tb(eqn.source_info.traceback.as_python_traceback())
    inside = os.path.dirname(jax.__file__)
    own = [frame for frame in frames if not frame.filename.startswith(inside)]
    frame = (own or frames)[-1]
    return f"{frame.filename}:{frame.lineno}, {frame.name}"


def varying_like(x: jax.Array, like: jax.Array) -> jax.Array:
    """``x``, varying also over the manual mesh axes that ``like`` varies over."""
    missing = _varying(jax.typeof(like)) - _varying(jax.typeof(x))
    return lax.pcast(x, tuple(missing), to="varying") if missing else x


# Pallas for TPUs, as of jax 0.10.2 to 0.12; imported where a kernel is asked for.


def _pallas() -> tuple[Any, Any]:
    from jax.experimental import pallas
    from jax.experimental.pallas import tpu

    return pallas, tpu


def tpu_memory() -> tuple[int, int]:
    """Bytes of VMEM of a core and number of cores of the TPU that is traced for.

    Of a v5e where that is another device, for the interpreter.
    """
    _, tpu = _pallas()
    if target_device()[0] == "tpu":
        info = tpu.get_tpu_info()
    else:
        info = tpu.get_tpu_info_for_chip(tpu.ChipVersion.TPU_V5E, 1)
    return info.vmem_capacity_bytes, info.num_cores


def kernel_block(shape: Sequence[int], index: Any, buffers: int | None = None) -> Any:
    """A block of an array in VMEM, and ``index(*grid) -> its place`` among blocks."""
    pallas, tpu = _pallas()
    mode = None if buffers is None else pallas.Buffered(buffers)
    return pallas.BlockSpec(
        tuple(shape), index, memory_space=tpu.VMEM, pipeline_mode=mode
    )


def kernel_output(shape: Sequence[int], dtype: Any, like: Any) -> Any:
    """The type of an output of a kernel; it varies over the mesh axes of ``like``."""
    kind = jax.typeof(like).manual_axis_type
    return jax.ShapeDtypeStruct(tuple(shape), dtype, manual_axis_type=kind)


def when(condition: Any, do: Any) -> None:
    """Does it, in a kernel, where the condition holds."""
    _pallas()[0].when(condition)(do)


def some_of(start: Any, size: int) -> Any:
    """An index of ``size`` elements on an axis of a reference."""
    return _pallas()[0].ds(start, size)


def unpack_register(words: jax.Array) -> jax.Array:
    """Words ``[N, M]`` as ``[2 N, M]`` bfloat16, two rows a word, low half first."""
    return _pallas()[1].bitcast(words, jnp.bfloat16)


def call_kernel(
    kernel: Any,
    inputs: tuple[Any, Any],
    outputs: tuple[Any, Any],
    scratch: Any,
    *,
    grid: tuple[int, int],
    vmem: int,
    interpret: bool,
    name: str,
) -> Any:
    """A kernel over a grid of blocks, in any order, by chunks, one after another.

    Args:
      kernel: ``(chunk, inputs, outputs, scratch)``, of references.
      inputs: a tree of arrays, and one of their blocks.
      outputs: a tree of types, and one of their blocks.
      scratch: a tree of the shapes of float32 arrays in VMEM.
      grid: number of blocks and of chunks.
      vmem: bytes that it may use.
      interpret: run by the interpreter.
      name: of the kernel.
    """
    pallas, tpu = _pallas()
    given, in_tree = jax.tree.flatten(inputs[0])
    results, out_tree = jax.tree.flatten(outputs[0])
    shapes, scratch_tree = jax.tree.flatten(scratch, is_leaf=_is_shape)
    ends = len(given), len(given) + len(results)

    def body(*refs):
        kernel(
            pallas.program_id(1),
            in_tree.unflatten(refs[: ends[0]]),
            out_tree.unflatten(refs[ends[0] : ends[1]]),
            scratch_tree.unflatten(refs[ends[1] :]),
        )

    call = pallas.pallas_call(
        body,
        out_shape=results,
        grid_spec=pallas.GridSpec(
            grid=grid,
            in_specs=jax.tree.leaves(inputs[1]),
            out_specs=jax.tree.leaves(outputs[1]),
            scratch_shapes=[tpu.VMEM(shape, jnp.float32) for shape in shapes],
        ),
        compiler_params=tpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=vmem
        ),
        interpret=interpret,
        name=name,
    )
    return out_tree.unflatten(call(*given))


def _is_shape(x: Any) -> bool:
    return isinstance(x, tuple) and all(isinstance(n, int) for n in x)
