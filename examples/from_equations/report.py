"""What the example shows: two tables and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from rich.table import Table

from examples.from_equations.comparison import Comparison


def gradient_table(results: Mapping[str, Comparison]) -> Table:
    """Each parameter's gradient, and how far NumPy's and JAX's are apart."""
    table = Table(title="Gradients, largest of all epochs")
    table.add_column("network")
    table.add_column("parameter")
    table.add_column("gradient", justify="right")
    table.add_column("difference", justify="right")
    for network, result in results.items():
        for name, size in result.sizes.items():
            difference = result.differences[name]
            table.add_row(network, name, f"{size:.3g}", f"{difference:.1e}")
            network = ""
        table.add_section()
    return table


def loss_table(results: Mapping[str, Comparison]) -> Table:
    """The losses of the first and last epoch, and how far the two curves are apart."""
    table = Table(title="Losses in NumPy and JAX")
    for column in ("network", "first epoch", "last, NumPy", "last, JAX", "difference"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for network, result in results.items():
        table.add_row(
            network,
            f"{result.numpy_losses[0]:.4f}",
            f"{result.numpy_losses[-1]:.4f}",
            f"{result.jax_losses[-1]:.4f}",
            f"{result.loss_difference:.1e}",
        )
    return table


def draw_losses(results: Mapping[str, Comparison], baseline: float, path: Path) -> Path:
    """Draws NumPy's losses as lines and JAX's as dots upon them; returns the path."""
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for network, result in results.items():
        (line,) = axes.plot(result.numpy_losses, label=f"{network}, NumPy")
        epochs = range(0, len(result.jax_losses), max(1, len(result.jax_losses) // 15))
        axes.plot(
            epochs,
            [result.jax_losses[epoch] for epoch in epochs],
            "o",
            markersize=4,
            color=line.get_color(),
            label=f"{network}, JAX",
        )
    axes.axhline(baseline, color="gray", linestyle=":", label="repeat the last value")
    axes.set(xlabel="epoch", ylabel="loss", yscale="log")
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
