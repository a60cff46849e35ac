"""Marks comparisons across unlike hardware, where weights agree within a tolerance, not to the last bit."""

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.results import TrialRecord

UNLIKE = "unlike_machines"


def mark_unlike(rows: Sequence[dict[str, Any]], trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """The verdict rows; flagged are those whose arm and reference were trained apart, seed by seed."""
    machines: dict[str, dict[int | None, str]] = {}
    for record in trials:
        if (kind := _processor(record.record.get("hardware"))) is not None:
            machines.setdefault(record.trial.arm.alias, {})[record.trial.seed] = kind
    return [_marked(row, machines.get(row["arm"], {}), machines.get(row["reference"], {})) for row in rows]


def _marked(
    row: dict[str, Any], own: Mapping[int | None, str], others: Mapping[int | None, str]
) -> dict[str, Any]:
    apart = [seed for seed in own if own[seed] != others.get(seed, own[seed])]
    if not apart:
        return row
    seed, many = apart[0], f"{len(apart)} seeds" if len(apart) > 1 else f"seed {apart[0]}"
    note = (
        f"{row['arm']} and {row['reference']} were trained on unlike hardware ({many}, such as {own[seed]} "
        f"against {others[seed]}): a part of their difference is rounding, see Tolerance in docs/training.md"
    )
    return {**row, "flags": [*row["flags"], UNLIKE], "notes": [*row["notes"], note]}


def _processor(hardware: Mapping[str, Any] | None) -> str | None:
    """What decides which kernels compute; None if it is not recorded."""
    found = hardware or {}
    return found.get("gpu") or found.get("processor") or None
