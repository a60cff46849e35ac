"""A pool: the documents of a collection that a task is measured on at level `pool`, as a small file.

Which documents those are is decided in `hybrid.document_pool`; here they are kept, and a task is cut to them.
"""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hybrid.data.arrow import ArrowStrings
from hybrid.data.cache import cache_folder
from hybrid.data.digests import task_digest
from hybrid.data.records import Task, Texts
from hybrid.errors import BadInput


@dataclass(frozen=True)
class Pool:
    """Documents of one collection, and how they were chosen."""

    task: str  # in full
    documents: tuple[str, ...]  # ids
    judged: int  # of the documents
    of: int  # documents of the collection
    depth: int  # unjudged documents of each query from each ranking
    rankings: tuple[str, ...]  # "BM25" and the names of the untouched backbones
    digest: str = ""  # of the task cut to it

    def __str__(self) -> str:
        return (
            f"a pool of {len(self.documents):,} of {self.of:,} documents: the {self.judged:,} judged and, "
            f"for each query, the {self.depth} unjudged that stand highest by {', '.join(self.rankings)}; it "
            "flatters tuned arms, whose own new mistakes are not in it"
        )


def pool_path(key: str) -> Path:
    """Where this machine keeps the pool with that key."""
    return cache_folder() / "pools" / f"{key}.parquet"


def write_pool(path: Path, pool: Pool) -> None:
    """Write by rename: another process sees the whole pool or none."""
    facts = {name: value for name, value in asdict(pool).items() if name != "documents"}
    table = pa.table({"document": pa.array(pool.documents, pa.string())})
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    pq.write_table(table.replace_schema_metadata({"pool": json.dumps(facts)}), name, compression="zstd")
    Path(name).replace(path)


def read_pool(path: Path) -> Pool | None:
    """The pool in a file; None if there is no file. Raises BadInput if it is damaged."""
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
        facts = json.loads(table.schema.metadata[b"pool"])
        documents = tuple(table["document"].to_pylist())
        return Pool(**{**facts, "documents": documents, "rankings": tuple(facts["rankings"])})
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path}: is no whole pool ({error}): delete this file") from None


def pool_digest(path: Path) -> str | None:
    """The content digest of the task cut to the pool in a file; the pool is not read. None if not there."""
    if not path.is_file():
        return None
    try:
        return str(json.loads(pq.read_schema(path).metadata[b"pool"])["digest"])
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path}: is no whole pool ({error}): delete this file") from None


def cut(task: Task, pool: Pool, name: str) -> Task:
    """The task over the documents of the pool alone, in the order of the collection."""
    wanted = pa.array(pool.documents, pa.string())
    documents = {}
    for language, texts in task.documents.items():
        ids = texts.ids.column if isinstance(texts.ids, ArrowStrings) else pa.array(texts.ids, pa.string())
        rows = np.flatnonzero(pc.is_in(ids, value_set=wanted).to_numpy(zero_copy_only=False))
        documents[language] = _rows(texts, rows)
    there = sum(map(len, documents.values()))
    if there != len(pool.documents):
        raise BadInput(
            f"{name}: {len(pool.documents) - there} documents of its pool are not in the collection: "
            "the pool is of another version of the data; `sweeps prepare` builds the right one"
        )
    notes = (*task.notes, str(pool))
    cut = replace(task, name=name, documents=documents, digest="", notes=notes)
    return replace(cut, digest=pool.digest or task_digest(cut))


def _rows(texts: Texts, rows: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Texts:
    if isinstance(texts.ids, ArrowStrings) and isinstance(texts.texts, ArrowStrings):
        return Texts(ArrowStrings(texts.ids.column, rows), ArrowStrings(texts.texts.column, rows))
    places = rows.tolist()
    return Texts([texts.ids[row] for row in places], [texts.texts[row] for row in places])
