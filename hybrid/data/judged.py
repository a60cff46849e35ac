"""A task or training pairs from one collection, its queries and their judgements."""

from dataclasses import dataclass

import numpy as np

from hybrid.data.arrow import ArrowStrings
from hybrid.data.clusters import connected
from hybrid.data.collection import Collection
from hybrid.data.qrels import Qrels
from hybrid.data.records import ParallelPairs, Task, Texts
from hybrid.data.source import Source
from hybrid.errors import BadInput


@dataclass(frozen=True)
class Judged:
    """What a split of a collection in one language is made of."""

    corpus: Collection
    queries: Collection  # of any number of splits
    qrels: Qrels  # of this split
    judged_in: str  # name of the file of judgements, for messages
    notes: tuple[str, ...]


def task_of(judged: Judged, source: Source) -> Task:
    """The judged queries over the whole corpus.

    Judgements of absent documents are kept, as BEIR does: they count as documents that cannot be found.
    """
    corpus, queries, qrels = judged.corpus, judged.queries, judged.qrels
    notes = list(judged.notes)
    rows = queries.rows_of(list(qrels))
    if not rows:
        raise BadInput(f"{source.name}: none of the queries of {judged.judged_in} is there")
    named = sorted({document for gains in qrels.values() for document in gains})
    absent = set(named) - corpus.rows_of(named).keys()
    if absent:
        count = sum(document in absent for gains in qrels.values() for document in gains)
        notes.append(
            f"{judged.judged_in} judges {len(absent)} documents that the corpus lacks "
            f"({count} judgements): they count as documents that cannot be found"
        )
    if len(rows) < len(qrels):
        notes.append(
            f"{judged.judged_in} names {len(qrels) - len(rows)} queries that are not there: left out"
        )
    notes += _empties(judged)
    kept = np.array(sorted(rows.values()), dtype=np.int64)
    texts = Texts(ArrowStrings(queries.table["id"], kept), ArrowStrings(queries.table["text"], kept))
    language = source.dataset.languages[0]
    return Task(
        name=source.name,
        settings=("beir",),
        queries={language: texts},
        documents={language: Texts(corpus.ids, corpus.texts)},
        qrels={language: {query: qrels[query] for query in texts.ids}},
        digest="",
        drop_self_hits=source.dataset.drop_self_hits,
        synthetic=source.dataset.synthetic,
        notes=tuple(notes),
    )


def _empties(judged: Judged) -> list[str]:
    return [
        f"{collection.empty} of {len(collection)} {what} are empty"
        for collection, what in ((judged.corpus, "documents"), (judged.queries, "queries of all splits"))
        if collection.empty
    ]


def pairs_of(judged: Judged, source: Source) -> ParallelPairs:
    """One pair for every relevant judgement; what judgements connect is one cluster.

    Documents judged and found not relevant are the query's hard negatives.
    """
    notes = [*judged.notes, *_empties(judged)]
    positives = [(q, d) for q, gains in judged.qrels.items() for d, gain in gains.items() if gain > 0]
    query_rows = judged.queries.rows_of(sorted({query for query, _ in positives}))
    document_rows = judged.corpus.rows_of(sorted({document for _, document in positives}))
    there = [(q, d) for q, d in positives if q in query_rows and d in document_rows]
    if len(there) < len(positives):
        notes.append(f"{len(positives) - len(there)} judgements name an absent query or document: left out")
    if not there:
        raise BadInput(
            f"{source.name}: no relevant judgement of {judged.judged_in} names a query and a document "
            "that are there"
        )
    groups = connected((("query", q), ("document", d)) for q, d in there)
    language = source.dataset.languages[0]
    rejected = {q: [d for d, gain in judged.qrels[q].items() if gain <= 0] for q, _ in there}
    rejected_rows = judged.corpus.rows_of(sorted({d for documents in rejected.values() for d in documents}))
    negatives = [
        ArrowStrings(judged.corpus.table["text"], np.array(rows, dtype=np.int64))
        for rows in ([rejected_rows[d] for d in rejected[q] if d in rejected_rows] for q, _ in there)
    ]
    questions = np.array([query_rows[q] for q, _ in there], dtype=np.int64)
    passages = np.array([document_rows[d] for _, d in there], dtype=np.int64)
    return ParallelPairs(
        name=source.name,
        pair_ids=[f"{q}:{d}" for q, d in there],
        clusters=[groups["query", q][1] for q, _ in there],
        questions={language: ArrowStrings(judged.queries.table["text"], questions)},
        passages={language: ArrowStrings(judged.corpus.table["text"], passages)},
        digest="",
        synthetic=source.dataset.synthetic,
        notes=tuple(notes),
        negatives={language: negatives} if rejected_rows else {},
    )
