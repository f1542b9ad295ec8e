"""Small files of the kinds that the text examples read, made by chance."""

import csv

import numpy as np

PHONES = {"a": "AA1", "b": "B", "d": "D", "k": "K", "o": "OW0", "s": "S", "t": "T"}


def words(number, seed=0, letters="abdkost", longest=6):
    """Different words, each of 2 to `longest` letters."""
    generator = np.random.default_rng(seed)
    found = {}
    while len(found) < number:
        size = generator.integers(2, longest + 1)
        found["".join(generator.choice(list(letters), size))] = None
    return list(found)


def dictionary(path, number=60):
    """A pronouncing dictionary: every letter has its phone."""
    lines = [
        f"{word} {' '.join(PHONES[letter] for letter in word)}"
        for word in words(number)
    ]
    lines[0] += " # a note"
    lines.append(f"{words(1)[0]}(2) B")
    path.write_text("\n".join(lines) + "\n")
    return path


def treebank(path, number=60):
    """Sentences whose words are nouns where they end in a vowel, else verbs."""
    generator = np.random.default_rng(1)
    known, lines = words(150), []
    for _ in range(number):
        lines.append("# text = ...")
        for place in range(1, generator.integers(3, 7)):
            word = known[generator.integers(len(known))]
            tag = "NOUN" if word[-1] in "ao" else "VERB"
            row = [str(place), word, "_", tag, *"______"]
            lines.append("\t".join(row))
        lines.append("")
    path.write_text("\n".join(lines))
    return path


def reviews(path, number=120):
    """Reviews of two sentences that say good or bad."""
    generator = np.random.default_rng(2)
    known = words(30)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for _ in range(number):
            label = int(generator.integers(2))
            chosen = list(generator.choice(known, 5))
            chosen[generator.integers(2)] = ("bad", "good")[label]
            writer.writerow([f"{' '.join(chosen[:3])}. {' '.join(chosen[3:])}", label])
    return path


def aligned(folder, number=100):
    """Two files; each word has one translation, and the order is turned round."""
    generator = np.random.default_rng(3)
    known, said = words(20), words(20, seed=9, letters="eilmnr")
    ours, theirs = [], []
    for _ in range(number):
        chosen = generator.integers(20, size=generator.integers(2, 5))
        ours.append(" ".join(known[n] for n in chosen))
        theirs.append(" ".join(said[n] for n in chosen[::-1]))
    source, target = folder / "source.txt", folder / "target.txt"
    source.write_text("\n".join(ours) + "\n")
    target.write_text("\n".join(theirs) + "\n")
    return source, target


def summaries(path, number=100):
    """Texts whose summaries are two words of them."""
    generator = np.random.default_rng(4)
    known = words(200)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["summary", "text"])
        for _ in range(number):
            chosen = list(generator.choice(known, 8))
            writer.writerow([" ".join(chosen[2:4]), " ".join(chosen) + ". The end."])
    return path
