"""Every comparison of a sweep in one: arms with their references, references with their untouched backbone.

The report, tracking and `sweeps verdict --spec` all read from here, so that none says what another does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sweeps.arms import Arm
from sweeps.degradation import Comparison, compare
from sweeps.pairing import Scores, read_scores
from sweeps.plan import Plan
from sweeps.results import HEADLINE, REPORTED, Results
from sweeps.spec_sections import Guardrail

FEWEST_SEEDS = 3
"""With two seeds one degree of freedom makes bounds of tens of points, or luck makes them narrow."""


@dataclass(frozen=True)
class Judged:
    """The reported scores as paired blocks, arm → reference, and all verdicts."""

    scores: Scores
    references: Mapping[str, str]
    comparison: Comparison


def judge(plan: Plan, results: Results, *, languages: bool = False) -> Judged | None:
    """Compare the arms that have scores; None where there is nothing to compare. `languages`: single
    languages and pairs of them too."""
    table = _reported(plan, results)
    if not table.num_rows:
        return None
    scores = read_scores(table)
    arms = [arm for arm in plan.arms if arm.alias in scores.arms]
    comparison = compare_arms(scores, arms, plan.sweep.guardrail, languages=languages)
    return Judged(scores, references_of(arms), comparison)


def references_of(arms: Sequence[Arm]) -> dict[str, str]:
    """Arm → reference, of those that have one other than themselves."""
    return {a.alias: a.reference for a in arms if a.reference and a.reference != a.alias}


def compare_arms(
    scores: Scores, arms: Sequence[Arm], rail: Guardrail, *, languages: bool = False
) -> Comparison:
    """The verdicts that a guardrail and references declare. A reference arm is itself set against its
    untouched backbone where the scores have it, as exploratory."""
    untouched = {arm.backbone: arm.alias for arm in arms if arm.untouched and arm.alias in scores.arms}
    besides = {
        arm.alias: untouched[arm.backbone]
        for arm in arms
        if arm.reference == arm.alias and arm.alias in scores.arms and arm.backbone in untouched
    }
    return compare(
        scores,
        references_of(arms),
        margin=rail.margin,
        level=rail.level,
        group=rail.group,
        measure=rail.measure,
        languages=languages,
        besides=besides,
        fewest_seeds=FEWEST_SEEDS,
    )


def _reported(plan: Plan, results: Results) -> pa.Table:
    """Rows of the reporting groups: the headline measures, and the guardrail's in its group."""
    scores, rail = results.scores, plan.sweep.guardrail
    keep = pc.and_(pc.equal(scores["group"], rail.group), pc.equal(scores["measure"], rail.measure))
    for setting, measures in HEADLINE.items():
        headline = pc.is_in(scores["measure"], pa.array(measures))
        keep = pc.or_(keep, pc.and_(pc.equal(scores["setting"], setting), headline))
    return scores.filter(pc.and_(keep, pc.is_in(scores["group"], pa.array(REPORTED))))
