"""Training by steps: settings that many examples have, and `fit` with them.

The state that counts is that of the best look at the development data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optax
import rich.console

from rnnjax import training

from .config import as_json, check, check_positive
from .fitting import Trained, fit
from .results import set_aside

# Options that may differ between a run and the run that resumes it.
RESUMABLE = frozenset(
    "output resume data distributed log_every beam length_penalties".split()
)


@dataclass(frozen=True)
class TrainingConfig:
    """What every example can be told about its training."""

    preset: Literal["quick", "full"] = "quick"
    """quick: minutes on 2 cores. full: what the README's numbers are of."""

    output: Path = Path("runs/example")
    """Folder for metrics, checkpoints, pictures and the result."""

    resume: bool = False
    """Go on from the newest checkpoint in the output folder."""

    distributed: bool = False
    """Train on the devices of all processes together; see docs/distributed.md."""

    seed: int = 0
    """Seed of initial parameters, dropout and the order of the batches."""

    steps: int = 1_000
    """Number of optimiser steps."""

    batch_size: int = 64
    """Examples in a batch."""

    learning_rate: float = 2e-3
    """Peak of the cosine schedule."""

    warmup_steps: int = 50
    """Steps of linear warm-up before the cosine decay."""

    clip_norm: float = 1.0
    """Gradients are clipped to this global norm."""

    log_every: int = 50
    """Steps between two lines of metrics."""

    validate_every: int = 500
    """Steps between two looks at the development data, and between checkpoints."""

    def __post_init__(self):
        """Checks every value that would fail later or mean nothing."""
        check_positive(self, "steps batch_size log_every validate_every")
        check(self, "warmup_steps seed", "at least 0", lambda value: value >= 0)
        check(self, "learning_rate clip_norm", "above 0", lambda value: value > 0)
        sizes = "hidden_size embedding_size num_layers beam"
        check_positive(self, " ".join(n for n in sizes.split() if hasattr(self, n)))
        if hasattr(self, "dropout"):
            check(self, "dropout", "in [0, 1)", lambda value: 0 <= value < 1)


def train(
    config: TrainingConfig,
    loss: Callable,
    params: Any,
    data: Any,
    *,
    validate: Callable[[Any], dict[str, float]],
    watch: str,
    mode: str = "min",
    units: Mapping[str, Callable[[Any], int]],
    identity: Mapping[str, Any],
    console: rich.console.Console,
    axes: Mapping[str, int] | None = None,
    folder: str = "",
) -> Trained:
    """Trains by Adam under a warmed-up cosine schedule, or goes on training.

    Args:
        config: the settings.
        loss: as `rnnjax.training.fit` takes it, and so ``data``.
        params: the first parameters.
        data: the batches.
        validate: from the parameters to numbers, on development data.
        watch: the name of the number that chooses the parameters.
        mode: "min" or "max", which values of it are better.
        units: what to count in batches.
        identity: hashes and the like that a resumed run must agree in.
        console: where progress is shown.
        axes: of the rows of a batch, see `fit`.
        folder: below the output, where an example trains several models.
    """
    output = config.output / folder
    if not config.resume:
        set_aside(output)
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.learning_rate,
        warmup_steps=min(config.warmup_steps, config.steps - 1),
        decay_steps=config.steps,
        end_value=0.01 * config.learning_rate,
    )
    optimizer = training.optimizer("adam", schedule, clip_norm=config.clip_norm)
    checkpoints = training.Checkpoints(
        output / "checkpoints",
        every=config.validate_every,
        keep=2,
        best=watch,
        mode=mode,
        config=as_json(config, but=RESUMABLE) | dict(identity),
    )

    def show(record: dict) -> None:
        if watch in record:
            numbers = ", ".join(f"{n} {record[n]:.4g}" for n in looked if n in record)
            console.print(
                f"step {record['step']:,} of {config.steps:,}, "
                f"{record['seconds']:,.0f} s: {numbers}"
            )

    looked: dict[str, float] = {}

    def look(params):
        looked.update(validate(params))
        return looked

    return fit(
        config,
        loss,
        optimizer,
        params,
        data,
        checkpoints=checkpoints,
        metrics=output / "metrics.jsonl",
        console=console,
        units=units,
        axes=axes,
        steps=config.steps,
        validation=look,
        validate_every=config.validate_every,
        log_every=config.log_every,
        logs=[show],
        # Of several models some may not have been begun.
        resume="auto" if config.resume and folder else config.resume,
    )
