"""The declared comparison of a sweep: verdicts at the guardrail's margin, for the report."""

from collections.abc import Sequence
from typing import Any

import pyarrow.compute as pc

from hybrid.data.levels import is_pool
from hybrid.scores import MEASURES
from sweeps.degradation import DEGRADATION, INCONCLUSIVE, MACRO, NO_DEGRADATION, REFUSED, Verdict, compare
from sweeps.plan import Plan
from sweeps.results import Results
from sweeps.tables import points

FEWEST_SEEDS = 3
"""With two seeds one degree of freedom makes bounds of tens of points, or luck makes them narrow."""

WORDS = {
    NO_DEGRADATION: "no degradation",
    DEGRADATION: "degradation",
    INCONCLUSIVE: "inconclusive",
    REFUSED: "refused",
}


def verdicts_of(plan: Plan, results: Results) -> dict[str, Any]:
    """Verdicts of every trained arm against its reference on the guardrail's group: the mean of its sets,
    which is the declared comparison, and each set. `rows` is empty, and `sentence` says why, where there is
    nothing to compare or an arm has fewer than `FEWEST_SEEDS` seeds."""
    rail = plan.sweep.guardrail
    references = {
        arm.alias: arm.reference
        for arm in plan.arms
        if not arm.untouched and arm.reference is not None and arm.reference != arm.alias
    }
    of_group = pc.equal(results.scores["group"], rail.group)
    scores = results.scores.filter(pc.and_(of_group, pc.equal(results.scores["measure"], rail.measure)))
    seeds: dict[str, set[int]] = {}
    for row in results.rows(rail.group):
        if row["measure"] == rail.measure and row["seed"] is not None:
            seeds.setdefault(row["arm"], set()).add(row["seed"])
    references = {arm: reference for arm, reference in references.items() if arm in seeds}
    fewest = min((len(seeds[arm]) for arm in references), default=0)
    if fewest < FEWEST_SEEDS:
        sentence = (
            f"No verdict: {fewest} {'seed is' if fewest == 1 else 'seeds are'} too few to know how a "
            f"difference moves from seed to seed; at least {FEWEST_SEEDS} are needed."
        )
        return {"rows": [], "sentence": sentence if references else "", "method": "", "notes": []}
    found = compare(
        scores, references, margin=rail.margin, level=rail.level, group=rail.group, measure=rail.measure
    )
    rows = [_row(one) for one in found.verdicts]
    return {
        "rows": rows,
        "sentence": _sentence(plan, [row for row in rows if row["task"] == MACRO]),
        "method": found.method,
        "notes": list(found.notes),
    }


def _row(one: Verdict) -> dict[str, Any]:
    return {
        "arm": one.arm,
        "reference": one.reference,
        "task": one.task,
        "verdict": one.verdict,
        "difference": one.difference,
        "lower": one.lower,
        "upper": one.upper,
        "adjusted_level": one.adjusted_level,
        "comparisons": one.n_comparisons,
        "seeds": one.n_seeds,
        "queries": one.n_queries,
        "flags": list(one.flags),
        "notes": list(one.notes),
        "advice": one.needed.advice if one.needed else None,
    }


def _sentence(plan: Plan, rows: Sequence[dict[str, Any]]) -> str:
    rail = plan.sweep.guardrail
    parts = []
    for verdict, word in WORDS.items():
        arms = [row["arm"] for row in rows if row["verdict"] == verdict]
        if arms:
            named = f" ({', '.join(arms)})" if len(arms) <= 4 and len(arms) < len(rows) else ""
            parts.append(f"{word} for {len(arms)}{named}")
    names = plan.sweep.evaluate.groups[rail.group]
    sets = ", ".join(names)
    return (
        f"At a margin of {points(rail.margin)} of {MEASURES[rail.measure]} on {sets}, declared before "
        f"the run: of {len(rows)} arm{'s' * (len(rows) != 1)} against the reference, {'; '.join(parts)}."
        + (" Measured on pools, which flatter tuned arms." if any(map(is_pool, names)) else "")
    )
