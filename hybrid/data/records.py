"""What readers return: tasks to measure on and pairs to train on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Texts:
    """Texts of one language with their ids, aligned. `texts` may be backed by memory-mapped Arrow."""

    ids: Sequence[str]
    texts: Sequence[str]
    clusters: Sequence[str] | None = None
    """What to resample by (queries only): the language-independent paragraph; None: the query itself."""
    articles: Sequence[str] | None = None
    """Title of the article that a query asks about, where the set has articles."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Task:
    """A retrieval task: one parallel set in several languages, or one collection.

    Document ids are unique over all languages. The qrels of a query name every relevant document in
    every language; a setting counts a query only if a relevant document lies among its candidates.
    """

    name: str  # as written in a sweep file, for example "xquad-r:test"
    settings: tuple[str, ...]  # of hybrid.scores.SETTINGS
    queries: Mapping[str, Texts]  # language -> queries
    documents: Mapping[str, Texts]  # language -> candidates
    qrels: Mapping[str, Mapping[str, Mapping[str, int]]]  # query language -> query id -> document id -> gain
    digest: str  # content digest of all of the above
    drop_self_hits: bool = False  # ArguAna, Quora: a document with the query's own id is no candidate
    synthetic: bool = False  # generated text; every table made from it says so
    notes: tuple[str, ...] = ()  # oddities counted while reading, one sentence each


@dataclass(frozen=True)
class ParallelPairs:
    """Question-passage pairs, parallel over languages: row i is the same pair in every language.

    A question in one language may be paired with its passage in any other. `None` marks a language in
    which a pair is missing.
    """

    name: str
    pair_ids: Sequence[str]
    clusters: Sequence[
        str
    ]  # language-independent passage cluster: pairs of one cluster are no negatives of each other
    questions: Mapping[str, Sequence[str | None]]  # language -> question per pair
    passages: Mapping[str, Sequence[str | None]]  # language -> passage per pair
    digest: str
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    negatives: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)  # hard negatives, if any
    articles: Sequence[str] | None = None  # title of each pair's article, where the set has articles

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.questions)

    def __len__(self) -> int:
        return len(self.pair_ids)


Precision = Literal["fp32", "bf16"]
