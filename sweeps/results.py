"""What a sweep found: the scores in the store joined with the arm, seed and group they belong to."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid.scores import SCHEMA
from sweeps.plan import Plan, Trial
from sweeps.store import Damaged, Store

_NAME = pa.dictionary(pa.int32(), pa.string())
RESULT_SCHEMA = pa.schema(
    [pa.field("arm", _NAME), pa.field("seed", pa.int64()), SCHEMA.field("task"), pa.field("group", _NAME)]
    + [field for field in SCHEMA if field.name != "task"]
)
"""Columns of `Results.scores`: one row is one query's value. `seed` is null for an untouched backbone."""

_KEYS = ("setting", "query_lang", "doc_lang", "measure")
CELL_SCHEMA = pa.schema(
    [("arm", pa.string()), ("seed", pa.int64()), ("task", pa.string()), ("group", pa.string())]
    + [(name, pa.string()) for name in _KEYS]
    + [("value", pa.float64()), ("queries", pa.int64())]
)
"""Columns of `Results.cells`: the mean over the queries of one language, or pair of them."""

HEADLINE: dict[str, tuple[str, ...]] = {
    "mono": ("map",),
    "cross": ("map",),
    "multi": ("map", "rank_distance"),
    "beir": ("ndcg_at_10", "recall_at_100"),
}
"""Measures of each setting that get a column, a curve and a paired difference; the others get a table."""

REPORTED = ("in_domain", "zero_shot")
"""Groups that are results; the selection groups choose and are never one."""

State = Literal["done", "failed", "cut off", "missing"]


@dataclass(frozen=True)
class TrialRecord:
    """What the store holds of one trial besides its scores."""

    trial: Trial
    state: State  # "cut off": a checkpoint or some scores, but not all of it
    missing_tasks: tuple[str, ...]
    record: Mapping[str, Any]  # of the training: seconds, hardware, versions, attempts; empty if untouched
    measured: Mapping[str, Mapping[str, Any]]  # task -> how its scores were made: seconds, hardware, …
    mixture: Mapping[str, Any]  # realised batches, pairs, repeats, effective negatives
    failure: Mapping[str, Any]  # reason, log, attempts; empty if it did not fail

    @property
    def train_seconds(self) -> float | None:
        return _number(self.record.get("seconds"))

    @property
    def evaluate_seconds(self) -> float | None:
        seconds = [_number(one.get("seconds")) for one in self.measured.values()]
        known = [value for value in seconds if value is not None]
        return sum(known) if known else None


@dataclass(frozen=True)
class Results:
    """Scores of a sweep at three grains, and the records of its trials in the order of the plan."""

    scores: pa.Table  # RESULT_SCHEMA, per query
    cells: pa.Table  # arm, seed, task, group, setting, query_lang, doc_lang, measure, value, queries
    summary: pa.Table  # arm, seed, task, group, setting, measure, value: macro mean over cells
    trials: tuple[TrialRecord, ...]
    damaged: tuple[str, ...]  # score files that could not be read or hold no numbers, a sentence each

    def rows(self, group: str | None = None) -> list[dict[str, Any]]:
        """Rows of `summary`, of one group or of all."""
        found: list[dict[str, Any]] = self.summary.to_pylist()
        return [row for row in found if group is None or row["group"] == group]


def load_results(plan: Plan, store: Store, *, every_measure: bool = True) -> Results:
    """Read everything the store has of a sweep. Trials and tasks it lacks are absent from the tables
    and marked in `trials`; a damaged score file counts as lacking and is named in `damaged`.

    Without `every_measure`, `scores` keeps the rows that differences are taken of: the headline measures
    and the guardrail's; a quarter of the memory. `cells` and `summary` have all.
    """
    rail = plan.sweep.guardrail
    index = store.index()
    wanted = [
        (trial, task, key)
        for trial in plan.trials
        for task, key in trial.scores.items()
        if key and trial.train_key and index.has_scores(trial.train_key, key)
    ]

    def read(job: tuple[Trial, str, str]) -> tuple[pa.Table, pa.Table, dict[str, Any]] | Damaged:
        trial, task, key = job
        train_key = trial.train_key or ""
        try:
            rows, record = store.scores(train_key, key), store.score_record(train_key, key) or {}
        except Damaged as damage:
            return damage
        if sentence := _not_finite(rows):
            return Damaged(f"{trial.label} on {task}: {sentence}; these scores count as lacking.")
        guarded = any(group.endswith((rail.group, "levels")) for group in plan.tasks.get(task, ()))
        kept = rows if every_measure else _kept(rows, rail.measure if guarded else None)
        return kept, _cells(rows), record

    with ThreadPoolExecutor(8) as readers:
        read_back = list(readers.map(read, wanted))
        records = list(readers.map(lambda trial: _record(store, trial), plan.trials))

    tables: list[pa.Table] = []
    parts: list[pa.Table] = []
    damaged: list[str] = []
    measured: dict[tuple[str, int | None], dict[str, Any]] = {}
    for (trial, task, _), found in zip(wanted, read_back, strict=True):
        if isinstance(found, Damaged):
            damaged.extend(found.mistakes)
            continue
        rows, cells_of_task, record = found
        measured.setdefault((trial.arm.alias, trial.seed), {})[task] = record
        for group in plan.tasks.get(task, ()):
            tables.append(_joined(rows, trial, task, group))
            parts.append(_joined(cells_of_task, trial, task, group))
    scores = pa.concat_tables(tables).unify_dictionaries() if tables else RESULT_SCHEMA.empty_table()
    cells = pa.concat_tables(parts) if parts else CELL_SCHEMA.empty_table()
    cells = pa.table({name: _plain(cells[name]) for name in CELL_SCHEMA.names})
    trials = tuple(
        _trial_record(plan, trial, record, measured.get((trial.arm.alias, trial.seed), {}), index)
        for trial, record in zip(plan.trials, records, strict=True)
    )
    return Results(scores, cells, _macro(cells), trials, tuple(damaged))


def _joined(table: pa.Table, trial: Trial, task: str, group: str) -> pa.Table:
    """The table with arm, seed, task (as this sweep names it) and group in front."""
    rows = len(table)
    zeros = pa.array(np.zeros(rows, dtype=np.int32))
    seed = pa.nulls(rows, pa.int64()) if trial.seed is None else pa.array(np.full(rows, trial.seed))
    given = {"arm": trial.arm.alias, "task": task, "group": group}
    front: dict[str, pa.Array] = {
        name: pa.DictionaryArray.from_arrays(zeros, pa.array([text])) for name, text in given.items()
    }
    front = {"arm": front["arm"], "seed": seed, "task": front["task"], "group": front["group"]}
    rest = {name: table[name] for name in table.column_names if name not in ("train_key", "task")}
    return pa.table({**front, **rest})


def _not_finite(rows: pa.Table) -> str:
    """What a score table has besides numbers, with the first such row; empty if nothing."""
    bad = np.flatnonzero(~np.isfinite(rows["value"].to_numpy()))
    if not len(bad):
        return ""
    first = rows.slice(int(bad[0]), 1).to_pylist()[0]
    what = f"{first['measure']} of query {first['query_id']} ({first['setting']}) is {first['value']}"
    return f"{len(bad)} of {len(rows)} values are no numbers, first in row {bad[0] + 1}: {what}"


def _kept(rows: pa.Table, measure: str | None) -> pa.Table:
    """Rows of the headline measures of their setting, and of `measure` in every setting."""
    keep = pc.equal(rows["measure"], measure or "")
    for setting, measures in HEADLINE.items():
        headline = pc.is_in(rows["measure"], pa.array(measures))
        keep = pc.or_(keep, pc.and_(pc.equal(rows["setting"], setting), headline))
    return rows.filter(keep)


def _cells(rows: pa.Table) -> pa.Table:
    table = rows.group_by(list(_KEYS), use_threads=False).aggregate([("value", "mean"), ("value", "count")])
    return table.rename_columns([*_KEYS, "value", "queries"])


def _macro(cells: pa.Table) -> pa.Table:
    """Every cell (one query language against its documents) counts once, as `hybrid.evaluate.macro`."""
    keys = ["arm", "seed", "task", "group", "setting", "measure"]
    table = cells.group_by(keys, use_threads=False).aggregate([("value", "mean")])
    return table.rename_columns([*keys, "value"])


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _record(store: Store, trial: Trial) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Training record, mixture, failure: each empty where the store has none."""
    if trial.train_key is None:
        return {}, {}, {}
    failure = store.failure(trial.train_key) or {}
    if trial.train is None:
        return {}, {}, failure
    mixture = store.get_json(f"models/{trial.train_key}/mixture.json") or {}
    return store.record(trial.train_key) or {}, mixture, failure


def _trial_record(
    plan: Plan,
    trial: Trial,
    found: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
    measured: Mapping[str, Mapping[str, Any]],
    index: Any,
) -> TrialRecord:
    record, mixture, failure = found
    missing = tuple(task for task in plan.tasks if task not in measured)
    key = trial.train_key or ""
    state: State = "missing"
    if not missing and (trial.train is None or index.has_model(key)):
        state, failure = "done", {}
    elif failure:
        state = "failed"
    elif measured or index.has_checkpoint(key) or index.has_model(key):
        state = "cut off"
    return TrialRecord(trial, state, missing, record, measured, mixture, failure)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
