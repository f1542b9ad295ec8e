"""One run from a trained model to samples of every strategy, measured."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import rich.console

from ..common.config import parse
from ..common.errors import InputError
from ..common.results import Row, set_aside, write_result
from ..common.tables import markdown_table
from .config import PRESETS, PROG, Config
from .measures import distinct, make_perplexity, repeated
from .strategies import strategies
from .trained import Trained, load

REAL = "held-out text"


def main(arguments: Sequence[str] | None = None) -> None:
    """Continues, measures and shows; see ``--help``."""
    run(parse(PRESETS, "quick", PROG, arguments))


def run(config: Config) -> dict:
    """Does everything that ``python -m examples.generation`` promises.

    Args:
        config: the settings.

    Returns:
        What is also written to ``result.json``.
    """
    console = rich.console.Console(highlight=False, soft_wrap=True)
    trained = load(config.model, config.data)
    console.print(trained.source)
    prompts, real = places(config, trained)
    set_aside(config.output)
    perplexity = make_perplexity(trained)
    texts, measured = {}, {}
    start = time.perf_counter()
    written = {REAL: lambda prompts: real} | strategies(config, trained)
    for name, strategy in written.items():
        symbols = np.asarray(strategy(prompts))
        texts[name] = [trained.vocabulary.decode(column) for column in symbols.T]
        measured[name] = {
            "perplexity": perplexity(prompts, symbols),
            **{f"distinct_{n}": distinct(texts[name], n) for n in (1, 2, 3)},
            "repeated": repeated(texts[name]),
        }
        console.print(f"\n[bold]{name}[/bold]")
        console.print(shown(trained, prompts, texts[name]), markup=False)
    console.print(f"\n{table(measured)}\n")
    result = write_result(
        config.output,
        example="generation",
        config=config,
        presets=PRESETS,
        data=[trained.source],
        training_seconds=0.0,
        rows=rows(measured),
        seconds=round(time.perf_counter() - start, 1),
        measured=measured,
    )
    write_samples(config, trained, prompts, texts)
    console.print(f"Everything is in {config.output}/")
    return result


def places(config: Config, trained: Trained) -> tuple[np.ndarray, np.ndarray]:
    """Prompts ``[P, B]``, evenly spread over the held-out text, and what follows them.

    Raises:
        InputError: the text is too short.
    """
    symbols = trained.vocabulary.encode(trained.test)
    span = config.prompt_length + config.length
    if len(symbols) < span:
        raise InputError(
            f"Expected a held-out text of at least --prompt-length and --length "
            f"together, {span} characters, got {len(symbols)}."
        )
    starts = np.linspace(0, len(symbols) - span, config.prompts).astype(int)
    whole = np.stack([symbols[start : start + span] for start in starts], axis=1)
    return whole[: config.prompt_length], whole[config.prompt_length :]


def shown(trained: Trained, prompts: np.ndarray, texts: list[str]) -> str:
    """The first sample: the end of its prompt, a bar, and the beginning."""
    prompt = trained.vocabulary.decode(prompts[:, 0])
    return f"{prompt[-40:]}|{texts[0][:240]}"


def table(measured: dict[str, dict[str, float]]) -> str:
    """The measures of every strategy."""
    header = "perplexity", "distinct-1", "distinct-2", "distinct-3", "repeated"
    return markdown_table(
        ("strategy", *header),
        [
            (name, f"{m['perplexity']:.2f}")
            + tuple(f"{m[f'distinct_{n}']:.3f}" for n in (1, 2, 3))
            + (f"{m['repeated']:.1%}",)
            for name, m in measured.items()
        ],
    )


def rows(measured: dict[str, dict[str, float]]) -> list[Row]:
    """The rows of the table of all examples."""
    real = measured[REAL]
    others = {name: m for name, m in measured.items() if name != REAL}
    return [
        Row(
            task="continuations of held-out text, nearest to it by distinct-2",
            measure="distinct-2 of words",
            result="{}: {:.3f}".format(
                *min(
                    ((name, m["distinct_2"]) for name, m in others.items()),
                    key=lambda pair: abs(pair[1] - real["distinct_2"]),
                )
            ),
            beside="; ".join(
                f"{name} {m['distinct_2']:.3f}" for name, m in measured.items()
            ),
        ),
        Row(
            task="the model on what really follows",
            measure="perplexity of a character",
            result=f"{real['perplexity']:.2f}",
            beside="of what it wrote: "
            + "; ".join(f"{name} {m['perplexity']:.2f}" for name, m in others.items()),
        ),
    ]


def write_samples(
    config: Config, trained: Trained, prompts: np.ndarray, texts: dict[str, list[str]]
) -> None:
    """Writes the first continuations of every strategy."""
    lines = []
    for i in range(min(3, prompts.shape[1])):
        lines.append(f"=== prompt\n{trained.vocabulary.decode(prompts[:, i])}")
        lines += [f"--- {name}\n{written[i]}" for name, written in texts.items()]
    path = config.output / "samples.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
