"""One run from the text to the picture: train, evaluate, compare, sample, report."""

from __future__ import annotations

import json

import jax

from examples.common import distributed
from examples.common.config import as_json
from examples.common.machine import describe_machine, describe_versions
from rnnjax import decoding
from rnnjax.training import read_metrics

from . import baselines, report, sampling
from .config import Config
from .corpus import describe
from .model import build_model, make_evaluator
from .train import Text, load_text, train


def run(config: Config) -> dict:
    """Does everything that ``python -m examples.char_lm`` promises.

    Args:
        config: the settings.

    Returns:
        What is also written to ``result.json``.
    """
    console = distributed.start(config)
    text = load_text(config)
    console.print(describe(text.corpus))
    model = build_model(config, text.vocabulary.size)
    fitted = train(config, text, model, console)
    params = fitted.state.params
    if config.distributed:  # from here on every process is by itself
        params = distributed.own(params)

    evaluate = make_evaluator(model, text.vocabulary)
    dev_bits = evaluate(params, text.dev)
    test_bits = evaluate(params, text.test)
    console.print("computing the baselines ...")
    result = {
        "config": as_json(config),
        "machine": describe_machine(),
        "versions": describe_versions() | text.corpus.versions,
        "corpus": {"source": text.corpus.source, "sha256": text.corpus.sha256},
        "parameters": sum(p.size for p in jax.tree.leaves(params)),
        "characters": config.steps * config.batch_size * config.window,
        "training_seconds": round(fitted.history[-1]["seconds"], 1),
        "held_out_characters": len(text.test),
        "dev_bits": dev_bits,
        "test_bits": test_bits,
        "perplexity": 2**test_bits,
        "baselines": score_baselines(config, text),
    }
    sample = print_sample(config, text, model, params, console)
    console.print(f"\n{report.result_table(result)}\n")
    if distributed.is_first():
        write_results(config, result, sample)
    console.print(f"Everything is in {config.output}/")
    return result


def score_baselines(config: Config, text: Text) -> dict[str, float]:
    """Bits per character of the held-out text, by the name of the baseline."""
    escapes = tuple(map(text.vocabulary.escape_bits, (text.dev, text.test)))
    ngrams = baselines.ngram_bits(
        text.train,
        text.dev,
        text.test,
        text.vocabulary.size,
        config.max_context,
        escapes,
    )
    scores = {
        f"n-gram, context {r.context}": r.test_bits for r in ngrams if r.context > 0
    }
    scores["xz -9e"] = baselines.xz_bits(text.corpus.test)
    if config.xz_primed:
        scores["xz -9e, primed"] = baselines.xz_bits(
            text.corpus.test, text.corpus.train
        )
    return scores


def print_sample(config, text: Text, model, params, console) -> str:
    """Streams a continuation of the prompt to the console and returns it."""
    if not config.sample_length:
        return ""
    console.print(
        f"\na sample (temperature {config.temperature}, top-k {config.top_k}, "
        f"top-p {config.top_p}); the prompt is {config.prompt!r}\n",
        highlight=False,
    )
    console.out(config.prompt, end="", highlight=False)
    sample = config.prompt
    for character in sampling.stream(
        model,
        params,
        text.vocabulary,
        config.prompt,
        jax.random.fold_in(jax.random.key(config.seed), 2),
        length=config.sample_length,
        sampling=decoding.Sampling(
            temperature=config.temperature,
            top_k=config.top_k or None,
            top_p=config.top_p,
        ),
    ):
        console.out(character, end="", highlight=False)
        sample += character
    console.out("")
    return sample


def write_results(config: Config, result: dict, sample: str) -> None:
    """Writes ``result.json``, ``sample.txt`` and ``learning_curve.png``."""
    output = config.output
    (output / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    if sample:
        (output / "sample.txt").write_text(sample + "\n", encoding="utf-8")
    metrics = read_metrics(output / "metrics.jsonl")
    end = {"characters": result["characters"], "test_bits": result["test_bits"]}
    title = (
        f"{config.cell}, {config.num_layers} x {config.hidden_size}, "
        f"{result['parameters'] / 1e6:.2f} M parameters, "
        f"{result['training_seconds'] / 60:.0f} min, {result['machine']}"
    )
    report.plot_learning_curve(
        [*metrics, end], result["baselines"], output / "learning_curve.png", title
    )
