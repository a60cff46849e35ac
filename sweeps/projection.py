"""What each MLflow run is to show, made from the store alone: names, parameters, metrics, inputs, files."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from sweeps.attempts import attempts_at
from sweeps.claims import MACRO
from sweeps.comparisons import judge
from sweeps.headline import arm_metrics, trial_metrics
from sweeps.plan import Plan, Trial
from sweeps.results import Results, TrialRecord
from sweeps.series import blocks_of, differences_of, series_and_values
from sweeps.spec_sections import GROUPS
from sweeps.store import Store

STATUS = {"done": "FINISHED", "failed": "FAILED", "cut off": "KILLED"}
_KNOBS = ("learning_rate", "temperature", "precision", "steps", "passage")
"""Parameters shown beside the axes and the seed; the whole configuration is an artifact."""

_CURVE_POINTS = 200  # of each curve: enough for a chart


@dataclass(frozen=True)
class Input:
    name: str
    digest: str
    context: str  # "training", "selection" or "evaluation"
    profile: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunContent:
    """One run. `artifacts`: path in the run → bytes, or a path in the store to copy."""

    key: str
    name: str
    status: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    curve: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    inputs: Sequence[Input] = ()
    artifacts: Mapping[str, bytes | str] = field(default_factory=dict)
    start_ms: int | None = None
    end_ms: int | None = None

    def digest(self) -> str:
        """Of everything shown but times."""
        shown = [
            self.name, self.status, dict(self.params), dict(self.metrics), dict(self.tags),
            [[one.name, one.digest, one.context] for one in self.inputs],
            sorted(self.curve), sorted((path, _stamp(what)) for path, what in self.artifacts.items()),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:20]


def _stamp(what: bytes | str) -> str:
    """Of an artifact: its content, or the path of what never changes in the store."""
    return hashlib.sha256(what).hexdigest() if isinstance(what, bytes) else what


def trial_runs(plan: Plan, store: Store, results: Results) -> Iterable[RunContent]:
    """A run for each trial the store has something of."""
    series, values = series_and_values(results, GROUPS)
    by_arm: dict[str, list[Mapping[str, Any]]] = {}
    for value in values:
        by_arm.setdefault(value["arm"], []).append(value)
    for record in results.trials:
        trial = record.trial
        if record.state not in STATUS or trial.train_key is None:
            continue
        metrics = trial_metrics(series, by_arm.get(trial.arm.alias, ()), trial.arm.alias, trial.seed)
        metrics |= {
            f"cost/{name}": value
            for name, value in (
                ("train_seconds", record.train_seconds),
                ("evaluate_seconds", record.evaluate_seconds),
                ("peak_rss_mb", record.record.get("peak_rss_mb")),
            )
            if isinstance(value, int | float)
        }
        start, end = _times(store, trial)
        yield RunContent(
            key=trial.train_key,
            name=trial.label,
            status=STATUS[record.state],
            params=_params(plan, trial) | ({} if trial.seed is None else {"seed": str(trial.seed)}),
            metrics=metrics,
            tags=_tags(plan, trial.arm.alias, trial.arm.untouched)
            | {"state": record.state}
            | ({"model": f"{store}/models/{trial.train_key}/model"} if trial.train else {})
            | ({"failure": str(record.failure.get("reason", ""))[:5000]} if record.failure else {}),
            curve=_curve(store, record),
            inputs=_inputs(plan, store, record),
            artifacts=_artifacts(trial, record),
            start_ms=start,
            end_ms=end,
        )


def arm_runs(plan: Plan, results: Results) -> Iterable[RunContent]:
    """A run for each arm that has scores: mean over seeds, their spread, difference to the reference."""
    series, values = series_and_values(results)
    judged = judge(plan, results)
    differences = differences_of(judged, blocks_of(plan))
    verdicts = {v.arm: v.verdict for v in judged.comparison.primary if v.task == MACRO} if judged else {}
    for arm in plan.arms:
        records = [record for record in results.trials if record.trial.arm.alias == arm.alias]
        own = [value for value in values if value["arm"] == arm.alias]
        if not own:
            continue
        deltas = [one for one in differences if one["arm"] == arm.alias]
        states = {record.state for record in records}
        status = "FINISHED" if states == {"done"} else "FAILED" if "failed" in states else "KILLED"
        seeds = [record.trial.seed for record in records if record.state == "done"]
        whole = {"values": own, "differences": deltas, "seeds": seeds}
        yield RunContent(
            key=_arm_key(records[0].trial),
            name=arm.alias,
            status=status,
            params=_params(plan, records[0].trial),
            metrics=arm_metrics(series, own, differences, arm.alias, is_reference=arm.reference == arm.alias),
            tags=_tags(plan, arm.alias, arm.untouched)
            | {"reference": arm.reference or "", "seeds": ", ".join(str(r.trial.seed) for r in records)}
            | {"verdict": "reference" if arm.reference == arm.alias else verdicts.get(arm.alias, "")},
            artifacts={"summary.json": json.dumps(whole, indent=1).encode()},
        )


def report_runs(plan: Plan, store: Store) -> Iterable[RunContent]:
    """The sweep's own run, with its report where the store has one."""
    folder = f"sweeps/{plan.sweep.name}/report"
    files = [path for path in store.list(folder) if not path.endswith(".partial")]
    if f"{folder}/report.json" not in files:
        return
    digest = hashlib.sha256(store.get_bytes(f"{folder}/report.json")).hexdigest()[:20]
    report = store.get_json(f"{folder}/report.json")
    yield RunContent(
        key=f"report {plan.sweep.name}",
        name="report",
        status="FINISHED",
        params={},
        metrics={},
        tags={
            "sweep": plan.sweep.name,
            "report": digest,
            "answer": str(report.get("verdicts", {}).get("sentence", ""))[:5000],
        },
        artifacts={path.removeprefix(f"{folder}/"): path for path in files},
    )


def _arm_key(trial: Trial) -> str:
    """Of what the arm trains, seeds apart; its name changes when the sweep gets another axis or value."""
    train = trial.train.model_dump(mode="json", exclude={"seed"}) if trial.train else None
    text = json.dumps([trial.backbone, train], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _params(plan: Plan, trial: Trial) -> dict[str, str]:
    """Axes as plain numbers, then a few knobs; the untouched backbone has no training to describe."""
    params = {axis: _word(value) for axis, value in trial.arm.axes.items()} | {"backbone": trial.backbone}
    if trial.train is not None:
        config = trial.train.model_dump()
        params = {name: _word(config[name]) for name in _KNOBS} | {"hold": plan.sweep.hold} | params
    return params


def _word(value: Any) -> str:
    """A parameter as MLflow sorts and draws it: numbers plain, lists joined."""
    if isinstance(value, tuple | list):
        return "+".join(map(str, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _tags(plan: Plan, arm: str, untouched: bool) -> dict[str, str]:
    return {"sweep": plan.sweep.name, "arm": arm, "untouched": str(untouched).lower()}


def _curve(store: Store, record: TrialRecord) -> dict[str, list[tuple[int, float]]]:
    """Number columns of the training curve against its first column, thinned, under train/."""
    if record.trial.train is None or record.state not in ("done", "cut off") or not record.record:
        return {}
    table = pq.read_table(io.BytesIO(store.get_bytes(f"models/{record.trial.train_key}/curve.parquet")))
    rows = range(0, len(table), max(1, len(table) // _CURVE_POINTS))
    table = table.take(list(rows)) if len(table) else table
    steps = table.column(0).to_pylist()
    curves = {}
    for name in table.column_names[1:]:
        points = zip(steps, table[name].to_pylist(), strict=True)
        curve = [(int(step), float(value)) for step, value in points if isinstance(value, int | float)]
        if curve:
            curves[f"train/{name}"] = curve
    return curves


def _inputs(plan: Plan, store: Store, record: TrialRecord) -> list[Input]:
    found = []
    trial = record.trial
    if trial.train is not None and record.record:
        digests = (store.get_json(f"models/{trial.train_key}/config.json") or {}).get("data_digests", {})
        found = [Input(name, digests.get(name, "unknown"), "training") for name in trial.train.data]
    for task, how in record.measured.items():
        chooses = all(group.startswith("select_") for group in plan.tasks.get(task, ()))
        context = "selection" if chooses else "evaluation"
        found.append(Input(task, str(how.get("task_digest", "unknown")), context, {"rows": how.get("rows")}))
    return found


def _artifacts(trial: Trial, record: TrialRecord) -> dict[str, bytes | str]:
    config = {
        "train": trial.train.model_dump(mode="json") if trial.train else None,
        "evaluate": trial.evaluate.model_dump(mode="json"),
    }
    found: dict[str, bytes | str] = {"config.json": json.dumps(config, indent=1).encode()}
    if record.mixture:
        found["mixture.json"] = json.dumps(dict(record.mixture), indent=1).encode()
    if record.record:
        found["record.json"] = json.dumps(dict(record.record), indent=1, default=str).encode()
    if record.failure.get("log"):
        found["failure.log"] = str(record.failure["log"]).encode()
    for task in record.measured:
        path = f"scores/{trial.train_key}/{trial.scores[task]}.parquet"
        found[f"scores/{task.replace(':', '_').replace('/', '_')}.parquet"] = path
    return found


def _times(store: Store, trial: Trial) -> tuple[int | None, int | None]:
    """When the first attempt began and the last ended, milliseconds; None if unknown."""
    spans = [(one["started"], one["started"] + one["seconds"]) for one in attempts_at(store, trial)]
    if not spans:
        return None, None
    return int(min(start for start, _ in spans) * 1000), int(max(end for _, end in spans) * 1000)
