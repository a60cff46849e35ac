"""How differences grow along mono_ratio and batch_size, how one depends on another, and what a lost
zero-shot point buys: the numbers of the report, from `sweeps.dose`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.axis_words import axes_words
from sweeps.claims import TAIL
from sweeps.comparisons import FEWEST_SEEDS, Judged
from sweeps.dose import DoseResponse, dose_response, exchange_rate, interactions
from sweeps.macro import Aim
from sweeps.plan import Arm, Plan

MONO, BATCH = "mono_ratio", "batch_size"


@dataclass(frozen=True)
class Target:
    """What a curve is of: a series, or the declared comparison."""

    series: str | None  # None: the declared mean is no series of its own
    title: str
    aim: Aim
    declared: bool
    points: bool
    primary: bool


@dataclass(frozen=True)
class Line:
    """Arms that differ along one axis alone, and the one they are compared with, None if it has no scores."""

    fixed: Mapping[str, Any]
    arms: Mapping[float, str]
    reference: float
    present: bool


def effects_of(plan: Plan, judged: Judged | None, series: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Curves, interactions and exchange rates; each list is empty where the sweep has nothing for it."""
    effects: dict[str, Any] = {MONO: [], BATCH: [], "interactions": [], "exchange": [], "notes": []}
    if judged is None:
        return effects
    targets = targets_of(plan, series)
    main = [target for target in targets if target.declared or target.primary]
    for axis, chosen in ((MONO, targets), (BATCH, main)):
        lines = lines_of(plan, judged, axis)
        effects["notes"] += [
            f"{_where(line.fixed)}no scores at {axis} {line.reference:g}, the point of comparison: no curve."
            for line in lines
            if not line.present
        ]
        whole = [line for line in lines if line.present]
        effects[axis] = [
            _curve(plan, judged, axis, target, line, len(whole)) for target in chosen for line in whole
        ]
    effects["interactions"] = list(_interactions(plan, judged, main))
    effects["exchange"] = list(_exchange(plan, judged, targets))
    return effects


def targets_of(plan: Plan, series: Sequence[Mapping[str, Any]]) -> list[Target]:
    """The declared comparison first, then every other headline series."""
    rail = plan.sweep.guardrail
    macros = {(s["group"], s["setting"], s["measure"]) for s in series if s["task"] == "macro"}
    declared = [
        s
        for s in series
        if (s["group"], s["measure"]) == (rail.group, rail.measure)
        and (s["task"] == "macro" or (s["group"], s["setting"], s["measure"]) not in macros)
    ]
    alone = declared[0] if len(declared) == 1 else None
    title = alone["title"] if alone else f"{rail.group.replace('_', '-')}, mean of {rail.measure}"
    points = alone["points"] if alone else rail.measure != "rank_distance"
    name = None if alone is None else str(alone["id"])
    found = [Target(name, title, Aim(rail.group, rail.measure), True, points, True)]
    for one in series:
        if one["headline"] and one is not alone:
            task = None if one["task"] == "macro" else one["task"]
            aim = Aim(one["group"], one["measure"], one["setting"], task)
            top = one["task"] == "macro" or (one["group"], one["setting"], one["measure"]) not in macros
            target = Target(one["id"], one["title"], aim, False, one["points"], one["primary"] and top)
            found.append(target)
    return found


def lines_of(plan: Plan, judged: Judged, axis: str) -> list[Line]:
    """The arms along an axis, for each combination of the others; only where there are two or more."""
    planned = [p for p in plan.sweep.axes.get(axis, ()) if _is_number(p)]
    if len(planned) < 2:
        return []
    reference = float(plan.sweep.reference.get(axis, 1.0 if axis == MONO else min(planned)))
    lines: dict[tuple[str, ...], tuple[dict[str, Any], dict[float, str]]] = {}
    for arm in _scored(plan, judged):
        fixed = {name: arm.axes.get(name) for name in _varying(plan) if name != axis}
        if _is_number(arm.axes.get(axis)):
            line = lines.setdefault(tuple(map(repr, fixed.values())), (fixed, {}))
            line[1][float(arm.axes[axis])] = arm.alias
    return [
        Line(fixed, arms, reference, reference in arms)
        for fixed, arms in lines.values()
        if len(arms) > 1 or reference not in arms
    ]


def safe_sentence(axis: str, curve: Mapping[str, Any]) -> str:
    """What the fixed sequence of a declared curve has shown, in words."""
    safe, where = curve["safe"], _where(curve["fixed"])
    where = f"At {where}" if where else ""
    word = "down" if axis == MONO else "up"
    if safe["to"] == curve["reference"]:
        text = f"{where}no {axis} {'below' if axis == MONO else 'above'} {safe['to']:g} is shown to be safe"
    else:
        text = f"{where}shown to be safe {word} to {axis} {safe['to']:g}"
    if safe["stopped"]:
        text += f" (the sequence stopped at {safe['stopped']})"
    if safe["crossing"] is not None:
        ends = ", ".join(
            f"{'not in the range' if at is None else format(at, '.2f')} by the {edge} edge of the band"
            for edge, at in (("lower", safe["crossing_lower"]), ("upper", safe["crossing_upper"]))
        )
        text += f"; the curve falls through the margin at {safe['crossing']:.2f} ({ends})"
    text += "" if axis == MONO else "; exploratory"
    return f"{text if where else text[0].upper() + text[1:]}."


def _curve(plan: Plan, judged: Judged, axis: str, target: Target, line: Line, lines: int) -> dict[str, Any]:
    rail = plan.sweep.guardrail
    found = dose_response(
        judged.scores,
        line.arms,
        target.aim,
        margin=rail.margin,
        reference=line.reference,
        level=rail.level,
        sequences=lines,
        upwards=axis == BATCH,
        fewest_seeds=FEWEST_SEEDS,
    )
    points = [
        {
            "x": point.x,
            "arm": point.arm,
            "difference": point.difference,
            "lower": point.lower,
            "upper": point.upper,
            "tested": point.tested if target.declared else None,
            "note": point.note,
        }
        for point in found.points
    ]
    return {
        "series": target.series,
        "title": target.title,
        "declared": target.declared,
        "points_scale": target.points,
        "fixed": dict(line.fixed),
        "reference": found.reference,
        "points": points,
        "safe": _safe(found) if target.declared else None,
    }


def _safe(found: DoseResponse) -> dict[str, Any]:
    crossing, lower, upper = found.crossing
    return {
        "to": found.safe_to,
        "stopped": found.stopped,
        "level": found.level,
        "margin": found.margin,
        "crossing": crossing,
        "crossing_lower": lower,
        "crossing_upper": upper,
    }


def _interactions(plan: Plan, judged: Judged, targets: Sequence[Target]) -> Iterable[dict[str, Any]]:
    """Does the effect of mono_ratio depend on batch_size, or on the backbone?"""
    if len(plan.sweep.axes.get(MONO, ())) < 2:
        return
    reference = float(plan.sweep.reference.get(MONO, 1.0))
    for axis in (BATCH, "backbone"):
        order = list(plan.sweep.axes.get(axis, ()))
        order = sorted(order) if all(map(_is_number, order)) else order
        if len(order) < 2:
            continue
        groups: dict[tuple[str, ...], tuple[dict[str, Any], dict[tuple[float, Any], str]]] = {}
        listed = [arm for arm in _scored(plan, judged) if arm.axes.get(axis) in order]
        for arm in sorted(listed, key=lambda arm: order.index(arm.axes[axis])):
            fixed = {n: arm.axes.get(n) for n in _varying(plan) if n not in (MONO, axis)}
            _, arms = groups.setdefault(tuple(map(repr, fixed.values())), (fixed, {}))
            arms[(float(arm.axes[MONO]), arm.axes[axis])] = arm.alias
        for fixed, arms in groups.values():
            for target in targets:
                for one in interactions(judged.scores, arms, target.aim, reference=reference, level=TAIL):
                    yield {
                        "axis": axis,
                        "base": order[0],
                        "series": target.series,
                        "title": target.title,
                        "declared": target.declared,
                        "points_scale": target.points,
                        "fixed": fixed,
                        "x": one.x,
                        "z": one.z,
                        "difference": one.difference,
                        "lower": one.lower,
                        "upper": one.upper,
                    }


def _exchange(plan: Plan, judged: Judged, targets: Sequence[Target]) -> Iterable[dict[str, Any]]:
    """In-domain points won for each zero-shot point lost, 95%."""
    rail = plan.sweep.guardrail
    cost = Aim("zero_shot", rail.measure if rail.group == "zero_shot" else "ndcg_at_10")
    gains = [t for t in targets if t.aim.group == "in_domain" and t.primary and t.series and t.points]
    groups = {block.group for block in judged.scores.blocks}
    if not gains or not {"in_domain", "zero_shot"} <= groups:
        return
    for arm, reference in judged.references.items():
        for gain in gains:
            one = exchange_rate(judged.scores, arm, reference, gain=gain.aim, cost=cost, level=TAIL)
            yield {
                "arm": arm,
                "reference": reference,
                "gain": gain.series,
                "title": gain.title,
                "rate": one.rate,
                "lower": one.lower,
                "upper": one.upper,
                "note": one.note,
            }


def _scored(plan: Plan, judged: Judged) -> list[Arm]:
    names = set(judged.scores.arms)
    return [arm for arm in plan.arms if not arm.untouched and arm.alias in names]


def _varying(plan: Plan) -> list[str]:
    return [axis for axis, points in plan.sweep.axes.items() if len(points) > 1]


def _where(fixed: Mapping[str, Any]) -> str:
    return f"{axes_words(fixed)}: " if fixed else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
