"""Build and summarise the table of per-query scores (`hybrid.scores.SCHEMA`), without torch."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hybrid.scores import SCHEMA

CELL = ("task", "setting", "query_lang", "doc_lang", "measure")
"""What one mean over queries is for."""


class ScoreRows:
    """Rows of the score table, collected column-wise in blocks; equal strings are kept once."""

    def __init__(self, task: str) -> None:
        self.task = task
        self._names: dict[str, dict[str, int]] = {name: {} for name in SCHEMA.names if name != "value"}
        self._codes: dict[str, list[NDArray[np.int32]]] = {name: [] for name in self._names}
        self._values: list[NDArray[np.float64]] = []

    def __len__(self) -> int:
        return sum(map(len, self._values))

    def add(
        self,
        *,
        setting: str,
        query_lang: str,
        doc_lang: str | None,
        query_ids: Sequence[str],
        cluster_ids: Sequence[str],
        values: Mapping[str, NDArray[np.float64]],
    ) -> None:
        """Some queries (Q,) in one setting: `values` maps each measure to its values (Q,)."""
        names = {"query_id": query_ids, "cluster_id": cluster_ids}
        codes = {
            column: np.array([self._code(column, name) for name in of], dtype=np.int32)
            for column, of in names.items()
        }
        for measure, of_measure in values.items():
            same = {
                "task": self.task,
                "setting": setting,
                "query_lang": query_lang,
                "doc_lang": doc_lang,
                "measure": measure,
            }
            for column, name in same.items():
                self._codes[column].append(np.full(len(query_ids), self._code(column, name), dtype=np.int32))
            for column in names:
                self._codes[column].append(codes[column])
            self._values.append(of_measure)

    def _code(self, column: str, name: str | None) -> int:
        return -1 if name is None else self._names[column].setdefault(name, len(self._names[column]))

    def table(self) -> pa.Table:
        """The rows in the order added."""
        columns = []
        for field in SCHEMA:
            if field.name == "value":
                columns.append(pa.array(np.concatenate(self._values) if self._values else [], pa.float64()))
                continue
            blocks = self._codes[field.name]
            codes = np.concatenate(blocks) if blocks else np.empty(0, dtype=np.int32)
            names = pa.array(list(self._names[field.name]), pa.string())
            columns.append(pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), names))
        return pa.Table.from_arrays(columns, schema=SCHEMA)


def summarise(table: pa.Table) -> pa.Table:
    """Cells: task, setting, query_lang, doc_lang, measure, `value` (mean over queries), `queries` (count)."""
    plain = pa.table({name: _decoded(table[name]) for name in (*CELL, "value")})
    grouped = plain.group_by(list(CELL), use_threads=False).aggregate([("value", "mean"), ("value", "count")])
    return pa.table(
        {
            **{name: grouped[name] for name in CELL},
            "value": grouped["value_mean"],
            "queries": grouped["value_count"],
        }
    )


def macro(table: pa.Table) -> dict[tuple[str, str, str], float]:
    """(task, setting, measure) → mean over cells, a language or pair of them counting as one."""
    cells: dict[tuple[str, str, str], list[float]] = {}
    for row in summarise(table).to_pylist():
        cells.setdefault((row["task"], row["setting"], row["measure"]), []).append(row["value"])
    return {cell: float(np.mean(values)) for cell, values in cells.items()}


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
