"""NanoBEIR: 50 queries and a small pool for each set of BEIR, in Parquet files.

corpus/*.parquet and queries/*.parquet have the columns _id and text, qrels/*.parquet query-id and
corpus-id, every judgement being relevant.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hybrid.data.collection import Collection, Row, read_collection
from hybrid.data.judged import Judged, task_of
from hybrid.data.qrels import Qrels
from hybrid.data.records import Task
from hybrid.data.source import Source
from hybrid.errors import BadInput

_PARTS = {"corpus": ("_id", "text"), "queries": ("_id", "text"), "qrels": ("query-id", "corpus-id")}


def recognises(folder: Path) -> bool:
    return all(any((folder / part).glob("*.parquet")) for part in _PARTS)


def splits(source: Source) -> tuple[str, ...]:  # noqa: ARG001  there is one, named as in its files
    return ("train",)


def files(source: Source) -> list[Path]:
    return [path for part in _PARTS for path in _part(source.folder, part)]


def read_task(source: Source) -> Task:
    qrels: Qrels = {}
    for path in _part(source.folder, "qrels"):
        columns = _read(path, "qrels")
        for query, document in zip(*(column.to_pylist() for column in columns.columns), strict=True):
            qrels.setdefault(query, {})[document] = 1
    if not qrels:
        raise BadInput(f"{source.folder / 'qrels'}: holds no judgement")
    corpus, queries = (_collection(source.folder, part) for part in ("corpus", "queries"))
    return task_of(Judged(corpus, queries, qrels, "qrels", ()), source)


def _part(folder: Path, part: str) -> list[Path]:
    return sorted((folder / part).glob("*.parquet")) or [folder / part / "train-00000-of-00001.parquet"]


def _collection(folder: Path, part: str) -> Collection:
    def texts(path: Path, mistakes: list[str]) -> Iterator[Row]:  # noqa: ARG001  a bad file is refused whole
        columns = (column.to_pylist() for column in _read(path, part).columns)
        for number, (name, text) in enumerate(zip(*columns, strict=True), 1):
            yield number, name, text

    return read_collection(_part(folder, part), texts, kind="nano-beir")


def _read(path: Path, part: str) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: not a whole Parquet file ({error})") from None
    for name in _PARTS[part]:
        if name not in table.column_names or table[name].null_count:
            raise BadInput(f"{path}: the column {name} is missing or has rows without a value")
    return table.select(list(_PARTS[part])).cast(pa.schema([(name, pa.string()) for name in _PARTS[part]]))
