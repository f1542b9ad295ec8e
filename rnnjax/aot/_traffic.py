"""Bytes that an instruction of optimised HLO moves to and from device memory."""

from __future__ import annotations

from collections.abc import Iterator

from rnnjax.aot._hlo import Array, Instruction, Module

# What moves no data and launches nothing.
FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "after-all",
    "while",
    "call",
    "conditional",
    "opt-barrier",
    "partition-id",
    "replica-id",
}
# Custom calls by which compilers talk to themselves.
PLUMBING = {"AllocateBuffer", "ConcatBitcast", "AssumeGatherIndicesInBound"}
_PICKS = ("dynamic-slice", "slice", "gather")
_SAME_ELEMENTS = ("bitcast", "copy", "convert")


def traffic(module: Module, computation: str, i: Instruction) -> float:
    """Bytes of one run of an instruction.

    A slice counts what it takes, an update in place what it writes; arrays in the VMEM
    of a TPU count nothing. Caches are left out of account.

    Args:
      module: what was compiled.
      computation: the one that the instruction stands in.
      i: the instruction.
    """
    if i.opcode in FREE or i.opcode.endswith("-done") or i.target in PLUMBING:
        return 0.0
    shapes = {line.name: line.results for line in module.computations[computation]}
    operands = [shapes.get(name, []) for name in i.operands]
    if i.opcode == "fusion":
        inner = _Inner(module.computations[i.called["calls"][0]])
        read = sum(map(inner.read, range(len(operands)), operands))
        return read + sum(map(inner.written, i.results))
    if i.opcode in _PICKS:
        return 2 * _in_memory(i.results)
    if i.opcode in ("dynamic-update-slice", "scatter"):
        return 2 * _in_memory(operands[-1 if i.opcode == "scatter" else 1])
    if i.opcode.endswith("-start"):  # its results name its operands once more
        return _in_memory(i.results)
    return _in_memory(i.results) + sum(map(_in_memory, operands))


def _in_memory(found: list[Array]) -> float:
    return sum(a.bytes for a in found if a.space == 0)


def _size(found: list[Array]) -> float:
    return sum(a.bytes for a in found)


class _Inner:
    """The inside of a fusion."""

    def __init__(self, instructions: list[Instruction]):
        self._lines = {i.name: i for i in instructions}
        self._users: dict[str, list[Instruction]] = {}
        for i in instructions:
            for name in i.operands:
                self._users.setdefault(name, []).append(i)
        self._parameters = {
            i.attribute(r"parameter\((\d+)\)"): i
            for i in instructions
            if i.opcode == "parameter"
        }
        self._updates = [i for i in instructions if i.opcode == "dynamic-update-slice"]

    def read(self, place: int, given: list[Array]) -> float:
        """Bytes of that operand that it reads."""
        parameter = self._parameters[str(place)]
        readers = [
            user
            for user in self._readers(parameter.name)
            if not (user in self._updates and self._base(user) is parameter)
        ]
        if readers and all(user.opcode in _PICKS for user in readers):
            return min(_in_memory(given), sum(_size(u.results) for u in readers))
        return _in_memory(given) if readers else 0.0

    def written(self, result: Array) -> float:
        """Bytes of that result that it writes."""
        if result.space:
            return 0.0
        for update in self._updates:
            if update.results[0].shape == result.shape:
                return _size(self._lines[update.operands[1]].results)
        return result.bytes

    def _readers(self, name: str) -> Iterator[Instruction]:
        for user in self._users.get(name, ()):
            if user.opcode in _SAME_ELEMENTS:
                yield from self._readers(user.name)
            else:
                yield user

    def _base(self, update: Instruction) -> Instruction:
        """What an update is written into."""
        found = self._lines[update.operands[0]]
        while found.opcode in _SAME_ELEMENTS:
            found = self._lines[found.operands[0]]
        return found
