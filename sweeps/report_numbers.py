"""Every number of the report, as one JSON object: the page, the tables and the figures show nothing else.

Values are fractions, rank distances are ranks; tables multiply fractions by 100.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hybrid.backbones import resolve
from hybrid.errors import BadInput
from sweeps.choose import choose
from sweeps.differences import KIND
from sweeps.plan import Arm, Plan
from sweeps.report_verdicts import verdicts_of
from sweeps.results import Results, TrialRecord
from sweeps.series import DRAWS, LEVEL, blocks_of, differences_of, pareto_of, series_and_values
from sweeps.statements import statements

REPORT_VERSION = 1


def report_numbers(plan: Plan, results: Results) -> dict[str, Any]:
    """Gather the report of a sweep; what is missing is absent from the values and named in `trials`."""
    blocks = blocks_of(plan)
    series, values = series_and_values(results)
    differences = differences_of(plan, results, blocks)
    return {
        "report_version": REPORT_VERSION,
        "name": plan.sweep.name,
        "synthetic": _synthetic(plan, results),
        "axes": {axis: list(points) for axis, points in plan.sweep.axes.items()},
        "reference": dict(plan.sweep.reference),
        "hold": plan.sweep.hold,
        "held_fixed": _held_fixed(plan),
        "seeds": list(plan.sweep.seeds),
        "interval": {"kind": KIND, "level": LEVEL, "draws": DRAWS},
        "guardrail": plan.sweep.guardrail.model_dump(),
        "arms": [_arm(arm, results.trials) for arm in plan.arms],
        "blocks": blocks,
        "tasks": _tasks(plan, results),
        "series": series,
        "values": values,
        "differences": differences,
        "verdicts": verdicts_of(plan, results),
        "statements": statements(blocks, series, differences),
        "pareto": pareto_of(plan, values),
        "trials": [_trial(record) for record in results.trials],
        "cost": _cost(results.trials),
        "choice": _choice(plan, results),
        "damaged": list(results.damaged),
        "notes": [*plan.sweep.notes, *plan.notes],
        "unknown": list(plan.unknown),
        "reproduce": _reproduce(plan, results),
    }


def _synthetic(plan: Plan, results: Results) -> list[str]:
    """What is generated: tasks, training text, backbones; empty if all is real."""
    found = [
        task for record in results.trials for task, how in record.measured.items() if how.get("synthetic")
    ]
    found += [
        name
        for record in results.trials
        if record.record.get("synthetic") and record.trial.train
        for name in record.trial.train.data
    ]
    for arm in plan.arms:
        try:
            found += [arm.backbone] if resolve(arm.backbone).synthetic else []
        except BadInput:
            continue  # a folder that is gone by now
    return list(dict.fromkeys(found))


def _held_fixed(plan: Plan) -> dict[str, Any]:
    """Training settings equal in every trial, and how the evaluation was made."""
    configs = [t.train.model_dump(mode="json") for t in plan.trials if t.train is not None]
    fixed = {
        name: value
        for name, value in (configs[0].items() if configs else ())
        if name != "seed" and all(config[name] == value for config in configs)
    }
    if plan.sweep.hold == "examples" and "examples" in plan.sweep.train:
        fixed["examples"] = plan.sweep.train["examples"]
    if plan.trials:
        fixed["evaluation"] = plan.trials[0].evaluate.model_dump(mode="json")
    return fixed


def _arm(arm: Arm, records: Sequence[TrialRecord]) -> dict[str, Any]:
    own = [record for record in records if record.trial.arm.alias == arm.alias]
    return {
        "alias": arm.alias,
        "axes": dict(arm.axes),
        "backbone": arm.backbone,
        "reference": arm.reference,
        "untouched": arm.untouched,
        "trials": len(own),
        "trials_done": sum(record.state == "done" for record in own),
    }


def _tasks(plan: Plan, results: Results) -> list[dict[str, Any]]:
    found = []
    for name, groups in plan.tasks.items():
        how: Mapping[str, Any] = next((r.measured[name] for r in results.trials if name in r.measured), {})
        rows = results.scores.filter(pc.equal(results.scores["task"], name))
        distinct = {
            c: pc.unique(rows[c].cast(pa.string()))
            for c in ("query_id", "cluster_id", "query_lang", "setting")
        }
        found.append(
            {
                "name": name,
                "groups": list(groups),
                "settings": distinct["setting"].to_pylist(),
                "languages": sorted(distinct["query_lang"].to_pylist()),
                "queries": len(distinct["query_id"]),
                "clusters": len(distinct["cluster_id"]),
                "documents": how.get("documents"),
                "digest": how.get("task_digest"),
                "synthetic": bool(how.get("synthetic", False)),
                "notes": list(how.get("notes", ())),
            }
        )
    return found


def _trial(record: TrialRecord) -> dict[str, Any]:
    trial = record.trial
    return {
        "label": trial.label,
        "arm": trial.arm.alias,
        "seed": trial.seed,
        "state": record.state,
        "missing_tasks": list(record.missing_tasks),
        "reason": record.failure.get("reason"),
        "train_key": trial.train_key,
        "steps": trial.train.steps if trial.train else None,
        "train_seconds": record.train_seconds,
        "evaluate_seconds": record.evaluate_seconds,
        "peak_rss_mb": record.record.get("peak_rss_mb"),
        "events": list(record.record.get("events", ())),
        "mixture": dict(record.mixture),
    }


def _cost(records: Sequence[TrialRecord]) -> dict[str, Any]:
    """Seconds spent on what the store holds, and the machines they were spent on."""
    machines = [record.record["hardware"] for record in records if record.record.get("hardware")]
    kinds = dict.fromkeys(
        " · ".join(str(part) for part in (m.get("gpu"), m.get("processor"), f"{m.get('cpus')} CPUs") if part)
        for m in machines
    )
    return {
        "train_seconds": sum(record.train_seconds or 0.0 for record in records),
        "evaluate_seconds": sum(record.evaluate_seconds or 0.0 for record in records),
        "gpu_hours": sum((r.train_seconds or 0.0) * r.trial.gpus for r in records) / 3600,
        "hardware": list(kinds),
    }


def _choice(plan: Plan, results: Results) -> dict[str, Any]:
    """The chosen configuration, or why none can be chosen."""
    try:
        return choose(plan, results).as_json()
    except BadInput as none:
        return {"absent": list(none.mistakes)}


def _reproduce(plan: Plan, results: Results) -> dict[str, Any]:
    versions: dict[str, list[str]] = {}
    for record in results.trials:
        for name, version in record.record.get("versions", {}).items():
            versions.setdefault(name, []).append(str(version))
    commits = [str(r.record["commit"]) for r in results.trials if r.record.get("commit")]
    return {
        "spec": plan.sweep.text,
        "versions": {name: sorted(set(found)) for name, found in sorted(versions.items())},
        "commits": sorted(set(commits)),
        "score_keys": {
            name: key for trial in plan.trials[:1] for name, key in trial.scores.items() if key is not None
        },
    }
