"""From the first trial to the pictures, and the command to go on with."""

from __future__ import annotations

import time
from collections.abc import Sequence

import optuna
import rich.console
from optuna.trial import TrialState

from examples.char_lm.config import PRESETS as CHAR_LM
from examples.char_lm.config import Config as CharLM
from examples.char_lm.corpus import describe
from examples.char_lm.train import load_text
from examples.common.config import command_line
from examples.common.errors import InputError
from examples.common.results import Row, write_result
from examples.common.tables import markdown_table

from . import report
from .config import PRESETS, RANGES, Config, parse
from .search import ended, in_turn, search, settings


def main(arguments: Sequence[str] | None = None) -> dict:
    """Does everything that ``python -m examples.sweep`` promises.

    Args:
        arguments: None is those of the process.

    Returns:
        What is also written to ``result.json``; empty where other processes that
        share the study have not ended their trials.
    """
    config = parse(arguments)
    console = rich.console.Console(highlight=False, soft_wrap=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    begun = time.perf_counter()
    text = load_text(CharLM(data=config.data))
    console.print(describe(text.corpus))
    study = search(config, text, console)
    seconds = time.perf_counter() - begun
    with in_turn(config):
        if (missing := config.trials - ended(study)) > 0:
            console.print(
                f"Trials that other processes are at: {missing}. Whoever ends the last "
                f"one writes the result; if they were killed, run the command again."
            )
            return {}
        return write(config, text, study, seconds, console)


def write(config: Config, text, study: optuna.Study, seconds: float, console) -> dict:
    """Writes ``result.json``, ``history.png`` and ``importances.png``."""
    names = RANGES.split()
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not finished:
        raise InputError(
            f"--output {config.output}: expected at least one trial that came to its "
            f"end, got none of {len(study.trials)}: all were pruned or diverged. Start "
            f"a new study with lower learning rates or more --trials."
        )
    best = min(finished, key=lambda trial: trial.value)
    first = [trial for trial in finished if trial.user_attrs.get("baseline")]
    beside = f"{first[0].value:.3f} (settings of char_lm)" if first else "not finished"
    shares = report.importances(study)
    report.plot_history(study, config.output / "history.png")
    report.plot_importances(shares, config.output / "importances.png")
    drawn = {name: best.params[name] for name in names}
    run = settings(config, drawn, CharLM().output)
    command = command_line("python -m examples.char_lm", run, CHAR_LM)
    row = Row(
        task=f"hyperparameters of char_lm, {config.characters:,} characters a trial",
        measure="bits per character, development text (what the search minimises)",
        result=f"{best.value:.3f}",
        beside=beside,
    )
    result = write_result(
        config.output,
        example="sweep",
        config=config,
        presets=PRESETS,
        data=[f"{text.corpus.source}, sha256 {text.corpus.sha256}"],
        training_seconds=seconds,
        rows=[row],
        packages=("optuna",),
        trials={"ended": ended(study), "finished": len(finished)},
        best={"trial": best.number, "dev_bits": best.value, **drawn, "run": command},
        importances=shares,
    )
    header = ["trial", "dev bits", *names]
    console.print(f"\n{markdown_table(header, report.table(study, names)[:10])}\n")
    for name, share in shares.items():
        console.print(f"{share:6.1%} of the variance: {name}")
    console.print(f"\nthe best, trained again: {command}")
    console.print(f"Everything is in {config.output}/")
    return result
