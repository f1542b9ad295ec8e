"""Every way to choose the next character, as functions of prompts."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import decoding

from ..char_lm.vocabulary import UNKNOWN
from .config import Config
from .trained import Trained

Strategy = Callable[[np.ndarray], np.ndarray]
"""Prompts ``[P, B]`` to continuations ``[length, B]``, both of symbols."""


def samplings(config: Config) -> dict[str, decoding.Sampling]:
    """The strategies that choose symbol by symbol, by name."""
    Sampling = decoding.Sampling
    temperature = config.temperature
    penalty = config.repetition_penalty
    return {
        "greedy": decoding.GREEDY,
        "all": Sampling(),
        f"temperature {temperature:g}": Sampling(temperature=temperature),
        f"top-k {config.top_k}": Sampling(top_k=config.top_k),
        f"top-p {config.top_p:g}": Sampling(top_p=config.top_p),
        f"min-p {config.min_p:g}": Sampling(min_p=config.min_p),
        f"repetition penalty {penalty:g}": Sampling(
            temperature=temperature, repetition_penalty=penalty
        ),
    }


def strategies(config: Config, trained: Trained) -> dict[str, Strategy]:
    """All strategies, compiled, by name."""
    ways = {
        name: _sampler(config, trained, sampling)
        for name, sampling in samplings(config).items()
    }
    ways[f"beam {config.beam}"] = _searcher(config, trained)
    return ways


def make_step(trained: Trained, params):
    """``(carry, symbol) -> (carry, logits)``, never the unknown symbol."""

    def step(carry, symbol):
        carry, logits = trained.model.step(params, carry, symbol)
        return carry, logits.at[..., UNKNOWN].set(-jnp.inf)

    return step


def _sampler(config: Config, trained: Trained, sampling: decoding.Sampling):
    key = jax.random.key(config.seed)

    @jax.jit
    def run(params, prompts):
        return decoding.generate(
            make_step(trained, params),
            trained.model.initial_carry(params, prompts.shape[1:]),
            prompts,
            length=config.length,
            sampling=sampling,
            key=None if sampling is decoding.GREEDY else key,
        ).tokens

    return functools.partial(run, trained.params)


def _searcher(config: Config, trained: Trained):
    @jax.jit
    def run(params, prompts):
        return decoding.beam_search(
            make_step(trained, params),
            trained.model.initial_carry(params, prompts.shape[1:]),
            prompts,
            length=config.length,
            beam=config.beam,
        ).tokens[0]

    return functools.partial(run, trained.params)
