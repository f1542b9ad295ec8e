"""Reads optimised HLO: what stands in the innermost loops, and in what it calls."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import jax

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "all-to-all",
    "reduce-scatter",
    "collective-permute",
    "collective-broadcast",
)
_HEADER = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$")
_RESULT = re.compile(r"^(?:ROOT )?%?([\w.\-]+) = (.+)$")
_OPCODE = re.compile(r"(?<=[\s)])([a-z][a-z0-9\-]*)\(")
_SHAPE = re.compile(r"[a-z]+[0-9]+\[([0-9,]*)\]")
# The attributes by which an instruction names the computations that it runs.
_CALLED = re.compile(
    r"(?:body|condition|calls|to_apply|\w+_computation|called_computations"
    r"|branch_computations)=\{?((?:%?[\w.\-]+(?:, )?)+)\}?"
)
# Libraries that a backend hands a product to: oneDNN, YNNPACK, Eigen, cuBLAS, Triton.
_PRODUCT = re.compile(r"matmul|gemm|dot|ynn", re.IGNORECASE)


class Instruction(NamedTuple):
    """One line of HLO."""

    opcode: str
    line: str
    called: tuple[str, ...]

    @property
    def sizes(self):
        """Numbers of elements of the arrays of the result."""
        result = self.line.split(f" {self.opcode}(")[0]
        return [
            math.prod(map(int, s.split(","))) if s else 1
            for s in _SHAPE.findall(result)
        ]

    @property
    def is_product(self):
        if self.opcode == "custom-call":
            target = re.search(r'custom_call_target="([^"]*)"', self.line)
            return bool(target and _PRODUCT.search(target[1]))
        if self.opcode == "fusion":
            return "__onednn" in self.line or "__triton_gemm" in self.line
        return self.opcode in ("dot", "convolution")


class Loop(NamedTuple):
    """The body of a while loop, with all that it calls."""

    name: str
    instructions: list[Instruction]

    @property
    def products(self):
        return [i for i in self.instructions if i.is_product]

    @property
    def collectives(self):
        return [i for i in self.instructions if i.opcode.startswith(COLLECTIVES)]

    @property
    def has_loop(self):
        return any(i.opcode == "while" for i in self.instructions)


def computations(text: str) -> dict[str, list[Instruction]]:
    """The computations of an HLO module, by name."""
    found, lines = {}, None
    for line in map(str.strip, text.splitlines()):
        header = _HEADER.match(line)
        if header and "= " not in line.split("(")[0]:
            lines = found[header[1]] = []
        elif lines is not None and (match := _RESULT.match(line)):
            lines.append(_instruction(match[2]))
    return found


def _instruction(line: str) -> Instruction:
    bare = line.split(", metadata=")[0]
    opcode = _OPCODE.search(" " + bare)
    named = [n.strip(" %") for m in _CALLED.finditer(bare) for n in m[1].split(",")]
    return Instruction(opcode[1] if opcode else "", line, tuple(filter(None, named)))


def loops(text: str) -> list[Loop]:
    """All while loops of a module, in the order of the text."""
    everything = computations(text)
    return [
        Loop(body, _with_called(body, everything))
        for instructions in everything.values()
        for i in instructions
        if i.opcode == "while"
        for body in re.findall(r"body=%?([\w.\-]+)", i.line)
    ]


def _with_called(name, everything, seen=None):
    """The instructions of a computation and of those that it calls."""
    seen = set() if seen is None else seen
    if name in seen:
        return []
    seen.add(name)
    instructions = list(everything.get(name, []))
    for i in tuple(instructions):
        for called in i.called:
            instructions += _with_called(called, everything, seen)
    return instructions


def innermost_loops(text: str) -> list[Loop]:
    """The loops without a loop inside."""
    return [loop for loop in loops(text) if not loop.has_loop]


def optimised(function, *args, **options) -> str:
    """The optimised HLO of a function compiled for those arguments."""
    return jax.jit(function, **options).lower(*args).compile().as_text()
