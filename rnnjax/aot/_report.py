"""What a compiled program needs and does, and what bounds it."""

from __future__ import annotations

from typing import NamedTuple

from rnnjax.aot._costs import Collective, CustomCall, Part
from rnnjax.aot._devices import Peaks

# A kernel waits for the one before it. What that costs at least is published nowhere;
# this is an assumption, and the report says so.
KERNEL_SECONDS = 2e-6
# The estimated cycles contain the arithmetic and what is waited for: where they are
# this many times as long as the larger limit, neither is what the time goes to.
_LATENCY = 2.0


class Memory(NamedTuple):
    """Bytes on one device.

    Attributes:
      arguments: of the arguments.
      results: of the results; those that reuse an argument are not counted.
      temporary: of all that lives in between.
      code: of the program.
      capacity: of the device, as published.
    """

    arguments: int
    results: int
    temporary: int
    code: int
    capacity: float

    @property
    def total(self) -> int:
        """All of it together."""
        return self.arguments + self.results + self.temporary + self.code

    @property
    def fits(self) -> bool:
        """Whether the device has that much."""
        return self.total <= self.capacity


class Report(NamedTuple):
    """A program compiled for a device that is not there; ``print`` it.

    Nothing was run. Cycles are the compiler's estimates, limits follow from published
    peaks.

    Attributes:
      target: as asked for.
      device: JAX's name of the kind of device.
      devices: how many of them.
      memory: of one device.
      flops: of the products, on one device: those of all, divided evenly.
      parts: first what is outside of loops, then each loop.
      collectives: between devices, and the loops they are in.
      custom_calls: Pallas kernels, libraries; no cycles are estimated for them.
      peaks: of the device.
      error: what the compiler said where the program does not fit; "" otherwise.
    """

    target: str
    device: str
    devices: int
    memory: Memory
    flops: float
    parts: tuple[Part, ...]
    collectives: tuple[Collective, ...]
    custom_calls: tuple[CustomCall, ...]
    peaks: Peaks
    error: str = ""

    @property
    def loops(self) -> tuple[Part, ...]:
        """The loops."""
        return self.parts[1:]

    @property
    def bytes(self) -> float:
        """Moved to and from the memory of one device, caches left out of account."""
        return sum(part.times * part.bytes for part in self.parts)

    @property
    def intensity(self) -> float:
        """FLOPs of products for each of these bytes."""
        return self.flops / self.bytes if self.bytes else float("inf")

    @property
    def kernels(self) -> int:
        """Launched in all, one after another."""
        return sum(part.times * part.kernels for part in self.parts)

    @property
    def cycles(self) -> int | None:
        """Estimated in all: each loop's body times its trips, and what is outside.

        None on a GPU, whose compiler makes no estimate.
        """
        if any(part.cycles is None for part in self.parts) or not self.parts:
            return None
        return sum(part.times * (part.cycles or 0) for part in self.parts)

    @property
    def seconds(self) -> dict[str, float]:
        """What each bound alone would take, from the published peaks.

        "latency" is the estimated cycles at the published clock; on a GPU the kernels
        launched, at an assumed 2 microseconds each.
        """
        found = {
            "compute": self.flops / self.peaks.flops,
            "bandwidth": self.bytes / self.peaks.bandwidth,
        }
        if self.cycles is None:
            return found | {"latency": self.kernels * KERNEL_SECONDS}
        if self.peaks.clock and self.cycles:
            found["latency"] = self.cycles / self.peaks.clock
        return found

    @property
    def bound(self) -> str:
        """What bounds the time: "compute", "bandwidth", or "latency".

        "latency" is a chain of steps that wait for one another: the estimate is more
        than twice what arithmetic and memory alone would take.
        """
        seconds = self.seconds
        latency = seconds.pop("latency", 0.0)
        larger = max(seconds, key=lambda name: seconds[name])
        return "latency" if latency > _LATENCY * seconds[larger] else larger

    def __str__(self) -> str:
        """A table."""
        return "\n".join([*self._heading(), *self._table(), *self._calls()])

    def _heading(self) -> list[str]:
        memory, rows = self.memory, []
        each = f" on each of {self.devices}" if self.devices > 1 else ""
        fits = "fits in" if memory.fits and not self.error else "does NOT fit in"
        rows.append(f"compiled for {self.target} ({self.device}); nothing was run")
        rows.append(
            f"memory{each}: {_bytes(memory.total)}, {fits} {_bytes(memory.capacity)}: "
            f"arguments {_bytes(memory.arguments)}, results {_bytes(memory.results)}, "
            f"temporary {_bytes(memory.temporary)}, code {_bytes(memory.code)}"
        )
        if self.error:
            return [*rows, f"the compiler: {self.error}"]
        rows.append(
            f"work{each}: {_number(self.flops)} FLOP of products, {_bytes(self.bytes)} "
            f"moved, {self.intensity:.1f} FLOP/byte (balance of the device: "
            f"{self.peaks.flops / self.peaks.bandwidth:.0f})"
        )
        limits = [f"{name} {_time(value)}" for name, value in self.seconds.items()]
        rows.append(f"bound by {self.bound}: {', '.join(limits)}")
        if self.cycles is None:
            rows.append(
                f"kernels: {self.kernels:,}, assumed {_time(KERNEL_SECONDS)} each"
            )
        else:
            rows.append(f"estimated cycles: {self.cycles:,}")
        return rows

    def _table(self) -> list[str]:
        if not self.parts:
            return []
        rows = [("", "trips", "cycles", "kernels", "moved", "products", "collectives")]
        for part in self.parts:
            inside = [c.kind for c in self.collectives if c.loop == part.name]
            rows.append(
                (
                    f"loop {part.name}" if part.depth else "outside of loops",
                    "?" if part.trips is None else f"{part.trips:,}",
                    "" if part.cycles is None else f"{part.cycles:,}",
                    str(part.kernels),
                    _bytes(part.bytes),
                    str(len(part.products)),
                    ", ".join(_counted(inside)) or "none",
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            "  ".join(
                cell.rjust(width) if place else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]

    def _calls(self) -> list[str]:
        names = [
            f"{call.target} ({call.source})" + (" in a loop" if call.loop else "")
            for call in self.custom_calls
        ]
        if not names:
            return []
        note = "" if self.cycles is None else "; their cycles are not estimated"
        return [f"custom calls{note}: {', '.join(_counted(names))}"]


def _counted(names: list[str]) -> list[str]:
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    return [f"{n} x {name}" if n > 1 else name for name, n in counts.items()]


def _number(value: float) -> str:
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g} "


def _bytes(value: float) -> str:
    return f"{_number(value)}B"


def _time(seconds: float) -> str:
    for factor, unit in ((1, "s"), (1e-3, "ms")):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
