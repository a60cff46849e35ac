"""Does an arm cost retrieval quality? Paired differences to a reference, intervals and verdicts.

    scores = read_scores(table)                        # sweeps.pairing: rows → paired blocks
    comparison = compare(scores, {"hybrid": "mono"}, margin=0.01, level=0.05, measure="ndcg_at_10")
    comparison.verdicts                # a `Verdict` for each arm, task (also "macro") and measure
    comparison.primary                 # those of the declared family
    comparison.of("hybrid", "scifact:test", "ndcg_at_10")

With Δ the true difference (positive is better) and δ the margin, one-sided simultaneous bounds L and U
decide: *no degradation* if L > −δ, *degradation* if U < −δ, else *inconclusive*. At the boundary
Δ = −δ each of the two errors happens, anywhere in a family, with probability at most `level`.
The model is in `sweeps.crossed`, the correction in `sweeps.families`, definitions in docs/method.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from hybrid.scores import LOWER_IS_BETTER, NEITHER_IS_BETTER
from sweeps.crossed import Estimate, estimate
from sweeps.families import simultaneous_level
from sweeps.macro import macro
from sweeps.pairing import FEW_CLUSTERS, FEWEST_CLUSTERS, Block, Paired, Refused, Scores, pair, read_scores
from sweeps.power import Needed, needed

NO_DEGRADATION, DEGRADATION, INCONCLUSIVE, REFUSED = (
    "no_degradation",
    "degradation",
    "inconclusive",
    "refused",
)
MACRO = "macro"


@dataclass(frozen=True)
class Verdict:
    """One comparison. Values are in the measure's own unit; `difference` is arm − reference as it is.

    `lower`, `upper`: simultaneous bounds, each at the one-sided `adjusted_level`, the ones that
    decided; None where refused. `query_only`: with one seed, the bounds at `level` if these trained models
    were the only ones.
    `needed`: for an inconclusive one. `flags` are short names, `notes` their sentences.
    """

    arm: str
    reference: str
    task: str
    group: str
    measure: str
    family: str
    verdict: str
    difference: float | None = None
    lower: float | None = None
    upper: float | None = None
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
class Comparison:
    """All verdicts of one table, and how they were reached."""

    verdicts: tuple[Verdict, ...]
    method: str
    notes: tuple[str, ...] = ()

    @property
    def primary(self) -> tuple[Verdict, ...]:
        return tuple(v for v in self.verdicts if v.family.startswith("primary"))

    def of(
        self, arm: str, task: str = MACRO, measure: str | None = None, group: str | None = None
    ) -> Verdict:
        """The one verdict with these names; KeyError if there is none."""
        for v in self.verdicts:
            if (v.arm, v.task) == (arm, task) and measure in (None, v.measure) and group in (None, v.group):
                return v
        raise KeyError((arm, task, measure, group))


@dataclass(frozen=True)
class _Claim:
    """A comparison on its way to a verdict: either paired, or refused."""

    verdict: Verdict
    paired: Paired | None = None
    estimate: Estimate | None = field(default=None)


def compare(
    table: pa.Table | Scores,
    reference_of: Mapping[str, str],
    *,
    margin: float | Mapping[str, float],
    level: float = 0.05,
    group: str = "zero_shot",
    measure: str | None = None,
    resamples: int = 10_000,
    languages: bool = False,
    besides: Mapping[str, str] | None = None,
) -> Comparison:
    """Verdicts of every arm of `reference_of` (arm → its reference) on every task, group and measure.

    `group` and `measure` declare the primary family: the macro mean over the sets of that group, over
    all arms. Without `measure` every measure has a primary family of its own. Everything else is
    exploratory: per group and measure one family over arms × tasks. A number for `margin` holds for
    fractions, and for a count only where it is the declared measure; a mapping gives each measure its
    own. `languages` adds one family of single language cells per task. `besides` (arm → reference) are
    compared as well, in exploratory families of their own.
    """
    scores = table if isinstance(table, Scores) else read_scores(table)
    pairs = [(arm, ref, "") for arm, ref in reference_of.items() if arm != ref]
    pairs += [(arm, ref, " besides") for arm, ref in (besides or {}).items() if arm != ref]
    groups = dict.fromkeys(block.group for block in scores.blocks)
    measures = {block.measure for block in scores.blocks}
    if group not in groups and len(groups) == 1:
        group = next(iter(groups))
    families: dict[tuple[str, ...], list[_Claim]] = {}
    for g in groups:
        for m in dict.fromkeys(b.measure for b in scores.blocks if b.group == g):
            blocks = [b for b in scores.blocks if (b.group, b.measure) == (g, m)]
            first = g == group and m == (measure or m)
            delta = _margin(margin, m, m == measure or len(measures) == 1)
            for arm, reference, kind in pairs:
                blank = Verdict(arm, reference, "", g, m, "", INCONCLUSIVE, margin=delta, level=level)
                claims = [_claim(scores, b, blank, b.label) for b in blocks]
                macros = _macros(g, group, blocks, claims, blank)
                families.setdefault((f"exploratory{kind}", g, m), []).extend(claims)
                top = "primary" if first and not kind else f"exploratory macro{kind}"
                families.setdefault((top, g, m), []).extend(macros)
                for block in blocks if languages else ():
                    for cell, name in enumerate(block.cell_names):
                        if len(block.cell_names) > 1:
                            claim = _claim(scores, block, blank, f"{block.label}/{name}", cell)
                            key = (f"exploratory language{kind}", g, m, block.label)
                            families.setdefault(key, []).append(claim)
    verdicts = [v for key, claims in families.items() for v in _decide(key, claims, resamples)]
    verdicts.sort(key=lambda v: not v.family.startswith("primary"))
    return Comparison(tuple(verdicts), _method(level, resamples))


def _margin(margin: float | Mapping[str, float], measure: str, declared: bool) -> float | None:
    """The margin of a measure; None where none is declared that fits its unit."""
    if measure in NEITHER_IS_BETTER:
        return None
    if isinstance(margin, Mapping):
        return margin.get(measure)
    return margin if declared or measure not in LOWER_IS_BETTER else None


def _claim(scores: Scores, block: Block, blank: Verdict, label: str, cell: int | None = None) -> _Claim:
    verdict = replace(blank, task=label)
    if blank.reference not in scores.arms:
        reason = f"the reference arm {blank.reference} has no scores: nothing to compare with"
        return _Claim(replace(verdict, verdict=REFUSED, flags=("missing_reference",), notes=(reason,)))
    try:
        paired = pair(scores, block, {blank.arm: 1.0, blank.reference: -1.0}, cell=cell)
    except Refused as refusal:
        return _Claim(replace(verdict, verdict=REFUSED, flags=(refusal.flag,), notes=(refusal.reason,)))
    return _measured(verdict, paired)


def _measured(verdict: Verdict, paired: Paired) -> _Claim:
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

    def refuse(flag: str, reason: str) -> _Claim:
        refused = replace(
            verdict, verdict=REFUSED, flags=(*verdict.flags, flag), notes=(*verdict.notes, reason)
        )
        return _Claim(refused, paired)

    few = e.fewest_clusters
    if few < (2 if verdict.task.startswith(MACRO) else FEWEST_CLUSTERS):
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
        bounds = e.query_half_width(verdict.level or 0.05)
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
    return _Claim(verdict, paired, e)


def _macros(
    g: str, primary: str, blocks: Sequence[Block], claims: Sequence[_Claim], blank: Verdict
) -> list[_Claim]:
    """The macro mean of a group's sets; outside the primary group one per setting."""
    settings = [None] if g == primary else list(dict.fromkeys(b.setting for b in blocks))
    out = []
    for setting in settings:
        chosen = [i for i, b in enumerate(blocks) if g == primary or b.setting == setting]
        suffix = "" if setting in (None, "beir") else f"/{setting}"
        label = MACRO if g == primary else f"{MACRO}/{g}{suffix}"
        out.append(
            _macro([blocks[i] for i in chosen], [claims[i] for i in chosen], replace(blank, task=label))
        )
    return out


def _macro(blocks: Sequence[Block], claims: Sequence[_Claim], blank: Verdict) -> _Claim:
    """The macro over sets taken as fixed; refused if a set is missing, for the mean would be another."""
    if bad := [claim.verdict for claim in claims if claim.paired is None]:
        flags = dict.fromkeys(flag for v in bad for flag in v.flags)
        notes = tuple(f"{v.task}: {note}" for v in bad for note in v.notes)
        return _Claim(replace(blank, verdict=REFUSED, flags=tuple(flags), notes=notes))
    try:
        return _measured(blank, macro(blocks, [claim.paired for claim in claims if claim.paired]))
    except Refused as refusal:
        return _Claim(replace(blank, verdict=REFUSED, flags=(refusal.flag,), notes=(refusal.reason,)))


def _decide(family: tuple[str, ...], claims: Sequence[_Claim], resamples: int) -> list[Verdict]:
    """Bounds at the family's common level, and what follows from them."""
    name = f"{family[0]}: {' '.join(family[1:])}"
    verdicts = [replace(c.verdict, family=name) for c in claims if c.estimate is None]
    parts = [c.paired.part for c in claims if c.estimate and c.paired]
    estimates = [c.estimate for c in claims if c.estimate]
    if not estimates:
        return verdicts
    adjusted = simultaneous_level(parts, estimates, claims[0].verdict.level or 0.05, resamples)
    for claim in claims:
        if (e := claim.estimate) is None:
            continue
        width = e.half_width(adjusted)
        v = replace(
            claim.verdict,
            family=name,
            lower=e.mean - width,
            upper=e.mean + width,
            adjusted_level=adjusted,
            n_comparisons=len(estimates),
            se=e.standard_error,
            se_seed=float(np.sqrt(e.var_seed)),
            se_query=float(np.sqrt(e.var_query)),
            df=e.df,
        )
        if e.replicated and not e.constant and width < 0.9 * e.query_half_width(adjusted):
            note = "the seeds agree more closely than the noise within them would have it, by luck"
            v = replace(v, flags=(*v.flags, "seeds_agree"), notes=(*v.notes, note))
        verdicts.append(_judge(v, e))
    return verdicts


def _judge(v: Verdict, e: Estimate) -> Verdict:
    """Apply the margin to the bounds that are printed."""
    if v.margin is None or v.lower is None or v.upper is None or v.adjusted_level is None:
        reason = f"no margin is declared in the unit of {v.measure}: an interval, but no verdict"
        return replace(v, verdict=REFUSED, flags=(*v.flags, "no_margin"), notes=(*v.notes, reason))
    sign = -1 if v.measure in LOWER_IS_BETTER else 1
    lower, upper = sorted((sign * v.lower, sign * v.upper))
    flags = v.flags
    if lower > -v.margin:
        verdict = NO_DEGRADATION
        if upper < 0:
            flags = (*flags, "lower_within_margin")
    else:
        verdict = DEGRADATION if upper < -v.margin else INCONCLUSIVE
    if verdict == INCONCLUSIVE and upper < 0:
        flags = (*flags, "lower")
    more = needed(e, sign * e.mean + v.margin, v.adjusted_level) if verdict == INCONCLUSIVE else None
    return replace(v, verdict=verdict, flags=flags, needed=more)


def _method(level: float, resamples: int) -> str:
    return (
        "Paired differences to the reference, same seed and query; seeds and query clusters crossed; "
        f"one-sided bounds that hold together for a family at level {level:g} (single-step max-T, "
        f"{resamples} draws of the query clusters, never below Bonferroni); macro means over sets as fixed. "
        "Claims are about the named sets."
    )
