"""Compiles for devices that are not there, with the compilers that they run with."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rnnjax._compat import compile_only_devices
from rnnjax._extras import require
from rnnjax.aot import _hlo
from rnnjax.aot._costs import costs
from rnnjax.aot._devices import H100, PEAKS, Peaks, Target, parse_target
from rnnjax.aot._report import Memory, Report
from rnnjax.aot._work import product_flops

_PACKAGES = {"tpu": "libtpu", "cuda": "jax_cuda12_plugin"}
# What libtpu looks for on a machine with TPUs. It reads them when it is loaded.
_TPU_VARIABLES = {
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # by several processes
}


class Compiled(NamedTuple):
    """A program for another device.

    Attributes:
      report: what it needs and does; ``print`` it.
      executable: JAX's own; it cannot run here. None where the program does not fit.
    """

    report: Report
    executable: jax.stages.Compiled | None

    @property
    def text(self) -> str:
        """The optimised HLO."""
        return (self.executable and self.executable.as_text()) or ""


def compile_for(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    target: str = "v5e",
    mesh: Any = None,
    specs: Any = None,
) -> Compiled:
    """Compiles ``fn(*args)`` for a TPU or GPU that this machine need not have.

    The device's own compiler does it: libtpu's, or XLA for GPUs with a description of
    the device. Inside, the device is known: ``Schedule()`` chooses for it.

    Args:
      fn: a function of arrays, jitted or not.
      args: a tuple of its arguments: trees of arrays or `jax.ShapeDtypeStruct`.
      target: "v4", "v5e", "v5p", "v6e" or "tpu7x", with a topology behind a colon
        as in "v5e:2x2"; or "h100", with a number of devices as in "h100:8".
      mesh: names and sizes of its axes, as in ``{"data": 4}``, or a `jax.sharding.Mesh`
        or `AbstractMesh` of these axes; None is one device.
      specs: of each argument a tree prefix of `jax.sharding.PartitionSpec`, as the
        ``in_specs`` of `jax.shard_map`; None leaves all of them whole on each device.

    Returns:
      `Compiled`, whose ``report`` says whether it fits and what bounds it.

    Raises:
      ModuleNotFoundError: the compiler is not installed.
      RuntimeError: JAX was set up in a way that hides it.
      TypeError: ``args`` is no tuple.
      ValueError: no such target; a mesh of more devices than it has.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import aot
      >>> rnn = rnnjax.lstm(256)
      >>> xs = jax.ShapeDtypeStruct((128, 32, 64), jnp.float32)
      >>> params = jax.eval_shape(rnn.init, jax.random.key(0), xs)
      >>> def loss(params, xs):
      ...     return jnp.mean(rnn.unroll(params, None, xs)[1] ** 2)
      >>> try:
      ...     made = aot.compile_for(jax.grad(loss), (params, xs), "v5e:2x2")
      ...     fits = made.report.memory.fits
      ... except ModuleNotFoundError:  # needs rnnjax[aot]
      ...     fits = True
      >>> fits
      True
    """
    where = parse_target(target)
    if not isinstance(args, tuple):
        raise TypeError(
            f"args: expected a tuple of the arguments of fn, got "
            f"{type(args).__name__}. For one argument write (x,)."
        )
    devices = _devices(where)
    built = _mesh(where, devices, mesh)
    kind, peaks = where.kind, PEAKS[where.kind]
    placed = _placed(args, built, specs)
    jitted: Any = fn if hasattr(fn, "trace") else jax.jit(fn)
    with jax.sharding.use_abstract_mesh(built.abstract_mesh):
        traced = jitted.trace(*placed)
        lowered = traced.lower(lowering_platforms=(where.platform,))
        flops = product_flops(traced.jaxpr) / built.size
        try:
            executable = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            memory = _needed(error, peaks)
            if memory is None:
                raise
            said = str(error).splitlines()[0]
            what = (target, kind, built.size, memory, flops)
            return Compiled(Report(*what, (), (), (), peaks, said), None)
    module = _hlo.parse(executable.as_text() or "")
    found = costs(module, estimated=where.platform == "tpu")
    memory = _memory(executable.memory_analysis(), peaks)
    return Compiled(
        Report(target, kind, built.size, memory, flops, *found, peaks), executable
    )


def _devices(target: Target) -> list[Any]:
    """The devices of a target; they can be compiled for, and nothing else."""
    require(_PACKAGES[target.platform], extra="aot")
    if os.environ.get("TPU_SKIP_MDS_QUERY") == "1":  # JAX found no TPU here
        for name, value in _TPU_VARIABLES.items():
            os.environ.setdefault(name, value)
    description = H100 if target.platform == "cuda" else None
    try:
        return compile_only_devices(target.platform, target.topology, description)
    except (NotImplementedError, RuntimeError) as error:
        mend = (
            "Start Python with JAX_PLATFORMS=cpu, or the plugin of a GPU that is not "
            "there turns itself off"
            if target.platform == "cuda"
            else "Take a topology that the family has, such as v5e:2x2 or v5p:2x2x1"
        )
        raise RuntimeError(
            f"target: expected a device that the installed compiler knows, got "
            f"{target.name!r}, of which it says: {error}. {mend}."
        ) from error


def _mesh(target: Target, devices: list[Any], mesh: Any) -> Mesh:
    sizes: Mapping[str, int] = getattr(mesh, "shape", mesh) or {"device": 1}
    types = getattr(mesh, "axis_types", (AxisType.Auto,) * len(sizes))
    count = math.prod(sizes.values())
    if count > len(devices):
        raise ValueError(
            f"mesh: expected at most {len(devices)} devices, which {target.name!r} "
            f"has, got {dict(sizes)}. Name a larger topology, as in v5e:4x4 or h100:8."
        )
    shaped = np.array(devices[:count]).reshape(tuple(sizes.values()))
    return Mesh(shaped, tuple(sizes), axis_types=types)


def _placed(args: tuple[Any, ...], mesh: Mesh, specs: Any) -> tuple[Any, ...]:
    """The types of the arguments, each with its place."""
    specs = PartitionSpec() if specs is None else specs

    def place(spec, tree):
        sharding = NamedSharding(mesh, spec)

        def of_leaf(a):
            shape, dtype = jnp.shape(a), jax.dtypes.canonicalize_dtype(_dtype(a))
            return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

        return jax.tree.map(of_leaf, tree)

    is_spec = lambda leaf: isinstance(leaf, PartitionSpec)  # noqa: E731
    try:
        return jax.tree.map(place, specs, args, is_leaf=is_spec)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"specs: expected PartitionSpecs in a tree that is a prefix of args, got "
            f"{specs}: {error}."
        ) from error


def _dtype(a: Any) -> Any:
    return a.dtype if hasattr(a, "dtype") else jnp.result_type(a)


def _memory(stats: Any, peaks: Peaks) -> Memory:
    return Memory(
        arguments=stats.argument_size_in_bytes,
        results=stats.output_size_in_bytes - stats.alias_size_in_bytes,
        temporary=stats.temp_size_in_bytes,
        code=stats.generated_code_size_in_bytes,
        capacity=peaks.memory,
    )


def _needed(error: Exception, peaks: Peaks) -> Memory | None:
    """What the compiler says it needs where there is less; None for other errors."""
    found = re.search(
        r"([\d.]+)([KMGT]?)\)? (?:exceeds|of [\d.]+[KMGT]? hbm)", str(error)
    )
    if "RESOURCE_EXHAUSTED" not in str(error) or not found:
        return None
    size = float(found[1]) * 1024 ** " KMGT".index(found[2] or " ")
    return Memory(0, 0, round(size), 0, peaks.memory)
