"""One contender made ready to run: compiled, its results in our layout, checked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# The relative difference (L2, leaf by leaf) between two orders of summation in
# float32. The products of GPUs and TPUs round their factors to 10 and 7 bits.
TOLERANCES = {"cpu": 1e-4, "gpu": 1e-2, "tpu": 5e-2}
STREAMED_STEPS = 3


class Absent(Exception):
    """A contender that cannot run here; the message fills its row."""


class Disagreement(Exception):
    """A contender whose results are not ours: nothing of it may be timed."""


class Task(NamedTuple):
    """One contender of one comparison."""

    run: Callable[[], Any]
    """One call; its work is finished when it returns."""
    results: Callable[[], Any]
    """What it computes, as NumPy arrays, gradients in our layout."""
    compile_seconds: float | None = None
    temporary_bytes: int | None = None
    note: str = ""
    comparable: Callable[[Any], Any] = lambda results: results
    """Applied to its results and to ours: drops what the contender does not have."""


class Program(NamedTuple):
    """One cell of a JAX library as pure functions of that library's own weights."""

    to_weights: Callable[[Any], Any]
    """Our parameters to theirs."""
    unroll: Callable[[Any, Any], Any]
    """``(weights, xs) -> ys``, in the library's layout."""
    step: Callable[[Any, Any, Any], tuple[Any, Any]]
    """``(weights, carry, x) -> (carry, y)``, ``x [B, D]``."""
    initial_carry: Callable[[int], Any]
    """The first carry for a batch of that size."""
    to_layout: Callable[[Any], Any] = lambda sequence: sequence
    """A time-major sequence to the library's layout, and back."""
    comparable: Callable[[Any], Any] = lambda results: results
    note: str = ""


class Compiled(NamedTuple):
    """A compiled function, the seconds that took, and its temporary memory."""

    call: Callable[..., Any]
    seconds: float
    temporary_bytes: int | None


def compiled(f: Callable[..., Any], *args: Any) -> Compiled:
    """Traces and compiles ``f``.

    Raises:
      Absent: it needs more memory than the machine has free.
    """
    start = time.perf_counter()
    executable = jax.jit(f).lower(*args).compile()
    seconds = time.perf_counter() - start
    memory = executable.memory_analysis()
    if memory is None:
        return Compiled(executable, seconds, None)
    needed = memory.temp_size_in_bytes + memory.output_size_in_bytes
    free = free_bytes()
    if free is not None and needed > free:
        raise Absent(f"needs {needed / 1e9:.1f} GB where {free / 1e9:.1f} are free")
    return Compiled(executable, seconds, memory.temp_size_in_bytes)


def free_bytes() -> int | None:
    """Free memory of the first device; None where the platform does not say."""
    device = jax.devices()[0]
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":") for line in file)
    except OSError:  # not Linux
        return None
    return int(lines["MemAvailable"].split()[0]) * 1024


def mean_square(ys: Any) -> Any:
    """The loss of every value_and_grad here."""
    return jnp.mean(ys**2)


def forward(program: Program, params: Any, xs: Any) -> Task:
    """``ys`` of a whole sequence."""
    args = jax.jit(lambda p, x: _to_peer(program, p, x))(params, xs)
    unroll = compiled(program.unroll, *args)
    return Task(
        lambda: jax.block_until_ready(unroll.call(*args)),
        lambda: np.asarray(program.to_layout(unroll.call(*args))),
        unroll.seconds,
        unroll.temporary_bytes,
        program.note,
        program.comparable,
    )


def value_and_grad(program: Program, params: Any, xs: Any) -> Task:
    """`mean_square` of the outputs; its gradient in weights and inputs."""
    args = jax.jit(lambda p, x: _to_peer(program, p, x))(params, xs)
    both = compiled(gradient_of(program), *args)

    def results():
        value, gradients = both.call(*args)
        to_peer = lambda p, x: _to_peer(program, p, x)  # noqa: E731
        return np.asarray(value), in_our_layout(to_peer, params, xs, gradients)

    return Task(
        lambda: jax.block_until_ready(both.call(*args)),
        results,
        both.seconds,
        both.temporary_bytes,
        program.note,
        program.comparable,
    )


def gradient_of(program: Program) -> Callable[[Any, Any], Any]:
    """The function that `value_and_grad` times."""
    return jax.value_and_grad(lambda w, x: mean_square(program.unroll(w, x)), (0, 1))


def step(program: Program, params: Any, xs: Any) -> Task:
    """One step of a stream; the carry goes into the next call."""
    weights, first = program.to_weights(params), program.initial_carry(xs.shape[1])
    x_0, carry = xs[0], [first]
    one = compiled(program.step, weights, first, x_0)

    def run():
        carry[0], _ = jax.block_until_ready(one.call(weights, carry[0], x_0))

    def results():
        ys, state = [], first
        for x in xs[:STREAMED_STEPS]:
            state, y = one.call(weights, state, x)
            ys.append(np.asarray(y))
        return np.stack(ys)

    return Task(run, results, one.seconds, one.temporary_bytes, program.note)


TASKS = {"forward": forward, "value_and_grad": value_and_grad, "step": step}


def in_our_layout(to_peer: Callable[..., Any], params: Any, xs: Any, gradients: Any):
    """A peer's gradients pulled back to our parameters and inputs.

    ``to_peer(params, xs)`` is affine, so that this is the chain rule.
    """

    @jax.jit
    def pull_back(params, xs, gradients):
        return jax.vjp(to_peer, params, xs)[1](gradients)

    return jax.tree.map(np.asarray, pull_back(params, xs, gradients))


def _to_peer(program, params, xs):
    return program.to_weights(params), program.to_layout(xs)


def difference(name: str, task: Task, reference: Any, *, where: str) -> float:
    """The largest relative difference (L2, over the leaves) from those results.

    Raises:
      Disagreement: it is above the tolerance of the platform.
    """
    allowed = TOLERANCES[jax.default_backend()]
    got, expected = task.comparable(task.results()), task.comparable(reference)
    if jax.tree.structure(got) != jax.tree.structure(expected):
        raise Disagreement(f"{where}: {name} returns another tree than the reference.")
    worst = 0.0
    leaves = zip(jax.tree.leaves_with_path(got), jax.tree.leaves(expected), strict=True)
    for (path, a), b in leaves:
        if np.shape(a) != np.shape(b):
            found = np.inf
        else:
            found = np.linalg.norm(np.ravel(a - b)) / (np.linalg.norm(b) + 1e-30)
        if not found <= allowed:
            raise Disagreement(
                f"{where}: {name} differs from the reference at result"
                f"{jax.tree_util.keystr(path)} by {found:.1e} (relative, L2), "
                f"allowed is {allowed:.0e}."
            )
        worst = max(worst, float(found))
    return worst
