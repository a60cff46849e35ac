"""Columns of memory-mapped Arrow files, seen as sequences of strings.

A corpus of millions of documents stays on disk: only the texts asked for become Python strings.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

ROWS = 8192
"""Rows of one record batch: the unit of memory in writing, and of reading when all is read in order."""


class ArrowStrings(Sequence[str]):
    """A string column as a sequence.

    With `rows`, item i is the column's row rows[i], and None where rows[i] is -1: several sequences can
    share one column without copying its texts.
    """

    def __init__(self, column: pa.ChunkedArray, rows: npt.NDArray[np.int64] | None = None) -> None:
        self.column = column
        self.rows = rows

    def __len__(self) -> int:
        return len(self.column) if self.rows is None else len(self.rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "ArrowStrings": ...
    def __getitem__(self, index: int | slice) -> "str | ArrowStrings":
        if isinstance(index, slice):
            rows = np.arange(len(self.column)) if self.rows is None else self.rows
            return ArrowStrings(self.column, rows[index])
        row = index if self.rows is None else int(self.rows[index])
        if row == -1 and self.rows is not None:
            return cast("str", None)
        return cast("str", self.column[row].as_py())

    def taken(self, rows: npt.NDArray[np.int64]) -> "ArrowStrings":
        """The strings at some places, in the order given."""
        return ArrowStrings(self.column, rows if self.rows is None else self.rows[rows])

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), ROWS):
            yield from self._block(start)

    def _block(self, start: int) -> list[str]:
        if self.rows is None:
            return cast("list[str]", self.column.slice(start, ROWS).to_pylist())
        return self._take(self.rows[start : start + ROWS])

    def _take(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """The texts of some rows, chunk by chunk: Arrow's own `take` first copies all chunks into one."""
        texts = [cast("str", None)] * len(rows)
        ends = np.cumsum([len(chunk) for chunk in self.column.chunks])  # (chunks,)
        order = np.argsort(rows, kind="stable")
        order = order[np.searchsorted(rows[order], 0) :]  # without those that are missing
        chunk_of = np.searchsorted(ends, rows[order], side="right")
        bounds = np.flatnonzero(np.diff(chunk_of, prepend=-1, append=len(ends)))
        for first, last in pairwise(bounds.tolist()):
            chunk = self.column.chunk(int(chunk_of[first]))
            inside = rows[order[first:last]] - (ends[chunk_of[first]] - len(chunk))
            for place, text in zip(order[first:last], chunk.take(pa.array(inside)).to_pylist(), strict=True):
                texts[place] = text
        return texts

    def __repr__(self) -> str:
        return f"ArrowStrings({len(self)} strings)"


def write_rows(path: Path, schema: pa.Schema, rows: Iterable[tuple[Any, ...]]) -> None:
    """Write tuples as an Arrow IPC file, in memory bounded by one record batch."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        batch: list[tuple[Any, ...]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == ROWS:
                writer.write_batch(_batch(batch, schema))
                batch = []
        if batch:
            writer.write_batch(_batch(batch, schema))


def open_table(path: Path) -> pa.Table:
    """A memory-mapped table: no text is read before it is asked for."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _batch(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)
