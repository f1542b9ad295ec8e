"""The generators of examples/memory_tasks against oracles that count one by one."""

import itertools

import numpy as np
import pytest

from examples.memory_tasks import long_range, regular
from examples.memory_tasks.regular import LANGUAGES


def value_mod_5(string):
    """Python's own arithmetic."""
    characters = {regular.PLUS: "+", regular.TIMES: "*", regular.MINUS: "-"}
    text = "".join(characters.get(s, str(s)) for s in map(int, string))
    return eval(text) % 5


def places_that_differ(string):
    return sum(a != b for a, b in itertools.pairwise(string)) % 2


def walk(string):
    place = 0
    for symbol in map(int, string):
        place = (place + {0: -1, 1: 0, 2: 1}[symbol]) % 5
    return place


ORACLES = {
    "even_pairs": places_that_differ,
    "modular_arithmetic": value_mod_5,
    "parity_check": lambda string: "".join(map(str, string)).count("1") % 2,
    "cycle_navigation": walk,
}


@pytest.mark.parametrize("name", LANGUAGES)
def test_answers_are_those_of_the_oracle(name):
    language = LANGUAGES[name]
    generator = np.random.default_rng(0)
    answers = set()
    for length in (1, 3, 5, 21, 39):
        strings = language.sample(generator, 60, length)
        assert strings.shape == (60, length)
        assert 0 <= strings.min() and strings.max() < language.symbols
        expected = [ORACLES[name](string) for string in strings]
        assert language.answer(strings).tolist() == expected
        answers |= set(expected)
    assert answers == set(range(language.classes))


def test_the_examples_of_the_paper():
    """From the descriptions of the tasks by Deletang et al."""

    def of(name, string):
        return int(LANGUAGES[name].answer(np.array([string]))[0])

    plus, times, minus = regular.PLUS, regular.TIMES, regular.MINUS
    assert of("even_pairs", [0, 0, 1, 1, 1, 0]) == 0
    assert of("even_pairs", [0, 1, 0, 1, 0, 0, 1]) == 1
    assert of("modular_arithmetic", [1, plus, 2, times, 3]) == 2
    assert of("modular_arithmetic", [1, minus, 1, minus, 1]) == 4
    expression = [0, times, 1, plus, 4, times, 3, minus, 2]
    assert of("modular_arithmetic", expression) == 0
    assert of("parity_check", [1, 0, 1, 0, 1, 0, 0]) == 1
    assert of("parity_check", [0, 1, 1, 1, 1]) == 0
    assert of("cycle_navigation", [2, 0, 1, 0, 0]) == 3
    assert of("cycle_navigation", [2, 2, 2, 0]) == 2


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_packed_row_is_two_strings_end_to_end(name):
    language, width, rows = LANGUAGES[name], 12, 400
    batch = regular.packed_batch(language, np.random.default_rng(1), rows, width)
    lengths = []
    for row in range(rows):
        starts = np.flatnonzero(batch["resets"][:, row])
        ends = np.flatnonzero(batch["scored"][:, row])
        assert len(starts) == len(ends) in (1, 2)
        for start, end in zip(starts, ends, strict=True):
            string = batch["inputs"][start : end + 1, row]
            assert batch["targets"][end, row] == ORACLES[name](string)
            lengths.append(len(string))
        if not language.odd_only:
            assert starts[0] == 0 and ends[-1] == width - 1
            assert sum(lengths[-len(starts) :]) == width
    counts = np.bincount(lengths, minlength=width + 1)[1:]
    possible = [n for n in range(1, width + 1) if n % 2 or not language.odd_only]
    assert (counts > 0).sum() == len(possible)
    # Uniform to five standard deviations of a count.
    expected = 2 * rows * width / (width + 1) / len(possible)
    if not language.odd_only:
        np.testing.assert_allclose(counts, expected, atol=5 * expected**0.5)


def test_strings_of_one_length_stand_alone_in_their_rows():
    language = LANGUAGES["parity_check"]
    batch = regular.strings_of_length(language, np.random.default_rng(2), 9, 4, 7)
    assert not batch["resets"].any()
    assert batch["scored"].sum(0).tolist() == [1] * 9
    assert batch["scored"][3].all()
    expected = [ORACLES["parity_check"](s) for s in batch["inputs"][:4].T]
    assert batch["targets"][3].tolist() == expected


def test_copy_memory():
    delay = 30
    batch = long_range.copy_memory(np.random.default_rng(0), 50, delay)
    inputs, targets = batch["inputs"], batch["targets"]
    assert inputs.shape == targets.shape == (delay + 20, 50)
    letters = inputs[:10]
    assert set(np.unique(letters)) == set(range(1, 9))
    assert (inputs[10 : delay + 9] == long_range.BLANK).all()
    assert (inputs[delay + 9 :] == long_range.MARKER).all()
    assert len(inputs[delay + 9 :]) == 11
    assert (targets[:-10] == long_range.BLANK).all()
    for k in range(10):
        # Each comes back after the same time.
        assert (targets[k + delay + 10] == inputs[k]).all()


def test_chance_of_copy_memory_is_that_of_a_model_without_memory():
    """It gives the blanks probability 1 and each letter 1/8 at the end."""
    delay = 1000
    targets = long_range.copy_memory(np.random.default_rng(0), 3, delay)["targets"]
    probability = np.where(targets == long_range.BLANK, 1.0, 1 / 8)
    chance = long_range.copy_memory_chance(delay)
    assert chance == pytest.approx(-np.log(probability).mean())
    assert round(chance, 4) == 0.0204  # As published.


def test_adding():
    length, count = 11, 4000
    batch = long_range.adding(np.random.default_rng(0), count, length)
    numbers, markers = np.moveaxis(batch["inputs"], -1, 0)
    assert numbers.shape == (length, count) and numbers.dtype == np.float32
    assert 0 <= numbers.min() and numbers.max() < 1
    assert set(np.unique(markers)) == {0, 1}
    assert (markers[:5].sum(0) == 1).all() and (markers[5:].sum(0) == 1).all()
    assert (markers.sum(1) > 0).all()  # Every place is marked some time.
    for k in range(20):
        marked = numbers[markers[:, k] == 1, k]
        assert batch["targets"][k, 0] == pytest.approx(sum(map(float, marked)))
    mean_squared = np.mean((batch["targets"] - 1) ** 2)
    assert mean_squared == pytest.approx(long_range.ADDING_CHANCE, rel=0.06)
