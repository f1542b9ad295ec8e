"""The two contracts, `Cell` and `RNN`, and what both speak of.

Shape legend, used in every docstring: ``T`` time steps, ``B`` or ``*batch`` any
number of batch axes (also none), ``F`` input features, ``H`` hidden units. Sequences
are time-major: ``xs [T, *batch, F]``.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

Array: TypeAlias = jax.Array
PyTree: TypeAlias = Any
Params: TypeAlias = Any
"""A tree of dicts whose leaves are arrays."""
Carry: TypeAlias = Any
"""A tree of arrays ``[*batch, ...]``: all that passes from one step to the next."""
Shape: TypeAlias = tuple[int, ...]

LINEAR_BACKENDS = ("sequential", "chunked", "associative")
"""The ways to run a linear recurrence."""


class Cell(NamedTuple):
    """One recurrence, written as its equations.

    ``u_t = project(x_t)``, ``(carry_t, y_t) = recur(carry_{t-1}, u_t)`` and, where
    there is one, ``y_t = readout(y_t, x_t, u_t)``. Only `recur` is sequential: the
    other two run for all of time at once. Each function is written for one step;
    leading axes are treated alike.

    Attributes:
      init: ``(key, x) -> {"input": ..., "recurrent": ...}``; ``x`` is one step, an
        array or a `jax.ShapeDtypeStruct`.
      initial_carry: ``(params, batch_shape=()) -> carry``.
      project: ``(params, x, key=None) -> u``; sees no carry. ``key`` is a `StepKey`, or
        None for evaluation.
      recur: ``(params["recurrent"], carry, u) -> (carry, y)``, one step.
      readout: ``(params, y, x, u) -> y``; sees no carry.
      linear: ``(params["recurrent"], u) -> (a, b)`` where
        ``carry_t = a * carry_{t-1} + b``, for cells that are linear in the carry. A
        leaf of ``a`` has the rank of that of the carry (axes of size 1 are broadcast),
        or one more for matrices ``[..., n, n]``.
      event_ndim: rank of one example: 1 for a feature vector, 0 for a token.
    """

    init: Callable[..., Params]
    initial_carry: Callable[..., Carry]
    project: Callable[..., PyTree]
    recur: Callable[[Any, Carry, PyTree], tuple[Carry, PyTree]]
    readout: Callable[..., PyTree] | None = None
    linear: Callable[..., tuple[PyTree, PyTree]] | None = None
    event_ndim: int = 1


class RNN(NamedTuple):
    """A sequence layer: what is run and composed.

    Attributes:
      init: ``(key, x) -> params``; ``x`` is one step.
      initial_carry: ``(params, batch_shape=()) -> carry``.
      step: ``(params, carry, x, *, reset=None, key=None) -> (carry, y)``: one step, for
        streaming; ``key`` is a `StepKey`.
      unroll: ``(params, carry, xs, *, resets=None, lengths=None, mask=None,
        reverse=False, key=None) -> (carry, ys)``: a sequence
        ``xs [T, *batch, *event]``. ``carry=None`` is the initial carry. ``mask`` bool
        ``[T, *batch]``: where false, the carry stays and the output is zero;
        ``lengths`` int ``[*batch]`` is the mask ``t < lengths``. ``resets`` bool
        ``[T, *batch]``: where true, the carry is the initial one before ``x_t`` is
        consumed. ``reverse`` runs from the last step to the first. ``key=None`` is
        evaluation: nothing random.
      explain: ``(params, xs) -> Explanation``: how `unroll` runs, and why.
      event_ndim: rank of one example of ``xs``.
    """

    init: Callable[..., Params]
    initial_carry: Callable[..., Carry]
    step: Callable[..., tuple[Carry, PyTree]]
    unroll: Callable[..., tuple[Carry, PyTree]]
    explain: Callable[..., Explanation]
    event_ndim: int = 1


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How a layer runs. No field changes a result beyond rounding.

    Attributes:
      gradient: "deferred" forms weight gradients in products outside the time loop;
        "autodiff" leaves them to JAX, which accumulates them step by step (the oracle);
        "auto" chooses by size and device; `explain` says what and why.
      backend: "scan" is `jax.lax.scan` of the cell's own step; "fused" the schedule
        written by hand for simple, LSTM and GRU; "sequential", "chunked" and
        "associative" are those of `linear_scan`, for cells with ``linear``; "newton" is
        Newton's method on all steps at once, see `newton_scan`, and the loop where that
        does not converge ("auto" never takes it); "pallas" kernels for TPUs, of simple,
        LSTM, GRU and cells with ``linear``, reverse mode alone but for the last ("auto"
        takes them only where a passed run is on record); "cudnn" the LSTM of cuDNN on
        NVIDIA GPUs, in reverse mode alone, without resets ("auto" never takes it);
        "auto" the fastest that can run here.
      remat: "none" keeps what the backward pass needs; "step" keeps what enters each
        step, carry and projected input, and computes the inside of the step again. A
        number K keeps every K-th carry and computes the steps between them again,
        projection included; "sqrt" is that with the square root of ``T``, for memory
        that grows with it. On a GPU, under gradient "auto", "none" may become "step",
        which launches fewer kernels; `explain` says so.
      block: number of steps whose inputs are projected, and whose weight gradients are
        formed, in one product. None is all of them.

    Raises:
      ValueError: a field has none of its values.
    """

    gradient: str = "auto"
    backend: str = "auto"
    remat: str | int = "none"
    block: int | None = None

    def __post_init__(self) -> None:
        """Checks the values."""
        for name, known in (
            ("gradient", ("auto", "deferred", "autodiff")),
            (
                "backend",
                (
                    "auto",
                    "scan",
                    "fused",
                    "newton",
                    "pallas",
                    "cudnn",
                    *LINEAR_BACKENDS,
                ),
            ),
            ("remat", ("none", "step", "sqrt")),
        ):
            value = getattr(self, name)
            if name == "remat" and _is_positive(value):
                continue
            if value not in known:
                also = " or a number of steps" if name == "remat" else ""
                raise ValueError(
                    f"Schedule({name}=...): expected one of {known}{also}, "
                    f"got {value!r}."
                )
        if self.block is not None and not _is_positive(self.block):
            raise ValueError(
                f"Schedule(block=...): expected a positive number of steps or None for "
                f"all of them, got {self.block!r}."
            )
        if self.block is not None and self.remat not in ("none", "step"):
            raise ValueError(
                f"Schedule(remat=..., block=...): expected one of them, got "
                f"{self.remat!r} and {self.block!r}. remat with a number of steps "
                f"projects as many steps at a time."
            )


def _is_positive(value: Any) -> bool:
    try:
        return operator.index(value) > 0
    except TypeError:
        return False


class Explanation(NamedTuple):
    """How one layer runs, and why. ``str()`` of it is a readable tree.

    Attributes:
      name: the layer.
      backend: the backend that runs it; "" for layers without a recurrence.
      gradient: "deferred" or "autodiff"; "" for layers without a recurrence.
      reasons: one sentence each, why this and not another.
      children: the layers that this one is composed of.
      output: shape and dtype of ``ys``, a tree of `jax.ShapeDtypeStruct`; None where
        the layer does not say.
      parameters: number of parameters, those of the children among them.
    """

    name: str
    backend: str = ""
    gradient: str = ""
    reasons: tuple[str, ...] = ()
    children: tuple[Explanation, ...] = ()
    output: PyTree = None
    parameters: int | None = None

    def __str__(self) -> str:
        """One line a layer, its reasons and children indented below."""
        runs = f": backend {self.backend}, gradient {self.gradient}"
        lines = [self.name + (runs if self.backend else "")]
        lines += [f"  - {reason}" for reason in self.reasons]
        for child in self.children:
            lines += ["  " + line for line in str(child).splitlines()]
        return "\n".join(lines)


class StepKey(NamedTuple):
    """The randomness of one step.

    Attributes:
      sequence: a PRNG key that is the same at every step of a sequence, for masks drawn
        once a sequence (variational dropout, weight drop).
      step: a PRNG key of this step alone.
    """

    sequence: Array
    step: Array

    def fold_in(self, index: int) -> StepKey:
        """The keys of the part numbered ``index`` of a composition."""
        return StepKey(*(jax.random.fold_in(key, index) for key in self))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StepKeys:
    """The `StepKey` of each of ``T`` steps; made by `step_keys`, indexed by ``[t]``."""

    sequence: Array
    step: Array
    """``[T]`` keys."""

    def __getitem__(self, t: Any) -> StepKey:
        """The key of step ``t``; keys of several steps for a slice are a `StepKeys`."""
        if isinstance(t, slice):
            return StepKeys(self.sequence, self.step[t])  # type: ignore[return-value]
        return StepKey(self.sequence, self.step[t])

    def __len__(self) -> int:
        """``T``."""
        return self.step.shape[0]

    def __iter__(self) -> Iterator[StepKey]:
        """The keys in order of time."""
        return (self[t] for t in range(len(self)))

    def fold_in(self, index: int) -> StepKeys:
        """The keys of the part numbered ``index`` of a composition."""
        fold = jax.vmap(jax.random.fold_in, (0, None))
        return StepKeys(
            jax.random.fold_in(self.sequence, index), fold(self.step, index)
        )


def step_keys(key: Array | StepKeys, length: int) -> StepKeys:
    """The `StepKey` of each step: ``unroll(key=key)`` uses ``step_keys(key, T)[t]``.

    The key of a step does not depend on ``length``.

    Args:
      key: a PRNG key; `StepKeys` are given back as they are.
      length: number of steps.

    Returns:
      `StepKeys`; in the order of processing where a sequence is run in reverse.

    Raises:
      ValueError: `StepKeys` of another length.
      TypeError: no PRNG key.

    Example:
      >>> import jax, rnnjax
      >>> keys = rnnjax.step_keys(jax.random.key(0), 3)
      >>> len(keys), type(keys[2]).__name__
      (3, 'StepKey')
    """
    if isinstance(key, StepKeys):
        if len(key) != length:
            raise ValueError(
                f"key: expected StepKeys of {length} steps, one for each of xs, got "
                f"{len(key)}."
            )
        return key
    dtype = jnp.result_type(key)
    if not (jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == jnp.uint32):
        raise TypeError(
            f"key: expected a PRNG key (or None for evaluation), got "
            f"{dtype}{list(jnp.shape(key))}. Make one by jax.random.key(seed)."
        )
    sequence, step = jax.random.split(key)
    fold = jax.vmap(jax.random.fold_in, (None, 0))
    return StepKeys(sequence, fold(step, jnp.arange(length)))
