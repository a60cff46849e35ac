"""Which articles of a parallel question set are for training, for choosing and for reporting.

Splits are by article, so that no paragraph is on two sides. XQuAD-R has fixed lists, chosen once by
`choose`: of 20,000 random partitions of its 48 articles into 30, 6 and 12, drawn with seed 0, the one whose
numbers of questions are nearest to those shares of the 1,190. Any other set is split by `by_hash`.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence

SPLITS = ("train", "dev", "test")
SHARES = (30, 6, 12)  # articles of XQuAD-R, and parts of 48 elsewhere

XQUAD_R: dict[str, tuple[str, ...]] = {
    "train": (
        "1973_oil_crisis",
        "American_Broadcasting_Company",
        "Apollo_program",
        "Black_Death",
        "Chloroplast",
        "Civil_disobedience",
        "Construction",
        "Ctenophora",
        "Force",
        "French_and_Indian_War",
        "Geology",
        "Harvard_University",
        "Immune_system",
        "Imperialism",
        "Kenya",
        "Newcastle_upon_Tyne",
        "Nikola_Tesla",
        "Normans",
        "Packet_switching",
        "Pharmacy",
        "Private_school",
        "Rhine",
        "Scottish_Parliament",
        "Sky_(United_Kingdom)",
        "Southern_California",
        "Super_Bowl_50",
        "United_Methodist_Church",
        "University_of_Chicago",
        "Victoria_and_Albert_Museum",
        "Yuan_dynasty",
    ),
    "dev": (
        "Computational_complexity_theory",
        "European_Union_law",
        "Fresno,_California",
        "Jacksonville,_Florida",
        "Oxygen",
        "Steam_engine",
    ),
    "test": (
        "Amazon_rainforest",
        "Doctor_Who",
        "Economic_inequality",
        "Genghis_Khan",
        "Huguenot",
        "Intergovernmental_Panel_on_Climate_Change",
        "Islamism",
        "Martin_Luther",
        "Prime_number",
        "Teacher",
        "Victoria_(Australia)",
        "Warsaw",
    ),
}


def split_of_titles(dataset: str, titles: Sequence[str]) -> dict[str, str]:
    """Article title -> split, for every title."""
    if dataset == "xquad-r":
        listed = {title: split for split, chosen in XQUAD_R.items() for title in chosen}
        if set(titles) <= set(listed):
            return {title: listed[title] for title in titles}
    return by_hash(titles)


def by_hash(titles: Sequence[str]) -> dict[str, str]:
    """Articles in the order of their titles' SHA-256: first train (30/48), then dev (6/48), then test.

    Every split gets at least one of three or more articles.
    """
    ordered = sorted(set(titles), key=lambda title: hashlib.sha256(title.encode()).digest())
    total = len(ordered)
    dev = max(1, round(total * SHARES[1] / sum(SHARES)))
    test = max(1, round(total * SHARES[2] / sum(SHARES)))
    train = total - dev - test
    return {
        title: "train" if place < train else "dev" if place < train + dev else "test"
        for place, title in enumerate(ordered)
    }


def choose(questions: Mapping[str, int], *, seed: int = 0, draws: int = 20_000) -> dict[str, tuple[str, ...]]:
    """The partition into SHARES articles that is best balanced in questions, of `draws` random ones.

    `questions` counts them by article title. Imbalance is the sum over splits of the absolute distance
    between a split's questions and its share of them.
    """
    generator = random.Random(seed)
    total = sum(questions.values())
    wanted = [share * total / sum(SHARES) for share in SHARES]
    titles = sorted(questions)
    best: tuple[float, list[list[str]]] | None = None
    for _ in range(draws):
        generator.shuffle(titles)
        ends = (SHARES[0], SHARES[0] + SHARES[1])
        parts = [titles[: ends[0]], titles[ends[0] : ends[1]], titles[ends[1] :]]
        found = [sum(questions[title] for title in part) for part in parts]
        imbalance = sum(abs(have - want) for have, want in zip(found, wanted, strict=True))
        if best is None or imbalance < best[0]:
            best = (imbalance, parts)
    assert best is not None  # draws >= 1
    return {split: tuple(sorted(part)) for split, part in zip(SPLITS, best[1], strict=True)}
