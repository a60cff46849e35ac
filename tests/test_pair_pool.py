"""The pool of training pairs, against a plain walk over its texts."""

import random
from collections.abc import Hashable

import pytest

from hybrid.data.clusters import connected
from hybrid.data.records import ParallelPairs
from hybrid.pair_pool import UNKNOWN, Pool


def made(name: str, count: int, languages: list[str], rng: random.Random) -> ParallelPairs:
    """Pairs with few different texts, some of them missing, and three hard negatives each."""

    def texts(kind: str, lang: str) -> list[str | None]:
        return [
            None if rng.random() < 0.1 else f"{lang} {kind}{rng.randrange(2 * count)}" for _ in range(count)
        ]

    return ParallelPairs(
        name,
        [f"{name}{i}" for i in range(count)],
        [f"c{rng.randrange(count)}" for _ in range(count)],
        {lang: texts("q", lang) for lang in languages},
        {lang: texts("p", lang) for lang in languages},
        "",
        negatives={
            lang: [[f"{lang} p{rng.randrange(3 * count)}" for _ in range(3)] for _ in range(count)]
            for lang in languages
        },
    )


def expected_clusters(pool: Pool, sets: list[ParallelPairs]) -> list[int]:
    edges: list[tuple[Hashable, Hashable]] = []
    for row, (pairs, index) in enumerate(pool.rows):
        number = next(i for i, one in enumerate(sets) if one is pairs)
        edges.append((row, ("cluster", number, pairs.clusters[index])))
        for lang in pool.languages:
            edges.append((row, ("question", lang, pairs.questions[lang][index])))
            edges.append((row, ("passage", lang, pairs.passages[lang][index])))
    first = connected(edges)
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(first[row], len(numbers)) for row in range(len(pool))]


@pytest.mark.parametrize("seed", range(20))
def test_rows_clusters_and_usable_negatives_are_those_of_a_plain_walk(seed: int) -> None:
    rng = random.Random(seed)
    languages = ["en", "de", "th"][: 1 + seed % 3]
    sets = [made("a", 40, languages, rng), made("b", 25, languages[::-1], rng)]
    pool = Pool(sets)
    assert pool.languages == tuple(languages)
    complete = [
        (one, row)
        for one in sets
        for row in range(len(one))
        if None not in [texts[lang][row] for texts in (one.questions, one.passages) for lang in languages]
    ]
    assert pool.rows == complete
    assert pool.left_out == 65 - len(complete) > 0
    assert pool.sets.tolist() == [sets.index(one) for one, _ in complete]
    assert pool.clusters.tolist() == expected_clusters(pool, sets)
    passages = [
        {pool.passage(row, lang): int(pool.clusters[row]) for row in range(len(pool))} for lang in languages
    ]
    for row in range(len(pool)):
        wanted = []
        for number in range(3):
            found = [
                known.get(pool.negative(row, number, lang))
                for known, lang in zip(passages, languages, strict=True)
            ]
            cluster = next((one for one in found if one is not None), UNKNOWN)
            if cluster != pool.clusters[row]:
                wanted.append((number, cluster))
        assert pool.hard_negatives(row) == wanted


def test_pairs_of_a_language_are_counted_with_those_left_out_and_none_may_be_left() -> None:
    half = ParallelPairs(
        "half",
        ["1", "2"],
        ["1", "2"],
        {"en": ["a", None], "de": [None, "b"]},
        {"en": ["c", "d"], "de": ["e", "f"]},
        "",
    )
    pool = Pool([half])
    assert (len(pool), pool.left_out, pool.pairs_in) == (0, 2, {"en": 1, "de": 1})
    assert pool.clusters.tolist() == []
    assert len(Pool([half], ["en"])) == 1
