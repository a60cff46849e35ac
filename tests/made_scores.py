"""Score tables with known truth, for tests of the statistics."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa


def score_table(
    arms: Mapping[str, float],
    *,
    seeds: int = 4,
    sets: Mapping[str, int] | None = None,
    sd_seed: float = 0.003,
    sd_query: float = 0.05,
    sd_residual: float = 0.05,
    measure: str = "ndcg_at_10",
    group: str = "zero_shot",
    seed: int = 0,
) -> pa.Table:
    """Arms (name → true shift; the first is the reference) × seeds × sets (name → queries)."""
    rng = np.random.default_rng(seed)
    names = ("arm", "seed", "task", "group", "query_id", "cluster_id", "measure", "value")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for task, queries in (sets or {"scifact": 300, "fiqa": 300}).items():
        difficulty = rng.uniform(0.2, 0.8, queries)
        for arm, shift in arms.items():
            own = shift + rng.normal(0, sd_query, queries)
            for s in range(1, seeds + 1):
                value = difficulty + own + rng.normal(0, sd_seed) + rng.normal(0, sd_residual, queries)
                ids = [f"{task}-{i}" for i in range(queries)]
                columns["query_id"] += ids
                columns["cluster_id"] += ids
                columns["value"] += value.tolist()
                for name, entry in (
                    ("arm", arm),
                    ("seed", s),
                    ("task", task),
                    ("group", group),
                    ("measure", measure),
                ):
                    columns[name] += [entry] * queries
    return pa.table(columns)


def change(table: pa.Table, column: str, values: Any) -> pa.Table:
    """The table with one column replaced."""
    return table.set_column(table.column_names.index(column), column, pa.chunked_array([pa.array(values)]))


def where(table: pa.Table, **equal: Any) -> Any:
    """Mask of the rows whose columns have these values."""
    mask = np.ones(table.num_rows, dtype=bool)
    for column, value in equal.items():
        mask &= np.array(table[column].to_pylist(), dtype=object) == value
    return mask
