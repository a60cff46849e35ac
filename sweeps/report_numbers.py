"""Every number of the report, as one JSON object: the page, the tables and the figures show nothing else.

Values are fractions, rank distances are ranks; tables multiply fractions by 100.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hybrid.backbones import resolve
from hybrid.errors import BadInput
from sweeps.choose import choose
from sweeps.comparisons import FEWEST_SEEDS, judge
from sweeps.plan import Arm, Plan
from sweeps.pool_bias import pool_biases
from sweeps.report_coverage import coverage_rows, means_apart
from sweeps.report_effects import effects_of
from sweeps.report_robustness import language_rows, pareto_of, robustness_of
from sweeps.report_verdicts import question_of, verdicts_of
from sweeps.results import Results, TrialRecord
from sweeps.seen import seen_by
from sweeps.series import blocks_of, differences_of, series_and_values
from sweeps.statements import statements

REPORT_VERSION = 2
"""Raised when a field of report.json changes its meaning or goes."""


def report_numbers(plan: Plan, results: Results) -> dict[str, Any]:
    """Gather the report of a sweep; what is missing is absent from the values and named in `trials`."""
    blocks, coverage = blocks_of(plan), coverage_rows(results)
    series, values = series_and_values(results)
    judged = judge(plan, results, languages=True)
    known = {one["id"] for one in series}
    differences = [one for one in differences_of(judged, blocks) if one["series"] in known]
    return {
        "report_version": REPORT_VERSION,
        "name": plan.sweep.name,
        "question": question_of(plan),
        "synthetic": _synthetic(plan, results),
        "axes": {axis: list(points) for axis, points in plan.sweep.axes.items()},
        "reference": dict(plan.sweep.reference),
        "hold": plan.sweep.hold,
        "held_fixed": _held_fixed(plan),
        "seeds": list(plan.sweep.seeds),
        "fewest_seeds": FEWEST_SEEDS,
        "guardrail": plan.sweep.guardrail.model_dump(),
        "arms": [_arm(arm, results.trials) for arm in plan.arms],
        "blocks": blocks,
        "tasks": _tasks(plan, results),
        "series": series,
        "values": values,
        "differences": differences,
        "verdicts": verdicts_of(plan, judged, results),
        "statements": statements(blocks, series, differences),
        "effects": effects_of(plan, judged, series),
        "pareto": pareto_of(plan, judged),
        "robustness": robustness_of(plan, judged, results),
        "languages": language_rows(judged),
        "pool_bias": [asdict(one) for one in pool_biases(results.scores, _references(plan))],
        "coverage": coverage,
        "means_apart": means_apart(plan, results, coverage),
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


def _references(plan: Plan) -> dict[str, str]:
    return {arm.alias: arm.reference for arm in plan.arms if not arm.untouched and arm.reference is not None}


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
                "seen_by": seen_by(name, (arm.backbone for arm in plan.arms)),
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
        "hardware": _machine(record),
        "events": list(record.record.get("events", ())),
        "mixture": dict(record.mixture),
    }


def _cost(records: Sequence[TrialRecord]) -> dict[str, Any]:
    """Seconds spent on what the store holds, and the machines they were spent on."""
    kinds = dict.fromkeys(kind for record in records if (kind := _machine(record)))
    return {
        "train_seconds": sum(record.train_seconds or 0.0 for record in records),
        "evaluate_seconds": sum(record.evaluate_seconds or 0.0 for record in records),
        "gpu_hours": sum((r.train_seconds or 0.0) * r.trial.gpus for r in records) / 3600,
        "hardware": list(kinds),
        "mixed_hardware": len(kinds) > 1,
    }


def _machine(record: TrialRecord) -> str | None:
    """What a trial was trained on, in words; None where that is not recorded."""
    found = record.record.get("hardware")
    if not found:
        return None
    parts = (found.get("gpu"), found.get("processor"), f"{found.get('cpus')} CPUs")
    return " · ".join(str(part) for part in parts if part)


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
    measured: dict[str, set[str]] = {}
    for record in results.trials:
        for name, how in record.measured.items():
            if how.get("task_digest"):
                measured.setdefault(name, set()).add(str(how["task_digest"]))
    return {
        "spec": plan.sweep.text,
        "spec_path": plan.sweep.path,
        "data_digests": {name: sorted(found) for name, found in sorted(measured.items())},
        "recorded_digests": dict(plan.digests),
        "versions": {name: sorted(set(found)) for name, found in sorted(versions.items())},
        "commits": sorted(set(commits)),
        "score_keys": {
            name: key for trial in plan.trials[:1] for name, key in trial.scores.items() if key is not None
        },
    }
