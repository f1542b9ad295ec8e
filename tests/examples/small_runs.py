"""Every example that trains, as a run of seconds on files made by chance."""

import importlib
from pathlib import Path

from tests.examples import number_data, text_data

ROOT = Path(__file__).parents[2] / "examples"
# One sequence in NumPy; the model of char_lm; char_lm, one process for each trial.
WITHOUT_TRAINING = {"from_equations", "generation", "sweep"}
NAMES = sorted(
    {path.parent.name for path in ROOT.glob("*/__main__.py")} - WITHOUT_TRAINING
)

_TEXT = (
    "--steps 4 --batch-size 32 --hidden-size 4 --embedding-size 4 --warmup-steps 1 "
    "--log-every 1 --validate-every 2"
)
_FORECASTING = "--column load --day 4 --week 12 --horizon 3 --past 5"


def _char_lm(folder):
    path = folder / "text.txt"
    path.write_text("".join(text_data.words(40)[k**3 % 40] + " " for k in range(6000)))
    return f"--preset smoke --sample-length 5 --data {path}"


def _sentiment(folder):
    path = text_data.reviews(folder / "reviews.csv")
    return f"{_TEXT} --models flat --max-words 6 --data {path}"


def _tagging(folder):
    path = text_data.treebank(folder / "own.conllu")
    return f"{_TEXT} --character-size 4 --data {path}"


def _g2p(folder):
    path = text_data.dictionary(folder / "own.dict")
    return f"{_TEXT} --beam 2 --data {path}"


def _translation(folder):
    source, target = text_data.aligned(folder)
    files = f"--source {source} --target {target}"
    return f"{_TEXT} --longest 4 --length-penalties 0.5 --beam 2 {files}"


def _summarize(folder):
    path = text_data.summaries(folder / "own.csv")
    # Of this seed the batch of a single text, whole on every device, is the last.
    shorter = "--length-penalties 0 --longest-summary 3 --beam 1 --seed 1"
    return f"{_TEXT} {shorter} --data {path}"


def _glyph_names(folder):
    return "--preset smoke"


def _speech(folder):
    path = number_data.recordings(folder)
    return f"--preset smoke --mel-channels 8 --longest 2 --data {path}"


def _forecasting(folder):
    path = number_data.series(folder / "load.csv")
    return f"--preset smoke {_FORECASTING} --data {path}"


def _japanese_vowels(folder):
    train = number_data.vowels(folder / "train.ts", 16)
    test = number_data.vowels(folder / "test.ts", 4)
    return f"--preset smoke --batch-size 8 --train {train} --test {test}"


def _pixel_mnist(folder):
    path = number_data.digits(folder / "digits.csv.gz")
    return f"--preset smoke --batch-size 40 --data {path}"


def _memory_tasks(folder):
    return "--preset smoke --tasks adding modular_arithmetic"


_OF = {
    "char_lm": _char_lm,
    "forecasting": _forecasting,
    "g2p": _g2p,
    "glyph_names": _glyph_names,
    "japanese_vowels": _japanese_vowels,
    "memory_tasks": _memory_tasks,
    "pixel_mnist": _pixel_mnist,
    "sentiment": _sentiment,
    "speech": _speech,
    "summarize": _summarize,
    "tagging": _tagging,
    "translation": _translation,
}


def options(name, folder):
    """The command line of a run whose files are in a folder, without ``--output``.

    An example that is not in the table above is new: give it a small run.
    """
    return _OF[name](folder).split()


def run(name, arguments):
    """The example in this process."""
    module = importlib.import_module(f"examples.{name}.run")
    if name == "char_lm":
        parse = importlib.import_module("examples.char_lm.config").parse
        module.run(parse(arguments))
    else:
        module.main(arguments)
