"""What a module does each time that it runs, loop by loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rnnjax.aot._hlo import Instruction, Module
from rnnjax.aot._traffic import FREE, PLUMBING, traffic

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "all-to-all",
    "reduce-scatter",
    "collective-permute",
    "collective-broadcast",
    "ragged-all-to-all",
)


class Collective(NamedTuple):
    """A transfer between devices.

    Attributes:
      kind: such as "all-reduce".
      bytes: of its results on one device.
      loop: the loop that it is in; "" for none.
    """

    kind: str
    bytes: float
    loop: str


class CustomCall(NamedTuple):
    """A call of something that the compiler did not make, such as a Pallas kernel.

    Attributes:
      target: what is called.
      source: the JAX operation that it stems from.
      loop: the loop that it is in; "" for none.
    """

    target: str
    source: str
    loop: str


class Part(NamedTuple):
    """What runs outside of loops, or in the body of one.

    Attributes:
      name: the JAX operation of the loop; "" for what is outside of loops.
      depth: of the loop; 0 is outside.
      trips: how often it runs in all; None where a loop's number is not constant, and
        it is counted once.
      cycles: of one trip, the sum of the compiler's estimates; None on GPU.
      kernels: that one trip launches; on a TPU, the fusions and operations in it.
      bytes: that one trip moves to and from the memory of the device.
      products: the shapes of the results of the matrix products of one trip.
    """

    name: str
    depth: int
    trips: int | None
    cycles: int | None
    kernels: int
    bytes: float
    products: tuple[tuple[int, ...], ...]

    @property
    def times(self) -> int:
        """``trips``, or 1."""
        return 1 if self.trips is None else self.trips


class Costs(NamedTuple):
    """Of a module."""

    parts: tuple[Part, ...]
    """First what is outside of loops."""
    collectives: tuple[Collective, ...]
    custom_calls: tuple[CustomCall, ...]


def costs(module: Module, *, estimated: bool) -> Costs:
    """Walks through a module.

    Args:
      module: what was compiled.
      estimated: whether its compiler says how many cycles it expects.
    """
    parts: list[Part] = []
    collectives: list[Collective] = []
    custom_calls: list[CustomCall] = []

    def visit(names, loop, depth, trips):
        place = len(parts)
        parts.append(Part(loop, depth, trips, 0 if estimated else None, 0, 0.0, ()))
        cycles, kernels, moved, products = 0, 0, 0.0, []
        for name, instruction in _executed(module, names):
            if instruction.opcode == "while":
                own = module.trips(instruction)
                both = None if own is None or trips is None else own * trips
                visit(instruction.called["body"], _title(instruction), depth + 1, both)
                continue
            if instruction.opcode in FREE:
                continue
            within = [instruction, *module.inside(instruction)]
            collectives.extend(_collectives(within, loop))
            calls = [i for i in within if _is_call(i)]
            custom_calls.extend(CustomCall(i.target, i.source, loop) for i in calls)
            products += [
                a.shape for i in within if _is_product(i) for a in i.results[:1]
            ]
            cycles += instruction.cycles or 0
            kernels += _is_kernel(instruction)
            moved += traffic(module, name, instruction)
        parts[place] = Part(
            loop,
            depth,
            trips,
            cycles if estimated else None,
            kernels,
            moved,
            tuple(products),
        )

    visit((module.entry,), "", 0, 1)
    return Costs(tuple(parts), tuple(collectives), tuple(custom_calls))


def _executed(module: Module, names) -> Iterator[tuple[str, Instruction]]:
    """The instructions of computations, those that are called among them."""
    for name in names:
        for instruction in module.computations[name]:
            yield name, instruction
            if instruction.opcode in ("call", "conditional"):
                called = sum(instruction.called.values(), ())
                yield from _executed(module, called)


def _title(loop: Instruction) -> str:
    return loop.source or loop.name


def _collectives(within: list[Instruction], loop: str) -> Iterator[Collective]:
    for i in within:
        if i.opcode.startswith(COLLECTIVES) and not i.opcode.endswith("-done"):
            kind = i.opcode.removesuffix("-start")
            yield Collective(kind, sum(a.bytes for a in i.results), loop)


def _is_call(i: Instruction) -> bool:
    return i.opcode == "custom-call" and i.target not in PLUMBING


def _is_product(i: Instruction) -> bool:
    """A product by itself, or one handed to a library."""
    if i.opcode == "custom-call":
        return any(word in i.target for word in ("gemm", "matmul", "dot"))
    return i.opcode in ("dot", "convolution", "ragged-dot")


def _is_kernel(i: Instruction) -> bool:
    """The end of what was started is no launch of its own."""
    return not (i.opcode.endswith("-done") or i.target in PLUMBING)
