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
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from hybrid.scores import LOWER_IS_BETTER, NEITHER_IS_BETTER
from sweeps.claims import (
    DEGRADATION,
    INCONCLUSIVE,
    MACRO,
    NO_DEGRADATION,
    REFUSED,
    TAIL,
    Claim,
    Verdict,
    claim,
    language_claims,
    macro_claims,
)
from sweeps.crossed import Estimate
from sweeps.families import simultaneous_levels
from sweeps.pairing import Scores, read_scores
from sweeps.power import needed

__all__ = [
    "DEGRADATION",
    "INCONCLUSIVE",
    "MACRO",
    "NO_DEGRADATION",
    "REFUSED",
    "Comparison",
    "Verdict",
    "compare",
]


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
    fewest_seeds: int = 2,
) -> Comparison:
    """Verdicts of every arm of `reference_of` (arm → its reference) on every task, group and measure.

    `group` and `measure` declare the primary family: the macro mean over the sets of that group, over
    all arms. Without `measure` every measure has a primary family of its own. Everything else is
    exploratory: per group and measure one family over arms × tasks. A number for `margin` holds for
    fractions, and for a count only where it is the declared measure; a mapping gives each measure its
    own. `languages` adds one family of single language cells per task. `besides` (arm → reference) are
    compared as well, in exploratory families of their own. With fewer than `fewest_seeds` seeds the bounds
    are given and the verdict is refused.
    """
    scores = table if isinstance(table, Scores) else read_scores(table)
    pairs = [(arm, ref, "") for arm, ref in reference_of.items() if arm != ref]
    pairs += [(arm, ref, " besides") for arm, ref in (besides or {}).items() if arm != ref]
    groups = dict.fromkeys(block.group for block in scores.blocks)
    measures = {block.measure for block in scores.blocks}
    if group not in groups and len(groups) == 1:
        group = next(iter(groups))
    families: dict[tuple[str, ...], list[Claim]] = {}
    for g in groups:
        for m in dict.fromkeys(b.measure for b in scores.blocks if b.group == g):
            blocks = [b for b in scores.blocks if (b.group, b.measure) == (g, m)]
            first = g == group and m == (measure or m)
            delta = _margin(margin, m, m == measure or len(measures) == 1)
            for arm, reference, kind in pairs:
                blank = Verdict(arm, reference, "", g, m, "", INCONCLUSIVE, margin=delta, level=level)
                claims = [claim(scores, b, replace(blank, setting=b.setting), b.label) for b in blocks]
                macros = macro_claims(g, group, blocks, claims, blank)
                families.setdefault((f"exploratory{kind}", g, m), []).extend(claims)
                top = "primary" if first and not kind else f"exploratory macro{kind}"
                families.setdefault((top, g, m), []).extend(macros)
                for block in blocks if languages else ():
                    key = (f"exploratory language{kind}", g, m, block.label)
                    families.setdefault(key, []).extend(language_claims(scores, block, blank))
    verdicts = [v for key, claims in families.items() for v in _decide(key, claims, resamples, fewest_seeds)]
    verdicts.sort(key=lambda v: not v.family.startswith("primary"))
    return Comparison(tuple(verdicts), _method(level, resamples), scores.notes)


def _margin(margin: float | Mapping[str, float], measure: str, declared: bool) -> float | None:
    """The margin of a measure; None where none is declared that fits its unit."""
    if measure in NEITHER_IS_BETTER:
        return None
    if isinstance(margin, Mapping):
        return margin.get(measure)
    return margin if declared or measure not in LOWER_IS_BETTER else None


def _decide(
    family: tuple[str, ...], claims: Sequence[Claim], resamples: int, fewest_seeds: int
) -> list[Verdict]:
    """Bounds at the family's common level, and what follows from them."""
    name = f"{family[0]}: {' '.join(family[1:])}"
    verdicts = [replace(c.verdict, family=name) for c in claims if c.estimate is None]
    parts = [c.paired.part for c in claims if c.estimate and c.paired]
    estimates = [c.estimate for c in claims if c.estimate]
    if not estimates:
        return verdicts
    level = claims[0].verdict.level or 0.05
    fewest, adjusted, most = simultaneous_levels(parts, estimates, level, resamples)
    for one in claims:
        if (e := one.estimate) is None:
            continue
        stated = replace(
            one.verdict,
            family=name,
            interval=(e.mean - e.half_width(TAIL), e.mean + e.half_width(TAIL)),
            n_comparisons=len(estimates),
            se=e.standard_error,
            se_seed=float(np.sqrt(e.var_seed)),
            se_query=float(np.sqrt(e.var_query)),
            df=e.df,
        )
        if e.replicated and not e.constant and e.half_width(adjusted) < 0.9 * e.query_half_width(adjusted):
            note = "the seeds agree more closely than the noise within them would have it, by luck"
            stated = replace(stated, flags=(*stated.flags, "seeds_agree"), notes=(*stated.notes, note))
        v = _judge(stated, e, adjusted)
        if e.replicated and e.seeds < fewest_seeds and v.verdict != REFUSED:
            reason = f"{e.seeds} seeds are too few for a verdict here; at least {fewest_seeds} are needed"
            flags, notes = (*v.flags, "few_seeds"), (*v.notes, reason)
            v = replace(v, verdict=REFUSED, needed=None, flags=flags, notes=notes)
        verdicts.append(_steady(v, [_judge(stated, e, other) for other in (fewest, most)]))
    return verdicts


def _steady(v: Verdict, drawn: Sequence[Verdict]) -> Verdict:
    """Without the flags that other random draws behind the common level would not give, and with one where
    they would turn the verdict."""
    if v.verdict == REFUSED:
        return v
    v = replace(v, flags=tuple(flag for flag in v.flags if all(flag in one.flags for one in drawn)))
    if all(one.verdict == v.verdict for one in drawn):
        return v
    note = "its bound lies so near the margin that other random draws behind it could turn the verdict"
    return replace(v, flags=(*v.flags, "near_margin"), notes=(*v.notes, note))


def _judge(v: Verdict, e: Estimate, adjusted: float) -> Verdict:
    """Bounds at the adjusted level, which are printed, and the margin applied to them."""
    width = e.half_width(adjusted)
    v = replace(v, lower=e.mean - width, upper=e.mean + width, adjusted_level=adjusted)
    if v.margin is None:
        reason = f"no margin is declared in the unit of {v.measure}: an interval, but no verdict"
        return replace(v, verdict=REFUSED, flags=(*v.flags, "no_margin"), notes=(*v.notes, reason))
    sign = -1 if v.measure in LOWER_IS_BETTER else 1
    lower, upper = sign * e.mean - width, sign * e.mean + width
    flags = v.flags
    if lower > -v.margin:
        verdict = NO_DEGRADATION
        if upper < 0:
            flags = (*flags, "lower_within_margin")
    else:
        verdict = DEGRADATION if upper < -v.margin else INCONCLUSIVE
    if verdict == INCONCLUSIVE and upper < 0:
        flags = (*flags, "lower")
    more = needed(e, sign * e.mean + v.margin, adjusted) if verdict == INCONCLUSIVE else None
    return replace(v, verdict=verdict, flags=flags, needed=more)


def _method(level: float, resamples: int) -> str:
    return (
        "Paired differences to the reference, same seed and query; seeds and query clusters crossed; "
        f"one-sided bounds that hold together for a family at level {level:g} (single-step max-T, "
        f"{resamples} draws of the query clusters, never below Bonferroni); macro means over sets as fixed. "
        "Claims are about the named sets."
    )
