"""One run from the series to the pictures: train, forecast, compare, report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnnjax import metrics, plotting

from ..common import distributed
from ..common.config import parse
from ..common.results import Row, set_aside, write_result
from ..common.tables import markdown_table
from .baselines import naive_forecasts
from .config import PRESETS, PROG, Config
from .data import load, make_windows, origins
from .evaluate import beaten_everywhere, coverage, errors_by_horizon, totals
from .model import LEVELS, make_forecaster
from .train import in_batches, train

OURS = "this model"
SHOWN_HORIZONS = (1, 2, 4, 8, 16, 24, 36, 48)


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, forecasts, compares and draws; see ``--help``."""
    run(parse(PRESETS, "quick", PROG, arguments))


def run(config: Config) -> dict:
    """Does everything that ``python -m examples.forecasting`` promises.

    Args:
        config: the settings.

    Returns:
        What is also written to ``result.json``.
    """
    console = distributed.start(config)
    series, sources = load(config)
    console.print(*sources, sep="\n")
    if not config.resume:
        set_aside(config.output)
    windows, mean, deviation = make_windows(config, series)
    trained = train(config, series, windows, sources, console)

    firsts = origins(config, series.test, len(series.values))
    forecast = make_forecaster(trained.model, windows.change)
    parts = [forecast(trained.params, batch) for batch in in_batches(windows, firsts)]
    quantiles = np.concatenate(parts, axis=1).astype(np.float64) * deviation + mean
    actual = series.values[firsts + np.arange(config.horizon)[:, None]]
    naive = naive_forecasts(config, series.values, firsts)
    forecasts = {**naive, OURS: quantiles[..., len(LEVELS) // 2]}
    errors = errors_by_horizon(forecasts, actual)
    known = series.values[: series.test]
    scale = metrics.seasonal_naive_error(known, season=config.week)
    shares = coverage(quantiles, actual)
    console.print(f"\n{table(errors)}\n")
    result = write_result(
        config.output,
        example="forecasting",
        config=config,
        presets=PRESETS,
        data=sources,
        training_seconds=trained.seconds,
        rows=rows(config, errors, shares),
        steps_chosen=trained.steps,
        forecasts=len(firsts),
        mae_by_horizon={k: np.round(v, 1).tolist() for k, v in errors.items()},
        below_at_every_horizon=beaten_everywhere(errors, OURS),
        totals={k: totals(v, actual, scale) for k, v in forecasts.items()},
        coverage={k: float(np.mean(v)) for k, v in shares.items()},
        coverage_by_horizon={k: np.round(v, 3).tolist() for k, v in shares.items()},
    )
    for nominal, share in result["coverage"].items():
        console.print(f"the {float(nominal):.0%} interval holds {share:.1%} of values")
    if distributed.is_first():
        draw(config, trained.history, errors, series, firsts, quantiles, forecasts)
    console.print(f"Everything is in {config.output}/")
    return result


def table(errors: dict[str, np.ndarray]) -> str:
    """The mean absolute errors at some horizons."""
    horizons = [h for h in SHOWN_HORIZONS if h <= len(errors[OURS])]
    return markdown_table(
        ("mean absolute error, steps ahead:", *map(str, horizons), "all"),
        [
            (name, *(f"{e[h - 1]:,.4g}" for h in horizons), f"{e.mean():,.4g}")
            for name, e in errors.items()
        ],
    )


def rows(config: Config, errors: dict, shares: dict) -> list[Row]:
    """The rows of the table of all examples."""
    source = "Taylor's demand (MW)" if config.data is None else config.data.name
    others = {name: e for name, e in errors.items() if name != OURS}
    made = []
    for horizon in sorted({1, config.horizon}):
        made.append(
            Row(
                task=f"{source}, {horizon} of {config.horizon} steps ahead",
                measure="mean absolute error",
                result=f"{errors[OURS][horizon - 1]:.4g}",
                beside="; ".join(
                    f"{n} {e[horizon - 1]:.4g}" for n, e in others.items()
                ),
            )
        )
    made.append(
        Row(
            task=f"{source}, intervals of all horizons",
            measure="share of values inside",
            result=", ".join(f"{np.mean(share):.1%}" for share in shares.values()),
            beside=", ".join(f"nominal {float(share):.0%}" for share in shares),
        )
    )
    return made


def draw(config, history, errors, series, firsts, quantiles, forecasts) -> None:
    """Draws training, errors at each horizon, and the forecast in the middle."""
    plotting.learning_curves(
        history,
        {"loss": "training", "val_loss": "development"},
        y_label="pinball loss (deviations)",
        title=f"{config.cell}, {config.hidden_size} units",
        path=config.output / "learning_curves.png",
    )
    records = [
        {"steps ahead": h + 1, **{name: e[h] for name, e in errors.items()}}
        for h in range(config.horizon)
    ]
    plotting.learning_curves(
        records,
        [OURS, *(name for name in errors if name != OURS)],
        x="steps ahead",
        y_label="mean absolute error on the test part",
        log=True,
        path=config.output / "errors.png",
    )
    middle = len(firsts) // 2
    first = firsts[middle]
    shown = "a week before"
    plotting.forecast(
        series.values[first - 2 * config.day : first],
        quantiles[:, middle],
        levels=LEVELS,
        actual=series.values[first : first + config.horizon],
        baselines={shown: forecasts[shown][:, middle]},
        y_label="MW" if config.data is None else config.column,
        title="The forecast in the middle of the test part",
        path=config.output / "forecast.png",
    )
