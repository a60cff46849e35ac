"""embedded-science: short claims against abstracts of invented experiments (English, BEIR layout).

Claims use everyday words, abstracts technical ones. A document is relevant to a claim if it tested the same
treatment for the same outcome in the same population; a few experiments are reported twice.
"""

from itertools import product
from random import Random

from hybrid.embedded.beir_layout import Collection, vocabulary

DOCUMENTS = 400
Pair = tuple[str, str]  # as an abstract calls it, as a claim calls it


def _pairs(text: str) -> list[Pair]:
    rows = [line.split(" | ") for line in text.strip().split("\n")]
    return [(row[0], row[1]) for row in rows]


def _abstract(rng: Random, words: dict[str, str], direction: str, fields: dict[str, str]) -> str:
    kinds = ("background", "method", direction, "side", "close")
    sentences = [rng.choice(words[kind].strip().split("\n")).format(**fields) for kind in kinds]
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


def make_science(seed: str, documents: int = DOCUMENTS) -> Collection:
    """Abstracts, 100 test claims and 60 training claims; the same seed gives the same text."""
    rng = Random(f"embedded world: science {seed}")
    words = vocabulary()["science"]
    outcomes = _pairs(words["outcome"])
    possible = list(product(_pairs(words["treatment"]), outcomes, _pairs(words["population"])))
    experiments = rng.sample(possible, documents * 4 // 5)
    directions = [rng.choice(("down", "up", "none")) for _ in experiments]
    reports = [*range(len(experiments)), *rng.choices(range(160), k=documents - len(experiments))]
    rng.shuffle(reports)

    collection = Collection()
    found: dict[int, list[str]] = {}
    for position, number in enumerate(reports):
        treatment, outcome, population = experiments[number]
        fields = {
            "treatment": treatment[0],
            "outcome": outcome[0],
            "population": population[0],
            "other": rng.choice([pair for pair in outcomes if pair != outcome])[0],
            "n": str(rng.randrange(12, 400)),
            "weeks": str(rng.randrange(2, 53)),
            "percent": str(rng.randrange(11, 60)),
            "digit": str(rng.randrange(1, 5)),
        }
        title = rng.choice(("Effects of {0} on {1}", "{0} and {1}: a controlled study", "{1} after {0}"))
        title = title.format(treatment[0], rng.choice((outcome[0], fields["other"])))
        name = f"s{position:04d}"
        text = _abstract(rng, words, directions[number], fields)
        collection.add_document(name, title[0].upper() + title[1:], text)
        found.setdefault(number, []).append(name)

    for query, number in enumerate(range(160)):
        # A claim need not be true: what counts is whether a document tested it.
        direction = directions[number] if rng.random() < 0.7 else rng.choice(("down", "up", "none"))
        chosen = [pair[int(rng.random() < 0.4)] for pair in experiments[number]]
        template = rng.choice(words[f"claim_{direction}"].strip().split("\n"))
        claim = template.format(treatment=chosen[0], outcome=chosen[1], population=chosen[2])
        split = "test" if query < 100 else "train"
        gains = dict.fromkeys(found[number], 1)
        collection.add_query(split, f"c{query:03d}", claim[0].upper() + claim[1:], gains)
    return collection
