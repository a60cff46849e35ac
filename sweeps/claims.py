"""Comparisons on their way to a verdict: paired and measured, or refused with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hybrid.scores import LOWER_IS_BETTER
from sweeps.crossed import Estimate, estimate
from sweeps.macro import macro
from sweeps.pairing import FEW_CLUSTERS, FEWEST_CLUSTERS, Block, Paired, Refused, Scores, pair
from sweeps.power import Needed

NO_DEGRADATION, DEGRADATION, INCONCLUSIVE, REFUSED = (
    "no_degradation",
    "degradation",
    "inconclusive",
    "refused",
)
MACRO = "macro"
TAIL = 0.025
"""Of each side of a 95% interval."""


@dataclass(frozen=True)
class Verdict:
    """One comparison. Values are in the measure's own unit; `difference` is arm − reference as it is.

    `lower`, `upper`: simultaneous bounds, each at the one-sided `adjusted_level`, the ones that
    decided. `interval`: the 95% interval of this comparison by itself. None where refused.
    `query_only`: with one seed, the 95% interval if these trained models were the only ones.
    `task` is a label; `setting` and the two languages say what was compared, None where several.
    `needed`: for an inconclusive one. `flags` are short names, `notes` their sentences.
    """

    arm: str
    reference: str
    task: str
    group: str
    measure: str
    family: str
    verdict: str
    setting: str | None = None
    query_lang: str | None = None
    doc_lang: str | None = None
    difference: float | None = None
    lower: float | None = None
    upper: float | None = None
    interval: tuple[float, float] | None = None
    relative: float | None = None
    arm_mean: float | None = None
    reference_mean: float | None = None
    margin: float | None = None
    level: float | None = None
    adjusted_level: float | None = None
    n_comparisons: int | None = None
    n_seeds: int | None = None
    n_queries: int | None = None
    n_clusters: int | None = None
    se: float | None = None
    se_seed: float | None = None
    se_query: float | None = None
    df: float | None = None
    per_seed: tuple[float, ...] = ()
    query_only: tuple[float, float] | None = None
    needed: Needed | None = None
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A comparison on its way to a verdict: either paired, or refused."""

    verdict: Verdict
    paired: Paired | None = None
    estimate: Estimate | None = field(default=None)


def language_claims(scores: Scores, block: Block, blank: Verdict) -> list[Claim]:
    """A claim for each language, or pair of languages, of a block that has several."""
    claims = []
    for cell, (query, doc) in enumerate(block.languages if len(block.languages) > 1 else ()):
        verdict = replace(blank, setting=block.setting, query_lang=query, doc_lang=doc)
        name = "-".join(language for language in (query, doc) if language)
        claims.append(claim(scores, block.only(cell), verdict, f"{block.label}/{name}"))
    return claims


def claim(scores: Scores, block: Block, blank: Verdict, label: str) -> Claim:
    verdict = replace(blank, task=label)
    if blank.reference not in scores.arms:
        reason = f"the reference arm {blank.reference} has no scores: nothing to compare with"
        return Claim(replace(verdict, verdict=REFUSED, flags=("missing_reference",), notes=(reason,)))
    try:
        paired = pair(scores, block, {blank.arm: 1.0, blank.reference: -1.0})
    except Refused as refusal:
        return Claim(replace(verdict, verdict=REFUSED, flags=(refusal.flag,), notes=(refusal.reason,)))
    return _measured(verdict, paired)


def _measured(verdict: Verdict, paired: Paired) -> Claim:
    """Fill in what was measured; refuse what no interval can be given for."""
    e = estimate(paired.part)
    mean = paired.means[verdict.reference]
    verdict = replace(
        verdict,
        difference=e.mean,
        relative=e.mean / mean if mean else None,
        arm_mean=paired.means[verdict.arm],
        reference_mean=mean,
        n_seeds=e.seeds if e.replicated else 0,
        n_queries=paired.queries,
        n_clusters=e.clusters,
        per_seed=tuple(float(v) for v in paired.part.per_seed),
        flags=verdict.flags + paired.flags,
        notes=verdict.notes + paired.notes,
    )

    def refuse(flag: str, reason: str) -> Claim:
        refused = replace(
            verdict, verdict=REFUSED, flags=(*verdict.flags, flag), notes=(*verdict.notes, reason)
        )
        return Claim(refused, paired)

    few = e.fewest_clusters
    if verdict.task.startswith(MACRO) and few > 1:  # a small set counts in a mean that has queries enough
        enough, few = e.clusters >= FEWEST_CLUSTERS, min(few, e.clusters)
    else:
        enough = few >= FEWEST_CLUSTERS
    if not enough:
        return refuse("handful_of_queries", f"{few} independent queries: too few for an interval")
    if few < FEW_CLUSTERS:
        verdict = replace(
            verdict,
            flags=(*verdict.flags, "few_queries"),
            notes=(
                *verdict.notes,
                f"only {few} independent queries in a set: the interval leans on normality",
            ),
        )
    if e.constant and verdict.measure in LOWER_IS_BETTER:
        return refuse(
            "no_variation", "every seed and query shows the same difference, and its range is unknown"
        )
    if not e.replicated:
        verdict = replace(
            verdict,
            flags=(*verdict.flags, "fixed_models"),
            notes=(
                *verdict.notes,
                "neither side was trained here: query variation only, of these two models",
            ),
        )
    elif e.seeds == 1:
        bounds = e.query_half_width(TAIL)
        verdict = replace(
            verdict, query_only=(e.mean - bounds, e.mean + bounds), se_query=float(e.var_between**0.5)
        )
        return refuse(
            "one_seed", "one seed: nothing is known of how seeds vary, so no verdict; run at least 3"
        )
    elif e.constant:
        word = "equals the reference" if e.mean == 0 else "differs by one constant"
        verdict = replace(
            verdict,
            flags=(*verdict.flags, "no_variation"),
            notes=(
                *verdict.notes,
                f"every seed and query {word}: bounds by the rule of three; check the arm",
            ),
        )
    elif np.ptp(paired.part.contributions, axis=0).max() < 1e-12 and np.ptp(paired.part.per_seed) < 1e-12:
        verdict = replace(
            verdict,
            flags=(*verdict.flags, "identical_seeds"),
            notes=(*verdict.notes, "all seeds have the same scores: they are copies, not replicates"),
        )
    elif e.seeds == 2:
        verdict = replace(verdict, flags=(*verdict.flags, "two_seeds"))
    return Claim(verdict, paired, e)


def macro_claims(
    g: str, primary: str, blocks: Sequence[Block], claims: Sequence[Claim], blank: Verdict
) -> list[Claim]:
    """The macro mean of a group's sets; outside the primary group one per setting."""
    settings = [None] if g == primary else list(dict.fromkeys(b.setting for b in blocks))
    out = []
    for setting in settings:
        chosen = [i for i, b in enumerate(blocks) if g == primary or b.setting == setting]
        suffix = "" if setting in (None, "beir") else f"/{setting}"
        label = MACRO if g == primary else f"{MACRO}/{g}{suffix}"
        own = {blocks[i].setting for i in chosen}
        verdict = replace(blank, task=label, setting=own.pop() if len(own) == 1 else None)
        out.append(_macro([blocks[i] for i in chosen], [claims[i] for i in chosen], verdict))
    return out


def _macro(blocks: Sequence[Block], claims: Sequence[Claim], blank: Verdict) -> Claim:
    """The macro over sets taken as fixed; refused if a set is missing, for the mean would be another."""
    if bad := [claim.verdict for claim in claims if claim.paired is None]:
        flags = dict.fromkeys(flag for v in bad for flag in v.flags)
        notes = tuple(f"{v.task}: {note}" for v in bad for note in v.notes)
        if len(bad) == len(blocks) and len({v.notes for v in bad}) == 1:  # the same of every set
            notes = bad[0].notes
        return Claim(replace(blank, verdict=REFUSED, flags=tuple(flags), notes=notes))
    try:
        return _measured(blank, macro(blocks, [claim.paired for claim in claims if claim.paired]))
    except Refused as refusal:
        return Claim(replace(blank, verdict=REFUSED, flags=(refusal.flag,), notes=(refusal.reason,)))
