"""What an exported model can be held to: its verdict with intervals, its making, how to make it again."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybrid.backbones import backbone_digest, resolve
from hybrid.errors import BadInput
from sweeps.choose import Choice
from sweeps.comparisons import judge
from sweeps.plan import Plan, Trial
from sweeps.report_verdicts import verdicts_of
from sweeps.results import Results, TrialRecord
from sweeps.series import series_and_values
from sweeps.store import Store

CERTIFICATE_VERSION = 1
"""Raised when a field of certificate.json changes its meaning or goes."""


def certificate(
    plan: Plan, trial: Trial, record: TrialRecord, choice: Choice, results: Results, store: Store, model: Path
) -> dict[str, Any]:
    """certificate.json of the model in the folder `model`. Scores are fractions, rank distances ranks.

    `verdict` is that of the arm on the reporting sets, the same the report shows; what chose the arm is in
    `choice`. `retrained` is filled in by `sweeps export --check`.
    """
    stored = store.get_json(f"models/{trial.train_key}/config.json") or {}
    return {
        "certificate_version": CERTIFICATE_VERSION,
        "sweep": plan.sweep.name,
        "arm": choice.arm,
        "axes": dict(plan.arm(choice.arm).axes),
        "seed": choice.seed,
        "train_key": trial.train_key,
        "synthetic": bool(record.record.get("synthetic"))
        or any(m.get("synthetic") for m in record.measured.values()),
        "verdict": _verdict(plan, choice, results),
        "reference": _reference(plan, choice),
        "guardrail": plan.sweep.guardrail.model_dump(),
        "choice": {"rule": choice.rule, "statement": choice.statement},
        "scores": _scores(plan, choice, results),
        "failures": _failures(results),
        "spec": {"sha256": hashlib.sha256(plan.sweep.text.encode()).hexdigest(), "text": plan.sweep.text},
        "digests": {
            "backbone": {trial.backbone: _backbone(trial.backbone)},
            "training": dict(stored.get("data_digests", {})),
            "tasks": {task: how.get("task_digest") for task, how in record.measured.items()},
            "model": _files(model),
        },
        "hardware": dict(record.record.get("hardware", {})),
        "versions": dict(record.record.get("versions", {})),
        "retrain": {
            "command": "hybrid train best.yaml --out DIR",
            "check": f"sweeps export {plan.sweep.path or plan.sweep.name} --check",
            "expected": "the same scores to the last bit on a CPU of this kind with these versions and "
            "threads; elsewhere rounding differs",
        },
        "retrained": None,
    }


def _verdict(plan: Plan, choice: Choice, results: Results) -> dict[str, Any]:
    """Rows of the arm, mean of sets first; for a reference arm there are none."""
    found = verdicts_of(plan, judge(plan, results), results)
    rows = [row for row in found["rows"] if row["arm"] == choice.arm]
    rows.sort(key=lambda row: row["task"] != "macro")
    if plan.arm(choice.arm).reference == choice.arm:
        sentence = f"{choice.arm} is the reference arm: there is nothing it could degrade against."
        rows = []
    elif not rows:
        sentence = f"No verdict on {choice.arm}: it and its reference are not both measured."
    else:
        sentence = found["sentence"]
    return {"sentence": sentence, "rows": rows, "method": found["method"], "notes": list(found["notes"])}


def _reference(plan: Plan, choice: Choice) -> dict[str, Any] | None:
    alias = plan.arm(choice.arm).reference
    return None if alias is None else {"arm": alias, "axes": dict(plan.arm(alias).axes)}


def _scores(plan: Plan, choice: Choice, results: Results) -> list[dict[str, Any]]:
    """Every reported macro mean: this model's, the arm's over its seeds, its reference's."""
    series, values = series_and_values(results)
    by = {(value["series"], value["arm"]): value for value in values}
    reference = plan.arm(choice.arm).reference or ""
    rows = []
    for one in series:
        own = by.get((one["id"], choice.arm))
        if own is None or str(choice.seed) not in own["seeds"]:
            continue
        beside = by.get((one["id"], reference))
        rows.append(
            {
                **{name: one[name] for name in ("group", "task", "setting", "measure")},
                "value": own["seeds"][str(choice.seed)],
                "arm_mean": own["mean"],
                "arm_seeds": len(own["seeds"]),
                "reference_mean": beside["mean"] if beside else None,
            }
        )
    return rows


def _failures(results: Results) -> dict[str, int]:
    """Trials of the sweep by state: a verdict from a sweep with holes says so."""
    counts: dict[str, int] = {}
    for record in results.trials:
        counts[record.state] = counts.get(record.state, 0) + 1
    return counts


def _backbone(name: str) -> str | None:
    try:
        return backbone_digest(resolve(name))
    except BadInput:  # exported where the backbone is not
        return None


def _files(model: Path) -> Mapping[str, str]:
    """SHA-256 of the weights."""
    found = {}
    for path in sorted(model.rglob("*.safetensors")):
        with path.open("rb") as file:
            found[path.relative_to(model).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
