"""The pairs of all training sets in one row order, and which of them are no negatives of each other."""

from collections.abc import Hashable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hybrid.data.clusters import connected
from hybrid.data.records import ParallelPairs

Ints = npt.NDArray[np.int64]

UNKNOWN = -1
"""Cluster of a hard negative that is the passage of no pair."""


class Pool:
    """The pairs of all training sets in one row order, in the languages that all of them have.

    A pair that is missing in one of the languages is left out (`left_out` counts them), so that every
    row can be asked for in every language and the pairs of a step do not hang on the step's language.
    """

    def __init__(self, sets: Sequence[ParallelPairs], languages: Sequence[str] | None = None) -> None:
        shared = [lang for lang in sets[0].languages if all(lang in s.questions for s in sets)]
        self.languages: tuple[str, ...] = tuple(shared if languages is None else languages)
        self.rows: list[tuple[ParallelPairs, int]] = []
        self.left_out = 0
        self.pairs_in = dict.fromkeys(self.languages, 0)  # language -> pairs it has, those left out too
        names: list[str] = []
        numbers: list[int] = []
        for number, one in enumerate(sets):
            columns = [(lang, one.questions[lang], one.passages[lang]) for lang in self.languages]
            for row in range(len(one)):
                there = [lang for lang, q, p in columns if q[row] is not None and p[row] is not None]
                for lang in there:
                    self.pairs_in[lang] += 1
                if len(there) == len(columns):
                    self.rows.append((one, row))
                    names.append(f"{number}:{one.clusters[row]}")
                    numbers.append(number)
                else:
                    self.left_out += 1
        self.sets = np.array(numbers, dtype=np.int64)  # (pairs,) which training set a row is of
        self.clusters = _merge_equal_texts(names, self)

    def __len__(self) -> int:
        return len(self.rows)

    def question(self, row: int, language: str) -> str:
        pairs, index = self.rows[row]
        return pairs.questions[language][index] or ""

    def passage(self, row: int, language: str) -> str:
        pairs, index = self.rows[row]
        return pairs.passages[language][index] or ""

    def negative(self, row: int, number: int, language: str) -> str:
        pairs, index = self.rows[row]
        return pairs.negatives[language][index][number]

    def hard_negatives(self, row: int) -> list[tuple[int, int]]:
        """(number, cluster) of a row's hard negatives that are not known to be relevant to its question.

        A negative with the text of some pair's passage, in any of the languages, belongs to that pair's
        cluster: it is no negative for that cluster's questions, its own row's among them.
        """
        pairs, index = self.rows[row]
        if any(lang not in pairs.negatives for lang in self.languages):
            return []
        of_language = [(lang, pairs.negatives[lang][index]) for lang in self.languages]
        found = []
        for number in range(min(len(texts) for _, texts in of_language)):
            known = (self._cluster_of_passage.get((lang, texts[number])) for lang, texts in of_language)
            cluster = next((cluster for cluster in known if cluster is not None), UNKNOWN)
            if cluster != self.clusters[row]:
                found.append((number, cluster))
        return found

    @cached_property
    def _cluster_of_passage(self) -> dict[tuple[str, str], int]:
        return {
            (lang, self.passage(row, lang)): int(self.clusters[row])
            for lang in self.languages
            for row in range(len(self))
        }


def _merge_equal_texts(names: Sequence[str], pool: Pool) -> Ints:
    """(pairs,) cluster numbers; clusters that share a question or passage text in any language are one.

    Two pairs with the same passage are relevant to each other's question, and so are two with the same
    question; merging in all languages at once keeps the relation the same in every arm.
    """
    edges: list[tuple[Hashable, Hashable]] = []
    for row, name in enumerate(names):
        edges.append((row, ("cluster", name)))
        for language in pool.languages:
            edges.append((row, ("question", language, pool.question(row, language))))
            edges.append((row, ("passage", language, pool.passage(row, language))))
    first = connected(edges)
    numbers: dict[Hashable, int] = {}
    merged = [numbers.setdefault(first[row], len(numbers)) for row in range(len(names))]
    return np.array(merged, dtype=np.int64)


def conflicts(clusters: Ints, others: Sequence[int] = ()) -> npt.NDArray[np.bool_]:
    """(batch, batch + others) where query i must not count candidate j as a negative: one cluster, i ≠ j.

    The candidates are the batch's passages and then others, of which the clusters are given too.
    """
    candidates = np.concatenate([clusters, np.array(others, dtype=np.int64)])
    same: npt.NDArray[np.bool_] = clusters[:, None] == candidates[None, :]
    np.fill_diagonal(same, False)
    return same
