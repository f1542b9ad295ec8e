"""The computed page: its arithmetic by hand, and that it is what is computed."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import rnnjax
from benchmarks import on_paper
from benchmarks.on_paper import H100, LARGE, SMALL, V5E, estimate

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


def test_the_page_shows_what_is_computed():
    text = PAGE.read_text()
    for title, table in on_paper.page():
        assert f"**{title}**\n\n{table}\n" in text, (
            f"{title}: docs/scaling.md is not what python -m benchmarks.on_paper prints"
        )


@pytest.mark.parametrize("model", [SMALL, LARGE])
def test_parameters_are_those_of_the_network(model):
    rnn = rnnjax.stack(
        rnnjax.embed(model.symbols, model.embedding),
        *[rnnjax.lstm(model.hidden)] * model.layers,
        rnnjax.dense(model.symbols),
    )
    symbol = jax.ShapeDtypeStruct((), jnp.int32)
    params = jax.eval_shape(rnn.init, jax.random.key(0), symbol)
    assert sum(p.size for p in jax.tree.leaves(params)) == model.parameters


def test_one_chip_says_nothing_and_two_send_half_each_way():
    chip = V5E._replace(link=1.0, dimensions=0)
    assert on_paper.all_reduce(chip, 1, 100.0, 8) == 0
    expected = 100 + 2 * on_paper.HOP_SECONDS
    assert on_paper.all_reduce(chip, 2, 100.0, 8) == pytest.approx(expected)


def test_between_slices_each_chip_sends_its_part():
    chip = V5E._replace(link=1e30, network=1.0, dimensions=0)
    seconds = on_paper.all_reduce(chip, 16, 80.0, 8)
    assert seconds == pytest.approx(2 * 10 * 1 / 2, rel=1e-4)


def test_products_of_a_step_by_hand():
    """All products of one LSTM layer and the softmax, forward and back twice that."""
    model = SMALL._replace(batch=10_000)  # so that the loop is bound by its products
    rows = model.batch * model.steps
    sizes = 4 * 512 * (128 + 512) + 512 * 96
    flops = 3 * 2 * rows * sizes
    seconds = estimate(model, V5E, 1).compute
    assert seconds == pytest.approx(flops / (V5E.flops * on_paper.EFFICIENCY), rel=1e-3)


def test_more_chips_never_help_one_chip_and_units_share_the_memory():
    one, many = estimate(SMALL, H100, 8), estimate(SMALL, H100, 4096)
    assert many.rate < one.rate
    assert many.memory == one.memory
    assert estimate(LARGE, H100, 8, 8).memory == estimate(LARGE, H100, 8).memory / 8
