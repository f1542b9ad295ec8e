"""Step time, communication and memory of many accelerators, computed and not measured.

``python -m benchmarks.on_paper`` prints the tables of docs/scaling.md. Every number
comes from the sizes of a model, the published figures of a chip and the assumptions
below.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

# Assumptions. They are round numbers of the right size, and none is measured here.
EFFICIENCY = 0.5
"""Share of the peak that large products reach."""
LOOP_SECONDS = 10e-6
"""What one step of an XLA while loop costs whatever is in it, each way."""
KERNEL_SECONDS = 0.5e-6
"""The same inside one kernel that holds the loop."""
HOP_SECONDS = 1e-6
"""From a chip to its neighbour in a slice."""
NETWORK_SECONDS = 20e-6
"""From slice to slice."""
COMPUTE_BYTES, STATE_BYTES = 2, 16
"""bfloat16 products; float32 parameters, gradient and two moments of Adam."""


class Chip(NamedTuple):
    """An accelerator by its published figures, in units and seconds."""

    name: str
    flops: float
    """bfloat16, dense."""
    memory: float
    memory_bandwidth: float
    slice_size: int
    """How many the fast links join."""
    link: float
    """Bytes a second that a chip sends over them, one way, all links together."""
    network: float
    """Bytes a second and chip between slices."""
    dimensions: int
    """Of the torus; 0 for a switch."""


V5E = Chip("TPU v5e", 197e12, 16e9, 819e9, 256, 200e9, 6.4e12 / 8 / 256, 2)
V5P = Chip("TPU v5p", 459e12, 95e9, 2765e9, 6144, 600e9, 50e9 / 8, 3)
H100 = Chip("H100 SXM", 989e12, 80e9, 3350e9, 8, 450e9, 400e9 / 8, 0)


class Model(NamedTuple):
    """A language model: embedding, equal LSTM layers, softmax; and its batch."""

    name: str
    layers: int
    hidden: int
    embedding: int
    symbols: int
    steps: int
    """T of a window."""
    batch: int
    """Sequences of one chip, or of one group of chips that share the units."""

    @property
    def recurrent(self) -> int:
        """Entries of one recurrent kernel."""
        return 4 * self.hidden**2

    @property
    def inputs(self) -> int:
        """Entries of all input kernels."""
        sizes = [self.embedding] + [self.hidden] * (self.layers - 1)
        return sum(4 * self.hidden * size for size in sizes)

    @property
    def parameters(self) -> int:
        """Number of parameters, biases included."""
        biases = 4 * self.hidden * self.layers + self.symbols
        tables = self.symbols * (self.embedding + self.hidden)
        return self.layers * self.recurrent + self.inputs + tables + biases


SMALL = Model("1 x LSTM 512, the preset `full` of char_lm", 1, 512, 128, 96, 64, 32)
LARGE = Model("4 x LSTM 8192, 32,000 symbols", 4, 8192, 8192, 32_000, 256, 128)


class Estimate(NamedTuple):
    """One training step on ``chips``, ``units`` of which share the hidden units."""

    chips: int
    units: int
    tokens: int
    """Of the whole batch."""
    compute: float
    """Seconds of products and loops."""
    exchange: float
    """Seconds of the collectives in the loop over time (tensor parallel)."""
    gradient: float
    """Seconds of the sum of the gradient, not hidden behind anything."""
    memory: float
    """Bytes of a chip."""

    @property
    def seconds(self) -> float:
        """Of the step."""
        return self.compute + self.exchange + self.gradient

    @property
    def rate(self) -> float:
        """Tokens a second of one chip."""
        return self.tokens / self.seconds / self.chips


def estimate(
    model: Model, chip: Chip, chips: int, units: int = 1, kernel: bool = False
) -> Estimate:
    """Computes one training step.

    Args:
      model: with the batch of one chip, or of ``units`` chips together.
      chip: which accelerator.
      chips: how many.
      units: over how many the hidden units are split; the rest split the batch.
      kernel: the loop over time is one kernel, and its weights stay on the chip.
    """
    rows = model.batch
    tokens = rows * model.steps * chips // units
    # In the loop, each way: one product a layer, or the reading of its weights.
    flops = 2 * rows * model.recurrent / units
    reading = model.recurrent * COMPUTE_BYTES / units / chip.memory_bandwidth
    product = flops / (EFFICIENCY * chip.flops)
    step = product + KERNEL_SECONDS if kernel else max(product, reading, LOOP_SECONDS)
    loop = 2 * model.layers * model.steps * step
    # Outside: forward, of the inputs and of the weights; of the recurrent kernel the
    # last alone.
    outside = 3 * (model.inputs + model.symbols * model.hidden)
    outside += model.layers * model.recurrent
    products = 2 * rows * model.steps * outside / units / (EFFICIENCY * chip.flops)
    exchange = 0.0
    if units > 1:
        sent = rows * model.hidden * COMPUTE_BYTES * (units - 1) / units
        once = sent / chip.link + HOP_SECONDS * _hops(chip, units) / 2
        exchange = 2 * model.layers * model.steps * once
    size = 4 * model.parameters / units
    gradient = all_reduce(chip, chips // units, size, chip.slice_size // units)
    numbers = model.layers * 10 * model.hidden + 2 * model.symbols
    activations = 4 * rows * model.steps * numbers / units
    memory = STATE_BYTES * model.parameters / units + activations
    return Estimate(chips, units, tokens, loop + products, exchange, gradient, memory)


def all_reduce(chip: Chip, count: int, size: float, in_slice: int) -> float:
    """Seconds to sum ``size`` bytes over ``count`` chips, ``in_slice`` of each slice.

    In rings inside the slices, and between them of the part that each chip then holds.
    """
    inside = min(count, in_slice)
    slices = math.ceil(count / inside)
    seconds = 2 * size * (inside - 1) / inside / chip.link
    seconds += HOP_SECONDS * _hops(chip, inside)
    if slices > 1:
        seconds += 2 * size / inside * (slices - 1) / slices / chip.network
        seconds += 2 * NETWORK_SECONDS * math.ceil(math.log2(slices))
    return seconds


def _hops(chip: Chip, count: int) -> float:
    """There and back along every dimension of a torus; two through a switch."""
    if count == 1:
        return 0
    if not chip.dimensions:
        return 2
    return 2 * chip.dimensions * (count ** (1 / chip.dimensions) - 1)


COUNTS = 8, 256, 4096


def weak(model: Model, chip: Chip, units: int, kernel: bool) -> list[list[str]]:
    """The batch of a chip stays: heading and a row for each number of chips."""
    found = [estimate(model, chip, count, units, kernel) for count in COUNTS]
    heading = ["chips", "data x units", "tokens a step", "compute, ms"]
    heading += ["in the loop, ms", "gradient, ms", "step, ms", "of 8 chips' rate, %"]
    heading += ["memory of a chip, GB"]
    rows = [heading]
    for e in found:
        rows.append(
            [
                f"{e.chips:,}",
                f"{e.chips // e.units:,} x {e.units}",
                f"{e.tokens:,}",
                *(_ms(s) for s in (e.compute, e.exchange, e.gradient, e.seconds)),
                f"{100 * e.rate / found[0].rate:.0f}",
                f"{e.memory / 1e9:.2g}",
            ]
        )
    return rows


def strong(model: Model, chip: Chip, kernel: bool, whole: int) -> list[list[str]]:
    """The whole batch stays, and every chip gets less of it."""
    rows = [["chips", "rows of a chip", "step, ms", "gradient, ms", "times 8 chips"]]
    first = None
    for count in COUNTS:
        e = estimate(model._replace(batch=whole // count), chip, count, 1, kernel)
        first = first or e
        times = f"{first.seconds / e.seconds:.1f} of {count / first.chips:,.0f}"
        rows.append(
            [f"{count:,}", str(whole // count), _ms(e.seconds), _ms(e.gradient), times]
        )
    return rows


def split(
    model: Model, chip: Chip, units: int, sizes: Iterable[int]
) -> list[list[str]]:
    """A step of the loop, forward, on one chip and with its units on several."""
    head = [f"H, {model.batch} rows", "1 chip, us", f"{units} chips: product, us"]
    rows = [[*head, "all-gather, us", "times as fast"]]
    for hidden in sizes:
        layer = model._replace(layers=1, steps=1, hidden=hidden)
        parts = []
        for count in (1, units):
            reading = layer.recurrent * COMPUTE_BYTES / count / chip.memory_bandwidth
            flops = 2 * layer.batch * layer.recurrent / count
            parts.append(max(reading, flops / (EFFICIENCY * chip.flops), LOOP_SECONDS))
        exchange = estimate(layer, chip, units, units).exchange / 2
        times = parts[0] / (parts[1] + exchange)
        seconds = *parts, exchange
        rows.append(
            [f"{hidden:,}", *(_number(1e6 * s) for s in seconds), f"{times:.1f}"]
        )
    return rows


def _ms(seconds: float) -> str:
    return _number(1e3 * seconds)


def _number(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def markdown(rows: list[list[str]]) -> str:
    """A table: heading first."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---:|" * len(rows[0]), *lines[1:]])


def page() -> Iterable[tuple[str, str]]:
    """Title and table of everything that the page shows."""
    for chip in (V5E, V5P, H100):
        yield f"{SMALL.name}: {chip.name}", markdown(weak(SMALL, chip, 1, True))
    for chip in (V5E, V5P, H100):
        yield f"{LARGE.name}: {chip.name}", markdown(weak(LARGE, chip, 8, False))
    yield (
        f"{SMALL.name}, 4,096 rows in all: {V5E.name}",
        markdown(strong(SMALL, V5E, True, 4096)),
    )
    for chip in (V5E, H100):
        sizes = 1024, 2048, 4096, 8192, 16384
        yield (
            f"One step of one layer: {chip.name}",
            markdown(split(LARGE, chip, 8, sizes)),
        )


if __name__ == "__main__":
    for title, table in page():
        print(f"**{title}**\n\n{table}\n")
