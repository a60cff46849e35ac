"""The pairs of all training sets in one row order, and which of them are no negatives of each other.

Texts are told apart by 64-bit hashes of them, so that millions of pairs take some numbers each.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from hybrid.data.records import ParallelPairs

Ints = npt.NDArray[np.int64]

UNKNOWN = -1
"""Cluster of a hard negative that is the passage of no pair."""

_MISSING = 0  # hash of no text


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
        parts: list[tuple[Ints, Ints, Ints, Ints]] = []
        for number, one in enumerate(sets):
            questions, passages = (
                np.array([_hashes(texts[lang]) for lang in self.languages], dtype=np.int64).reshape(
                    len(self.languages), len(one)
                )
                for texts in (one.questions, one.passages)
            )  # (languages, pairs) each
            there = (questions != _MISSING) & (passages != _MISSING)
            for lang, count in zip(self.languages, there.sum(axis=1).tolist(), strict=True):
                self.pairs_in[lang] += count
            kept = np.flatnonzero(there.all(axis=0))
            self.left_out += len(one) - len(kept)
            self.rows += [(one, row) for row in kept.tolist()]
            named = _hashes(f"{number}:{name}" for name in one.clusters)
            parts.append((np.full(len(kept), number), named[kept], questions[:, kept], passages[:, kept]))
        numbers, names, asked, told = zip(*parts, strict=True)
        self.sets: Ints = np.concatenate(numbers)  # (pairs,) which training set a row is of
        self._passages: Ints = np.concatenate(told, axis=1)  # (languages, pairs) hashes
        columns = [np.concatenate(names), *np.concatenate(asked, axis=1), *self._passages]
        self.clusters = _merged(columns)

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
        of_language = [_hashes(pairs.negatives[lang][index]) for lang in self.languages]
        found = []
        for number in range(min(len(hashes) for hashes in of_language)):
            known = (self._cluster_of(i, int(hashes[number])) for i, hashes in enumerate(of_language))
            cluster = next((cluster for cluster in known if cluster is not None), UNKNOWN)
            if cluster != self.clusters[row]:
                found.append((number, cluster))
        return found

    def _cluster_of(self, language: int, passage: int) -> int | None:
        """The cluster of the pairs with a passage, by its hash; None: it is the passage of none."""
        order, hashes = self._by_passage[language]
        place = int(np.searchsorted(hashes, passage))
        if place == len(hashes) or hashes[place] != passage:
            return None
        return int(self.clusters[order[place]])

    @cached_property
    def _by_passage(self) -> list[tuple[Ints, Ints]]:
        """For every language its rows by the hashes of their passages, and those hashes."""
        orders = [np.argsort(hashes, kind="stable") for hashes in self._passages]
        return [(order, hashes[order]) for order, hashes in zip(orders, self._passages, strict=True)]


def _hashes(texts: Iterable[str | None]) -> Ints:
    """(texts,) a number for each text, _MISSING for None."""
    found = bytearray()
    for text in texts:
        if text is None:
            found += bytes(8)
        else:
            found += hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.frombuffer(bytes(found), dtype="<i8").astype(np.int64)


def _merged(columns: Sequence[Ints]) -> Ints:
    """(pairs,) cluster numbers, in the order of their first rows; rows with one value in a column are one.

    Two pairs with the same passage are relevant to each other's question, and so are two with the same
    question; merging in all languages at once keeps the relation the same in every arm.
    """
    count = len(columns[0])
    if not count:
        return np.empty(0, dtype=np.int64)
    groups = []
    nodes = count  # the rows, then the values of every column
    for column in columns:
        values, place = np.unique(column, return_inverse=True)
        groups.append(nodes + place)
        nodes += len(values)
    rows, ends = np.tile(np.arange(count), len(columns)), np.concatenate(groups)
    graph = csr_array((np.ones(len(rows), dtype=np.int8), (rows, ends)), shape=(nodes, nodes))
    components = connected_components(graph, directed=False)[1][:count]
    _, first, place = np.unique(components, return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    merged: Ints = number[place]
    return merged


def conflicts(clusters: Ints, others: Sequence[int] = ()) -> npt.NDArray[np.bool_]:
    """(batch, batch + others) where query i must not count candidate j as a negative: one cluster, i ≠ j.

    The candidates are the batch's passages and then others, of which the clusters are given too.
    """
    candidates = np.concatenate([clusters, np.array(others, dtype=np.int64)])
    same: npt.NDArray[np.bool_] = clusters[:, None] == candidates[None, :]
    np.fill_diagonal(same, False)
    return same
