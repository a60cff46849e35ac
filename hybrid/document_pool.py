"""Choose the documents of a pool: all that are judged, and those that look most relevant without being so.

For each query, the unjudged documents that stand highest by BM25 and by every untouched backbone. The pool is
made before any arm is trained, and all arms share it. A ranking it was made of keeps its first `depth` hits,
so a backbone's own measures that look no deeper are those of the whole collection.

Shapes: Q queries, k hits.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybrid.bm25 import bm25
from hybrid.config import EvalConfig
from hybrid.data.document_pools import Pool, cut
from hybrid.data.records import Task
from hybrid.encoder import Encoder
from hybrid.evaluate import id_column, in_blocks
from hybrid.search import Candidates, VectorFile, search

Rows = NDArray[np.int64]


def build_pool(
    task: Task,
    depth: int,
    encoders: Mapping[str, Callable[[], Encoder]],
    config: EvalConfig,
    *,
    name: str,
    say: Callable[[str], None] = lambda _: None,
) -> Pool:
    """The pool of a task over one collection; `encoders` are loaded one after another, by name.

    Vectors and counts of words wait in temporary files: what is held in memory is a few numbers for each
    document. `name` is the task's at level `pool`, which its digest is for.
    """
    (documents,), (queries,) = task.documents.values(), task.queries.values()
    (qrels,) = task.qrels.values()
    judged_of = _judged(documents.ids, [qrels.get(query, {}) for query in queries.ids])
    deepest = depth + max((len(rows) for rows in judged_of), default=0)
    chosen = np.zeros(len(documents), dtype=bool)
    for rows in judged_of:
        chosen[rows] = True
    judged = int(chosen.sum())
    top = min(deepest, len(documents))
    with tempfile.TemporaryDirectory(prefix="hybrid-") as folder:
        say(f"{name}: BM25 over {len(documents):,} documents")
        ranked = bm25(list(queries.texts), documents.texts, top, Path(folder))
    chosen[_hardest(ranked, judged_of, depth)] = True
    for backbone, load in encoders.items():
        say(f"{name}: {backbone} over {len(documents):,} documents")
        ranked = _ranked(load(), task, config, top)
        chosen[_hardest(ranked, judged_of, depth)] = True
    ids = tuple(documents.ids[int(row)] for row in np.flatnonzero(chosen))
    pool = Pool(task.name, ids, judged, len(documents), depth, ("BM25", *encoders))
    return replace(pool, digest=cut(task, pool, name).digest)


def _ranked(encoder: Encoder, task: Task, config: EvalConfig, top: int) -> Rows:
    """Rows of the `top` documents of every query by the encoder, best first: (Q, top)."""
    (documents,), (queries,) = task.documents.values(), task.queries.values()
    lengths = (
        config.max_query_length or encoder.shipped_query_length,
        config.max_document_length or encoder.shipped_passage_length,
    )
    asked = encoder.encode(queries.texts, "query", precision=config.precision, max_length=lengths[0])
    with tempfile.TemporaryDirectory(prefix="hybrid-") as folder:
        vectors = VectorFile(Path(folder) / "documents.f32", encoder.dim)
        for texts in in_blocks([documents]):
            vectors.append(
                encoder.encode(texts, "passage", precision=config.precision, max_length=lengths[1])
            )
        candidates = Candidates.of(vectors, id_column(documents))
        return search(asked, candidates, top=top, device=str(encoder.device)).top


def _judged(ids: Sequence[str], judgements: Sequence[Mapping[str, int]]) -> list[Rows]:
    """For every query the rows of its judged documents, whatever the gain; absent ones are left out."""
    named = {document for of in judgements for document in of}
    row_of = {name: row for row, name in enumerate(ids) if name in named}
    return [
        np.array(sorted(row_of[name] for name in of if name in row_of), dtype=np.int64) for of in judgements
    ]


def _hardest(ranked: Rows, judged_of: Sequence[Rows], depth: int) -> Rows:
    """Rows of each query's first `depth` hits that are not judged for it."""
    kept = []
    for hits, judged in zip(ranked, judged_of, strict=True):
        there = hits[hits >= 0]
        kept.append(there[~np.isin(there, judged)][:depth])
    return np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)
