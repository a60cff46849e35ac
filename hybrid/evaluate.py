"""Measure an encoder on a task: every text is encoded once, every setting scored from the same vectors.

Shapes: Q queries of one language, W relevant documents of a query at most, G languages of documents.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hybrid.bias import own_language_share, rank_distance
from hybrid.config import EvalConfig
from hybrid.data.arrow import ArrowStrings
from hybrid.data.records import Task, Texts
from hybrid.encoder import Encoder, Kind
from hybrid.errors import BadInput
from hybrid.freed_memory import keep_freed_memory
from hybrid.metrics import MEASURES
from hybrid.score_table import ScoreRows, macro, summarise
from hybrid.scores import MEASURES_OF_SETTING
from hybrid.search import Candidates, VectorFile, Vectors, search

__all__ = ["Corpora", "Progress", "evaluate", "macro", "summarise"]

Progress = Callable[[int, int], None]
"""Called with the number of texts encoded so far, and in all."""

Corpora = MutableMapping[str, NDArray[np.float32]]
"""Vectors of whole corpora by what they were made from."""

_TEXTS_AT_ONCE = 50_000
_NUMBERS_IN_MEMORY = 2**28  # float32; documents' vectors beyond that go to a temporary file
_LOOKED_AT = 10  # documents that `own_language_at_10` looks at


def evaluate(
    encoder: Encoder,
    task: Task,
    config: EvalConfig,
    *,
    corpora: Corpora | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Every measure of every query in every setting of the task: a table of `hybrid.scores.SCHEMA`.

    A query counts in a setting if one of its relevant documents is a candidate there; in `beir`, as
    in BEIR, if it has any relevant document, and those that are no candidates count as not found.
    `corpora` keeps documents' vectors for further tasks of the same weights over the same documents.
    Raises BadInput if no query counts, FloatingPointError if an embedding is not finite.
    """
    keep_freed_memory()
    total = sum(len(texts) for texts in (*task.queries.values(), *task.documents.values()))
    done = 0

    def tell(of_block: int) -> None:
        if progress is not None:
            progress(done + of_block, total)

    def encode(parts: Iterable[Texts], kind: Kind) -> Iterator[NDArray[np.float32]]:
        nonlocal done
        queries = kind == "query"
        length = config.max_query_length if queries else config.max_document_length
        shipped = encoder.shipped_query_length if queries else encoder.shipped_passage_length
        for some in in_blocks(parts):
            vectors = encoder.encode(
                some, kind, precision=config.precision, max_length=length or shipped, progress=tell
            )
            done += len(some)
            yield vectors

    rows = ScoreRows(task.name)
    with tempfile.TemporaryDirectory(prefix="hybrid-") as folder:
        count = sum(map(len, task.queries.values()))
        vectors = _stack(encode(task.queries.values(), "query"), count, encoder.dim)  # (all queries, dim)
        documents = encode(task.documents.values(), "passage")
        corpora = {} if corpora is None else corpora
        candidates = _candidates(task, config, documents, encoder.dim, Path(folder), corpora)
        columns = _columns_of_judged(task)
        start = 0
        for language, queries in task.queries.items():
            judged = _judge(task, language, queries, columns)
            of_language = vectors[start : start + len(queries)][judged.rows]  # (Q, dim)
            _score(task, language, judged, of_language, candidates, str(encoder.device), rows)
            start += len(queries)
    if progress is not None and done < total:
        progress(total, total)  # documents that `corpora` had
    if not len(rows):
        raise BadInput(f"task {task.name!r}: no query has a relevant document among the candidates.")
    return rows.table()


def in_blocks(parts: Iterable[Texts]) -> Iterator[list[str]]:
    """The texts of all parts, one after another, as many at a time as are encoded together."""
    texts = chain.from_iterable(part.texts for part in parts)
    while some := list(islice(texts, _TEXTS_AT_ONCE)):
        yield some


@dataclass(frozen=True)
class _Judged:
    """The queries of one language that have relevant documents, and where those stand."""

    rows: NDArray[np.int64]  # (Q,) of the language's queries
    ids: list[str]
    clusters: list[str]
    gains: NDArray[np.int64]  # (Q, W) 0 beyond a query's last
    columns: NDArray[np.int64]  # (Q, W) -1 where the document is no candidate
    own_column: NDArray[np.int64]  # (Q,) the document that is the query itself and no candidate, or -2


def _score(
    task: Task,
    language: str,
    judged: _Judged,
    vectors: NDArray[np.float32],
    candidates: Candidates,
    device: str,
    rows: ScoreRows,
) -> None:
    """Search once for the queries of a language, and add the rows of all settings."""
    languages = list(task.documents)
    own = languages.index(language) if language in languages else len(languages)

    def language_of(columns: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(candidates.starts, columns, side="right") - 1  # -1 where the column is

    found = search(
        vectors,
        candidates,
        wanted=judged.columns,
        top=_LOOKED_AT if "multi" in task.settings else 0,
        excluded=judged.own_column if task.drop_self_hits else None,
        device=device,
    )
    candidate = (judged.columns >= 0) & (judged.columns != judged.own_column[:, None])  # (Q, W)
    group = language_of(judged.columns)  # (Q, W)
    pooled = np.where(candidate, 1 + found.above.sum(axis=2), 0)  # (Q, W) ranks among all candidates

    def add(
        setting: str, document_language: str | None, ranks: NDArray[np.int64], gains: NDArray[np.int64]
    ) -> None:
        values: dict[str, NDArray[np.float64]] = {}  # (Q,) of each measure
        for name in MEASURES_OF_SETTING[setting]:
            if name == "rank_distance":
                values[name] = rank_distance(ranks, gains)
            elif name == "own_language_at_10":
                values[name] = own_language_share(language_of(found.top), np.full(len(ranks), own))
            else:
                values[name] = MEASURES[name](ranks, gains)
        counted = np.flatnonzero((gains > 0).any(axis=1))
        rows.add(
            setting=setting,
            query_lang=language,
            doc_lang=document_language,
            query_ids=[judged.ids[row] for row in counted],
            cluster_ids=[judged.clusters[row] for row in counted],
            values={name: of_measure[counted] for name, of_measure in values.items()},
        )

    for number, document_language in enumerate(languages):
        setting = "mono" if document_language == language else "cross"
        if setting in task.settings:
            here = candidate & (group == number)  # (Q, W)
            ranks = np.where(here, 1 + found.above[:, :, number], 0)  # (Q, W) ranks in this language
            add(setting, document_language, ranks, np.where(here, judged.gains, 0))
    if "multi" in task.settings:
        add("multi", None, pooled, np.where(candidate, judged.gains, 0))
    if "beir" in task.settings:
        add("beir", languages[0], pooled, judged.gains)


def _candidates(
    task: Task,
    config: EvalConfig,
    parts: Iterator[NDArray[np.float32]],
    dim: int,
    folder: Path,
    corpora: Corpora,
) -> Candidates:
    """All documents, language after language, their vectors in memory or, if large, in a file of `folder`."""
    sizes = [len(texts) for texts in task.documents.values()]
    ids = pa.chunked_array([chunk for texts in task.documents.values() for chunk in id_column(texts).chunks])
    vectors: Vectors
    if sum(sizes) * dim <= _NUMBERS_IN_MEMORY:
        key = _corpus_key(task, config)
        if key not in corpora:
            corpora[key] = _stack(parts, sum(sizes), dim)
        vectors = corpora[key]
    else:
        vectors = VectorFile(folder / "documents.f32", dim)
        for part in parts:
            vectors.append(part)
    return Candidates.of(vectors, ids, sizes)


def id_column(texts: Texts) -> pa.ChunkedArray:
    """The ids of texts as large strings; those of a memory-mapped collection are not made Python strings."""
    if not isinstance(texts.ids, ArrowStrings):
        return pa.chunked_array([pa.array(list(texts.ids), pa.large_string())])
    column = texts.ids.column
    if texts.ids.rows is not None:
        column = column.take(pa.array(texts.ids.rows))
    return column.cast(pa.large_string())


def _corpus_key(task: Task, config: EvalConfig) -> str:
    """Names the vectors of a task's documents: equal texts in equal order, precision and length."""
    whole = hashlib.blake2b(f"{config.precision} {config.max_document_length}".encode(), digest_size=16)
    for texts in task.documents.values():
        for text in texts.texts:
            encoded = text.encode("utf-8", "surrogatepass")
            whole.update(len(encoded).to_bytes(8, "little") + encoded)
    return whole.hexdigest()


def _stack(parts: Iterable[NDArray[np.float32]], count: int, dim: int) -> NDArray[np.float32]:
    stacked = np.empty((count, dim), dtype=np.float32)
    start = 0
    for part in parts:
        stacked[start : start + len(part)] = part
        start += len(part)
    return stacked


def _columns_of_judged(task: Task) -> dict[str, int]:
    """Document id → column, of documents that a query names, and of those to drop for having a query's id."""
    named = {document for of in task.qrels.values() for gains in of.values() for document in gains}
    if task.drop_self_hits:
        named.update(name for texts in task.queries.values() for name in texts.ids)
    ids = chain.from_iterable(texts.ids for texts in task.documents.values())
    return {name: column for column, name in enumerate(ids) if name in named}


def _judge(task: Task, language: str, queries: Texts, columns: Mapping[str, int]) -> _Judged:
    """The queries of a language that have a relevant document, candidate or not."""
    qrels = task.qrels.get(language, {})
    clusters = queries.ids if queries.clusters is None else queries.clusters
    relevant = [
        {document: gain for document, gain in qrels.get(name, {}).items() if gain > 0} for name in queries.ids
    ]
    rows = np.array([row for row, gains in enumerate(relevant) if gains], dtype=np.int64)  # (Q,)
    width = max((len(gains) for gains in relevant), default=0)
    gains = np.zeros((len(rows), width), dtype=np.int64)  # (Q, W)
    places = np.full((len(rows), width), -1, dtype=np.int64)  # (Q, W)
    for place, row in enumerate(rows):
        gains[place, : len(relevant[row])] = list(relevant[row].values())
        places[place, : len(relevant[row])] = [columns.get(document, -1) for document in relevant[row]]
    ids = [queries.ids[row] for row in rows]
    own = [columns.get(name, -2) for name in ids] if task.drop_self_hits else [-2] * len(ids)
    return _Judged(rows, ids, [clusters[row] for row in rows], gains, places, np.array(own, dtype=np.int64))
