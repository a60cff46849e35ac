"""The question, and its answer in one sentence: verdicts at the guardrail's margin, for the report."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from hybrid.scores import MEASURES
from sweeps.axis_words import axes_words
from sweeps.comparisons import FEWEST_SEEDS, Judged
from sweeps.degradation import DEGRADATION, INCONCLUSIVE, MACRO, NO_DEGRADATION, REFUSED, Verdict
from sweeps.plan import Plan
from sweeps.results import Results
from sweeps.tables import points
from sweeps.unlike_machines import mark_unlike

WORDS = {
    NO_DEGRADATION: "no degradation",
    DEGRADATION: "degradation",
    INCONCLUSIVE: "inconclusive",
    REFUSED: "refused",
}
_FEW_SEEDS = frozenset({"one_seed", "few_seeds"})


def question_of(plan: Plan) -> str:
    """What the sweep asks, from its axes, reference and guardrail."""
    sweep, rail = plan.sweep, plan.sweep.guardrail
    swept = [axis for axis, found in sweep.axes.items() if len(found) > 1]
    what = f"setting {' and '.join(sweep.reference)} otherwise" if sweep.reference else "another arm"
    if "mono_ratio" in swept and "mono_ratio" in sweep.reference:
        what = "mixing cross-lingual batches into the training"
    others = [axis for axis in swept if axis not in sweep.reference]
    words = {"backbone": "the backbone", "batch_size": "the batch size"}
    rest = " and ".join(words.get(axis, axis) for axis in others)
    kind = "zero-shot retrieval" if rail.group == "zero_shot" else "in-domain retrieval"
    sets = ", ".join(sweep.evaluate.groups[rail.group]) or "no set named"
    text = f"Does {what} cost {kind} ({sets}) {points(rail.margin)} of {MEASURES[rail.measure]} or more"
    return f"{text}, and does that depend on {rest}?" if rest else f"{text}?"


def verdicts_of(plan: Plan, judged: Judged | None, results: Results) -> dict[str, Any]:
    """Verdicts of every arm against its reference on the guardrail's group: the mean of its sets, the
    declared comparison, and each set. `sentence` answers the question, or says why nothing does."""
    rail = plan.sweep.guardrail
    found = judged.comparison.verdicts if judged else ()
    rows = [
        _row(v)
        for v in found
        if (v.group, v.measure) == (rail.group, rail.measure)
        and v.family.startswith(("primary", "exploratory:"))
        and v.query_lang is None
    ]
    rows = mark_unlike(rows, results.trials)
    declared = [row for row in rows if row["task"] == MACRO]
    return {
        "rows": rows,
        "sentence": _sentence(plan, declared),
        "method": judged.comparison.method if judged else "",
        "notes": [*(judged.comparison.notes if judged else ()), *_without_reference(plan)],
    }


def _row(one: Verdict) -> dict[str, Any]:
    return {
        "arm": one.arm,
        "reference": one.reference,
        "task": one.task,
        "verdict": one.verdict,
        "difference": one.difference,
        "relative": one.relative,
        "lower": one.lower,
        "upper": one.upper,
        "lower_95": one.interval[0] if one.interval else None,
        "upper_95": one.interval[1] if one.interval else None,
        "query_lower": one.query_only[0] if one.query_only else None,
        "query_upper": one.query_only[1] if one.query_only else None,
        "adjusted_level": one.adjusted_level,
        "comparisons": one.n_comparisons,
        "seeds": one.n_seeds,
        "queries": one.n_queries,
        "clusters": one.n_clusters,
        "se": one.se,
        "se_seed": one.se_seed,
        "se_query": one.se_query,
        "df": one.df if one.df is None or isfinite(one.df) else None,
        "per_seed": list(one.per_seed),
        "flags": list(one.flags),
        "notes": list(one.notes),
        "advice": one.needed.advice if one.needed else None,
    }


def _sentence(plan: Plan, rows: Sequence[dict[str, Any]]) -> str:
    rail = plan.sweep.guardrail
    if not rows:
        return "No answer yet: no arm and its reference have both been measured on these sets."
    starved = [row for row in rows if _FEW_SEEDS & set(row["flags"])]
    if len(starved) == len(rows):
        most = max(row["seeds"] or 0 for row in rows)
        return (
            f"No verdict: {most} {'seed is' if most == 1 else 'seeds are'} too few to know how a difference "
            f"moves from seed to seed; at least {FEWEST_SEEDS} are needed."
        )
    if all(row["verdict"] == REFUSED for row in rows):
        reasons = list(dict.fromkeys(note for row in rows for note in row["notes"]))
        more = f"; and {len(reasons) - 3} reasons more" if len(reasons) > 3 else ""
        return f"No verdict: {'; '.join(reasons[:3])}{more}."
    parts = []
    for verdict, word in WORDS.items():
        arms = [row["arm"] for row in rows if row["verdict"] == verdict]
        if arms:
            named = f" ({', '.join(arms)})" if len(arms) <= 4 else ""
            parts.append(f"{word} for {len(arms)}{named}")
    sets = ", ".join(plan.sweep.evaluate.groups[rail.group])
    return (
        f"At a margin of {points(rail.margin)} of {MEASURES[rail.measure]} on {sets}, declared in the sweep "
        f"file: of {len(rows)} arm{'s' * (len(rows) != 1)} against the reference, {'; '.join(parts)}."
    )


def _without_reference(plan: Plan) -> list[str]:
    lost = [arm.alias for arm in plan.arms if not arm.untouched and arm.reference is None]
    if not lost:
        return []
    axes = axes_words(plan.sweep.reference)
    return [
        f"{', '.join(lost)}: the sweep has no arm with {axes} and the same other axes, so there is nothing "
        "to compare with."
    ]
