"""Arms against their references on the guardrail's selection sets: what may be chosen."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow.compute as pc

from hybrid.scores import LOWER_IS_BETTER
from sweeps.comparisons import FEWEST_SEEDS, references_of
from sweeps.crossed import estimate
from sweeps.degradation import DEGRADATION, INCONCLUSIVE, MACRO, NO_DEGRADATION, REFUSED, compare
from sweeps.macro import Aim, contrast
from sweeps.pairing import Refused, Scores, read_scores
from sweeps.plan import Plan
from sweeps.results import Results
from sweeps.spec_sections import Guardrail

_KEPT, _BELOW, _OPEN = "it keeps the guardrail", "below the margin", "not shown to be within the margin"


@dataclass(frozen=True)
class Rail:
    """One arm: its difference to its reference, the one-sided bound on its bad side, what follows and why."""

    difference: float
    bound: float | None  # None: no bound can be given
    kept: bool
    reason: str


def guardrails(plan: Plan, results: Results) -> dict[str, Rail]:
    """Arm → how it stands. Kept where no degradation is shown at the declared margin: by the simultaneous
    bounds of `sweeps.degradation` or, with fewer than 3 seeds, by a bound of query variation alone."""
    rail = plan.sweep.guardrail
    group = f"select_{rail.group}"
    of_group = pc.equal(results.scores["group"], group)
    table = results.scores.filter(pc.and_(of_group, pc.equal(results.scores["measure"], rail.measure)))
    if not len(table):
        return {}
    scores = read_scores(table)
    references = {
        arm: reference
        for arm, reference in references_of(plan.arms).items()
        if {arm, reference} <= set(scores.arms)
    }
    if len(plan.sweep.seeds) < FEWEST_SEEDS:
        return _by_queries(scores, references, rail, group)
    compared = compare(
        scores, references, margin=rail.margin, level=rail.level, group=group, measure=rail.measure
    )
    found = {}
    for one in compared.primary:
        if one.task == MACRO:
            words = {NO_DEGRADATION: _KEPT, DEGRADATION: _BELOW, INCONCLUSIVE: _OPEN}
            refused = f"no verdict: {'; '.join(one.notes)}"
            bound = one.upper if rail.measure in LOWER_IS_BETTER else one.lower
            reason = refused if one.verdict == REFUSED else words[one.verdict]
            found[one.arm] = Rail(one.difference or 0.0, bound, one.verdict == NO_DEGRADATION, reason)
    return found


def kind_of_bounds(plan: Plan) -> str:
    """What the bounds hold, in words."""
    if len(plan.sweep.seeds) < FEWEST_SEEDS:
        return f"query variation only: {len(plan.sweep.seeds)} of at least {FEWEST_SEEDS} seeds"
    return "seeds and queries crossed, simultaneous over all arms"


def _by_queries(
    scores: Scores, references: Mapping[str, str], rail: Guardrail, group: str
) -> dict[str, Rail]:
    sign = -1.0 if rail.measure in LOWER_IS_BETTER else 1.0
    found = {}
    for arm, reference in references.items():
        try:
            part = contrast(scores, {arm: 1.0, reference: -1.0}, Aim(group, rail.measure)).part
        except Refused as refusal:
            found[arm] = Rail(0.0, None, False, f"no comparison: {refusal}")
            continue
        one = estimate(part)
        bound = one.mean - sign * one.query_half_width(rail.level)
        kept = sign * bound > -rail.margin
        reason = _KEPT if kept else _BELOW if sign * one.mean <= -rail.margin else _OPEN
        found[arm] = Rail(one.mean, bound, kept, reason)
    return found
