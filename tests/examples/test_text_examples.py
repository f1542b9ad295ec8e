"""The text examples run from end to end: a few steps, small files made by chance."""

import json
import shutil

import pytest

from examples.g2p import run as g2p
from examples.sentiment import run as sentiment
from examples.summarize import run as summarize
from examples.tagging import run as tagging
from examples.translation import run as translation
from tests.examples import text_data

TINY = (
    "--steps 2 --batch-size 64 --hidden-size 4 --embedding-size 4 --warmup-steps 1 "
    "--log-every 1 --validate-every 2"
).split()


def check(output, result, pictures):
    """What every run leaves."""
    stored = json.loads((output / "result.json").read_text())
    assert stored == result
    assert result["rows"] and result["machine"] and result["data"]
    assert result["command"].startswith(f"python -m examples.{result['example']} ")
    assert (output / "learning_curve.png").stat().st_size > 1000
    for name in pictures:
        assert (output / name).stat().st_size > 1000


@pytest.mark.slow
def test_sentiment(tmp_path):
    data = text_data.reviews(tmp_path / "reviews.csv")
    output = tmp_path / "out"
    options = ["--data", str(data), "--output", str(output), "--max-words", "6"]
    result = sentiment.main([*TINY, *options])
    check(output, result, ["confusion.png"])
    assert list(result["scores"]) == [
        *("flat", "attention", "hierarchical", sentiment.BASELINE),
    ]
    # The bag of words has no trouble with these.
    assert result["scores"][sentiment.BASELINE]["accuracy"] > 0.8
    for scores in result["scores"].values():
        (a, b), (c, d) = scores["confusion"]
        assert scores["accuracy"] == pytest.approx((a + d) / (a + b + c + d))


def test_tagging_and_its_exact_resume(tmp_path):
    data = text_data.treebank(tmp_path / "own.conllu")
    output = tmp_path / "out"
    options = ["--data", str(data), "--output", str(output), "--character-size", "4"]
    options = [*TINY, *options, "--steps", "4"]
    whole = tagging.main(options)
    check(output, whole, ["confusion.png"])
    # As if it had been killed after step 2.
    shutil.rmtree(output / "checkpoints" / "4")
    resumed = tagging.main([*options, "--resume"])
    changing = {"training_seconds", "load_average", "config"}
    assert {k: v for k, v in resumed.items() if k not in changing} == {
        k: v for k, v in whole.items() if k not in changing
    }


@pytest.mark.slow
def test_g2p(tmp_path):
    data = text_data.dictionary(tmp_path / "own.dict")
    output = tmp_path / "out"
    options = ["--data", str(data), "--output", str(output), "--beam", "2"]
    result = g2p.main([*TINY, *options])
    check(output, result, ["attention.png"])
    assert list(result["scores"]) == [
        *("development, greedy", "held out, greedy"),
        *("development, beam 2", "held out, beam 2"),
    ]


@pytest.mark.slow
def test_translation(tmp_path):
    source, target = text_data.aligned(tmp_path)
    output = tmp_path / "out"
    options = ["--source", str(source), "--target", str(target), "--longest", "4"]
    options += ["--length-penalties", "0.5", "--beam", "2", "--output", str(output)]
    result = translation.main([*TINY, *options])
    check(output, result, ["attention.png"])
    assert list(result["bleu"]) == [
        *("copy of the source", "nearest neighbour", "greedy", "beam 2"),
    ]
    assert result["length_penalty"] == 0.5
    assert result["bleu"]["nearest neighbour"] > result["bleu"]["copy of the source"]


@pytest.mark.slow
def test_summarize(tmp_path):
    data = text_data.summaries(tmp_path / "own.csv")
    output = tmp_path / "out"
    options = ["--data", str(data), "--output", str(output), "--beam", "1"]
    options += ["--length-penalties", "0", "--longest-summary", "3"]
    result = summarize.main([*TINY, *options])
    check(output, result, ["samples.txt"])
    lead = result["rouge"]["lead sentence"]["rouge1"]
    assert lead["recall"] == 1.0 and lead["precision"] == pytest.approx(0.25, abs=0.03)
