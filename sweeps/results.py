"""What a sweep found: the scores in the store joined with the arm, seed and group they belong to."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from hybrid.scores import SCHEMA
from sweeps.plan import Plan, Trial
from sweeps.store import Damaged, Store

_NAME = pa.dictionary(pa.int32(), pa.string())
RESULT_SCHEMA = pa.schema(
    [pa.field("arm", _NAME), pa.field("seed", pa.int64()), SCHEMA.field("task"), pa.field("group", _NAME)]
    + [field for field in SCHEMA if field.name != "task"]
)
"""Columns of `Results.scores`: one row is one query's value. `seed` is null for an untouched backbone."""

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
    damaged: tuple[str, ...]  # score files that could not be read, a sentence each

    def rows(self, group: str | None = None) -> list[dict[str, Any]]:
        """Rows of `summary`, of one group or of all."""
        found: list[dict[str, Any]] = self.summary.to_pylist()
        return [row for row in found if group is None or row["group"] == group]


def load_results(plan: Plan, store: Store) -> Results:
    """Read everything the store has of a sweep. Trials and tasks it lacks are absent from the tables
    and marked in `trials`; a damaged score file counts as lacking and is named in `damaged`."""
    index = store.index()
    wanted = [
        (trial, task, key)
        for trial in plan.trials
        for task, key in trial.scores.items()
        if key and trial.train_key and index.has_scores(trial.train_key, key)
    ]

    def read(job: tuple[Trial, str, str]) -> tuple[pa.Table, dict[str, Any]] | Damaged:
        trial, _, key = job
        train_key = trial.train_key or ""
        try:
            return store.scores(train_key, key), store.score_record(train_key, key) or {}
        except Damaged as damage:
            return damage

    with ThreadPoolExecutor(8) as readers:
        read_back = list(readers.map(read, wanted))
        records = list(readers.map(lambda trial: _record(store, trial), plan.trials))

    tables: list[pa.Table] = []
    damaged: list[str] = []
    measured: dict[tuple[str, int | None], dict[str, Any]] = {}
    for (trial, task, _), found in zip(wanted, read_back, strict=True):
        if isinstance(found, Damaged):
            damaged.extend(found.mistakes)
            continue
        measured.setdefault((trial.arm.alias, trial.seed), {})[task] = found[1]
        tables += [_joined(found[0], trial, task, group) for group in plan.tasks.get(task, ())]
    scores = pa.concat_tables(tables).unify_dictionaries() if tables else RESULT_SCHEMA.empty_table()
    cells = _cells(scores)
    trials = tuple(
        _trial_record(plan, trial, record, measured.get((trial.arm.alias, trial.seed), {}), index)
        for trial, record in zip(plan.trials, records, strict=True)
    )
    return Results(scores, cells, _macro(cells), trials, tuple(damaged))


def _joined(table: pa.Table, trial: Trial, task: str, group: str) -> pa.Table:
    rows = len(table)
    zeros = pa.array(np.zeros(rows, dtype=np.int32))

    def constant(name: str) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(zeros, pa.array([name]))

    given = {
        "arm": constant(trial.arm.alias),
        "seed": pa.nulls(rows, pa.int64())
        if trial.seed is None
        else pa.array(np.full(rows, trial.seed, dtype=np.int64)),
        "task": constant(task),  # as this sweep names it
        "group": constant(group),
    }
    columns = [given[name] if name in given else table[name] for name in RESULT_SCHEMA.names]
    return pa.table(columns, names=RESULT_SCHEMA.names)


def _cells(scores: pa.Table) -> pa.Table:
    keys = ["arm", "seed", "task", "group", "setting", "query_lang", "doc_lang", "measure"]
    table = scores.group_by(keys, use_threads=False).aggregate([("value", "mean"), ("value", "count")])
    table = table.rename_columns([*keys, "value", "queries"])
    return pa.table({name: _plain(table[name]) for name in table.column_names})


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
