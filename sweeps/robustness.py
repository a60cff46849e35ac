"""Does the answer hang on one set, one seed, one language, or on which trials failed?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from sweeps.crossed import estimate
from sweeps.degradation import Comparison, Verdict
from sweeps.macro import Aim, contrast
from sweeps.pairing import Refused, Scores, in_order
from sweeps.score_rows import set_of


@dataclass(frozen=True)
class LeftOut:
    """The macro difference without one set, bounds at the level given; None where refused."""

    without: str
    difference: float | None
    lower: float | None
    upper: float | None
    note: str = ""


@dataclass(frozen=True)
class Best:
    """The arm with the best mean, its mean on the seeds that chose it, and an honest one.

    `reestimated`: every seed in turn is held out, the others choose, and the held-out one measures;
    None with fewer than two seeds. `chosen`: how many of the held-out rounds chose the same arm.
    """

    arm: str
    mean: float
    reestimated: float | None
    chosen: int
    rounds: int


@dataclass(frozen=True)
class Balance:
    """Failures per arm, and the probability of an imbalance as great if no arm were more prone.

    Null hypothesis: failures fall on arms at random, given their number. Exact (Fisher) for two arms,
    else by 9,999 permutations: (1 + hits)/(1 + n), statistic Pearson's χ².
    """

    failed: Mapping[str, int]
    trials: Mapping[str, int]
    p: float | None


def leave_one_set_out(
    scores: Scores, arm: str, reference: str, aim: Aim, *, level: float
) -> tuple[LeftOut, ...]:
    """The macro difference without each set in turn; empty where there is only one set."""
    sets = list(dict.fromkeys(set_of(block.task) for block in aim.blocks(scores)))
    out = []
    for name in sets if len(sets) > 1 else ():
        try:
            e = estimate(contrast(scores, {arm: 1.0, reference: -1.0}, replace(aim, without=name)).part)
        except Refused as refusal:
            out.append(LeftOut(name, None, None, None, refusal.reason))
            continue
        if e.replicated and e.seeds < 2:
            out.append(LeftOut(name, e.mean, None, None, "one seed"))
        else:
            width = e.half_width(level)
            out.append(LeftOut(name, e.mean, e.mean - width, e.mean + width))
    return tuple(out)


def worst_cell(comparison: Comparison, arm: str, task: str, measure: str) -> Verdict | None:
    """The language cell of a task where an arm loses most, from `compare(…, languages=True)`.

    Its bounds hold together with those of all other cells, so that picking the worst is allowed for.
    """
    sign = Aim(measure=measure).sign
    cells = [
        v
        for v in comparison.verdicts
        if v.family.startswith("exploratory language") and (v.arm, v.measure) == (arm, measure)
        if v.task.startswith(f"{task}/") and v.difference is not None
    ]
    return min(cells, key=lambda v: sign * (v.difference or 0.0), default=None)


def best_arm(scores: Scores, arms: Sequence[str], aim: Aim) -> Best | None:
    """The best arm on its common seeds, re-estimated on seeds that did not choose it; None without scores."""
    paired = {}
    for arm in arms:
        try:
            paired[arm] = contrast(scores, {arm: 1.0}, aim)
        except Refused:
            continue
    if not paired:
        return None
    shared = in_order(set.intersection(*(set(p.seeds) for p in paired.values())))
    names = list(paired)
    if not shared:
        means = np.array([p.part.per_seed.mean() for p in paired.values()])
        top = int(np.argmax(aim.sign * means))
        return Best(names[top], float(means[top]), None, 0, 0)
    values = np.array([[p.part.per_seed[p.seeds.index(s)] for s in shared] for p in paired.values()])
    top = int(np.argmax(aim.sign * values.mean(axis=1)))
    if len(shared) < 2:
        return Best(names[top], float(values[top].mean()), None, 0, 0)
    others = (values.sum(axis=1, keepdims=True) - values) / (len(shared) - 1)  # (arms, seeds)
    picks = np.argmax(aim.sign * others, axis=0)
    honest = float(values[picks, np.arange(len(shared))].mean())
    return Best(names[top], float(values[top].mean()), honest, int((picks == top).sum()), len(shared))


def failure_balance(failed: Mapping[str, int], trials: Mapping[str, int], *, seed: int = 0) -> Balance:
    """Whether failures gather in some arms, which would make what is left a selection."""
    arms = list(trials)
    lost = np.array([failed.get(arm, 0) for arm in arms])
    total = np.array([trials[arm] for arm in arms])
    if lost.sum() in (0, total.sum()) or len(arms) < 2:
        return Balance(dict(failed), dict(trials), None)
    if len(arms) == 2:
        p = float(stats.fisher_exact(np.array([lost, total - lost])).pvalue)
        return Balance(dict(failed), dict(trials), p)
    expected = total * lost.sum() / total.sum()
    draws = np.random.default_rng(seed).multivariate_hypergeometric(total, int(lost.sum()), 9999)
    observed = ((lost - expected) ** 2 / expected).sum()
    hits = int((((draws - expected) ** 2 / expected).sum(axis=1) >= observed - 1e-9).sum())
    return Balance(dict(failed), dict(trials), (1 + hits) / (1 + 9999))
