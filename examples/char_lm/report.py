"""What a run leaves behind: a table, a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from examples.common.tables import markdown_table


def result_table(result: dict) -> str:
    """The model's held-out bits beside those of the baselines, worst first."""
    rows = [(name, bits) for name, bits in result["baselines"].items()]
    rows.append((f"this model ({result['config']['cell']})", result["test_bits"]))
    rows.sort(key=lambda row: -row[1])
    return markdown_table(
        ("held-out text", "bits per character", "perplexity"),
        [(name, f"{bits:.3f}", f"{2**bits:.2f}") for name, bits in rows],
    )


def plot_learning_curve(
    metrics: Sequence[dict], baselines: dict[str, float], path: Path, title: str = ""
) -> None:
    """Draws bits per character against characters read, with baselines as levels.

    Args:
        metrics: records with ``characters`` and ``bits`` or ``dev_bits``.
        baselines: bits per character of the held-out text, by name.
        path: where the PNG goes.
        title: what stands above the picture.
    """
    figure, axes = plt.subplots(figsize=(8, 4.6), dpi=120, layout="constrained")
    for name, style in (
        ("bits", {"color": "tab:blue", "alpha": 0.45, "linewidth": 1.0}),
        ("dev_bits", {"color": "tab:red", "marker": "o", "markersize": 3.5}),
        ("test_bits", {"color": "black", "marker": "*", "markersize": 12, "ls": ""}),
    ):
        points = [(r["characters"], r[name]) for r in metrics if name in r]
        if points:
            label = {"bits": "training", "dev_bits": "development"}.get(
                name, f"held out: {points[-1][1]:.3f}"
            )
            axes.plot(*zip(*points, strict=True), label=label, **style)
    levels = _levels_to_draw(baselines)
    shown = [r[k] for r in metrics for k in ("dev_bits", "test_bits") if k in r]
    lowest = min([*levels.values(), *shown])
    highest = max([*levels.values(), *shown[-2:]])
    axes.set_ylim(lowest - 0.12, max(highest + 0.25, lowest + 1.5))
    axes.set_xlim(left=0)
    _draw_levels(axes, levels)
    axes.set_xlabel("characters read in training")
    axes.set_ylabel("bits per character")
    axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter())
    axes.grid(alpha=0.25)
    axes.legend(loc="upper right", framealpha=0.9, edgecolor="none")
    axes.set_title(title, fontsize=10, loc="left")
    figure.savefig(path)
    plt.close(figure)


def _levels_to_draw(baselines: dict[str, float]) -> dict[str, float]:
    """The n-gram of context 2, the best n-gram, and all that is no n-gram."""
    ngrams = {k: v for k, v in baselines.items() if k.startswith("n-gram")}
    best = min(ngrams, key=ngrams.__getitem__, default=None)
    kept = {"n-gram, context 2", best}
    return {k: v for k, v in baselines.items() if k not in ngrams or k in kept}


def _draw_levels(axes, baselines: dict[str, float]) -> None:
    """Horizontal lines, their names beside the right edge and apart from each other."""
    low, high = axes.get_ylim()
    gap = (high - low) * 0.045
    below = low - gap
    for name, bits in sorted(baselines.items(), key=lambda item: item[1]):
        if not low <= bits <= high:
            continue
        axes.axhline(bits, color="gray", linewidth=0.9, linestyle="--", zorder=0)
        below = max(bits, below + gap)
        axes.annotate(
            f"{name}: {bits:.2f}",
            xy=(1.0, bits),
            xytext=(1.012, below),
            xycoords=axes.get_yaxis_transform(),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=8,
            color="dimgray",
            annotation_clip=False,
        )
