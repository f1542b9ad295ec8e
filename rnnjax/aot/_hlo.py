"""Reads optimised HLO: its instructions, its loops and how often they run."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "c64": 8, "c128": 16}
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_LINE = re.compile(r"^(ROOT )?%?([\w.\-]+) = (.+)$")
_OPCODE = re.compile(r"(?<=[\s)}\]])([a-z][a-z0-9\-]*)\(")
_CALLED = re.compile(
    r"\b(body|condition|calls|to_apply|\w+_computations?)="
    r"(?:\{([^}]*)\}|%?([\w.\-]+))"
)


class Array(NamedTuple):
    """One array of a shape.

    Attributes:
      dtype: such as "f32".
      shape: of its axes.
      space: the memory it lies in: 0 is that of the device, 1 on TPU the VMEM.
    """

    dtype: str
    shape: tuple[int, ...]
    space: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> float:
        """Without padding."""
        if self.dtype in ("token", "opaque"):
            return 0
        bits = re.search(r"\d+", self.dtype)
        size = _BYTES.get(self.dtype) or (int(bits[0]) / 8 if bits else 0)
        return self.elements * size


class Instruction(NamedTuple):
    """One line of HLO."""

    name: str
    opcode: str
    text: str
    """The line behind "="."""
    operands: tuple[str, ...]
    called: dict[str, tuple[str, ...]]
    """By attribute, the computations that it names."""
    root: bool

    @property
    def results(self) -> list[Array]:
        """The arrays that it makes."""
        return arrays(self.text.split(f" {self.opcode}(", 1)[0])

    def attribute(self, pattern: str) -> str | None:
        """The first group of a pattern found behind the operands."""
        found = re.search(pattern, self.text)
        return found[1] if found else None

    @property
    def target(self) -> str:
        """Of a custom call; "" otherwise."""
        return self.attribute(r'custom_call_target="([^"]*)"') or ""

    @property
    def source(self) -> str:
        """The JAX operation that it stems from."""
        return self.attribute(r'op_name="([^"]*)"') or ""

    @property
    def cycles(self) -> int | None:
        """The estimate of the TPU compiler."""
        found = self.attribute(r'"estimated_cycles":"(\d+)"')
        return int(found) if found else None


def arrays(text: str) -> list[Array]:
    """The arrays of a shape or of a tuple of them."""
    found = []
    for dtype, shape, layout in _ARRAY.findall(text):
        space = re.search(r"S\((\d+)\)", layout)
        sizes = tuple(map(int, shape.split(","))) if shape else ()
        found.append(Array(dtype, sizes, int(space[1]) if space else 0))
    return found


class Module(NamedTuple):
    """A module of optimised HLO."""

    computations: dict[str, list[Instruction]]
    entry: str

    def inside(self, instruction: Instruction) -> Iterator[Instruction]:
        """What a fusion, a call or an asynchronous start does, at every depth."""
        for names in instruction.called.values():
            for name in names:
                for inner in self.computations.get(name, ()):
                    yield inner
                    yield from self.inside(inner)

    def trips(self, loop: Instruction) -> int | None:
        """How often the body of a while loop runs; None where that is not constant.

        From the compiler's own note, or from the condition ``i < n``, where ``i``
        begins as a constant and, as in all loops of JAX, goes up by one.
        """
        known = loop.attribute(r'"known_trip_count":\{"n":"(\d+)"')
        if known:
            return int(known)
        lines = {i.name: i for i in self.computations[loop.called["condition"][0]]}
        for line in lines.values():
            compared = next(
                (c for c in (line, *self.inside(line)) if _is_below(c)), None
            )
            if compared is None:
                continue
            given = [lines[n] for n in line.operands]
            counters = [i for i in given if i.opcode == "get-tuple-element"]
            bounds = [i for i in (*given, *self.inside(line)) if i.opcode == "constant"]
            if len(counters) == len(bounds) == 1:
                place = counters[0].attribute(r"index=(\d+)")
                first = self._constant_at(loop.operands[0], int(place or 0))
                last = _constant(bounds[0])
                return None if first is None or last is None else last - first
        return None

    def _constant_at(self, name: str, place: int) -> int | None:
        """The constant at that place of a tuple."""
        everything = {i.name: i for lines in self.computations.values() for i in lines}
        found = everything[name]
        if found.opcode != "tuple":
            return None
        found = everything[found.operands[place]]
        while found.opcode in ("copy", "bitcast"):
            found = everything[found.operands[0]]
        return _constant(found)


def _is_below(instruction: Instruction) -> bool:
    return instruction.opcode == "compare" and "direction=LT" in instruction.text


def _constant(instruction: Instruction) -> int | None:
    found = re.search(r" constant\((-?\d+)\)", f" {instruction.text}")
    return int(found[1]) if found else None


@functools.lru_cache(4)
def parse(text: str) -> Module:
    """A module from its text."""
    computations: dict[str, list[Instruction]] = {}
    lines: list[Instruction] = []
    entry = ""
    for line in map(str.strip, text.splitlines()):
        header = _HEADER.match(line)
        if header:
            lines = computations[header[2]] = []
            entry = header[2] if header[1] else entry
        elif match := _LINE.match(line):
            lines.append(_instruction(match[2], match[3], bool(match[1])))
    return Module(computations, entry)


def _instruction(name: str, text: str, root: bool) -> Instruction:
    opcode = _OPCODE.search(text)
    if not opcode:
        return Instruction(name, "", text, (), {}, root)
    depth, end = 1, len(text)
    for bracket in re.compile(r"[()]").finditer(text, opcode.end()):
        depth += 1 if bracket[0] == "(" else -1
        if not depth:
            end = bracket.end()
            break
    operands = re.findall(r"%([\w.\-]+)", text[opcode.end() : end])
    attributes = text[end:].split("metadata=", 1)[0]
    called = {
        key: tuple(n.strip(" %") for n in (several or one).split(","))
        for key, several, one in _CALLED.findall(attributes)
    }
    return Instruction(name, opcode[1], text, tuple(operands), called, root)
