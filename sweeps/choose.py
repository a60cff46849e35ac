"""The best configuration by the spec's rule, on the selection sets alone: what is reported never chooses."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow.compute as pc

from hybrid.errors import BadInput
from hybrid.scores import LOWER_IS_BETTER, MEASURES
from sweeps.differences import KIND, Difference, paired_differences
from sweeps.plan import Arm, Plan, Trial
from sweeps.results import Results
from sweeps.tables import points


@dataclass(frozen=True)
class Candidate:
    """One trained arm as the rule sees it. `score` is None where the arm cannot be compared."""

    arm: str
    score: float | None  # in-domain, on the selection sets, mean over seeds
    seeds: dict[str, float] = field(default_factory=dict)  # seed -> the same score
    difference: float | None = None  # guardrail measure, arm minus its reference
    bound: float | None = None  # one-sided bound of that difference, on its bad side
    kept: bool = False
    reason: str = ""  # why it is out, or what keeps it in


@dataclass(frozen=True)
class Choice:
    """The winner, the seed whose model stands for it, and everything that was weighed."""

    arm: str
    seed: int
    rule: str
    statement: str
    guardrail: bool
    measure: str
    tasks: tuple[str, ...]  # the score is measured on
    guardrail_tasks: tuple[str, ...]
    margin: float
    level: float
    candidates: tuple[Candidate, ...]  # best first

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def choose(plan: Plan, results: Results) -> Choice:
    """Best in-domain score among the arms that keep the guardrail, both on the selection sets.

    An arm keeps it if the one-sided bound of its difference to its reference does not reach the margin;
    a reference arm keeps it by definition. Only arms all of whose seeds are complete take part. The model
    that stands for the winner is the seed with the median selection score, not the luckiest.
    Raises BadInput if the spec names no selection sets or no arm is complete.
    """
    sweep = plan.sweep
    rule, rail = sweep.export, sweep.guardrail
    tasks = sweep.evaluate.select_on.in_domain
    rail_tasks = getattr(sweep.evaluate.select_on, rail.group) if rule.guardrail else ()
    where = f"{sweep.path or sweep.name}: evaluate.select_on"
    mistakes = []
    if not tasks:
        mistakes.append(f"{where}.in_domain is empty: there is nothing to choose on; name a selection set.")
    if rule.guardrail and not rail_tasks:
        mistakes.append(
            f"{where}.{rail.group} is empty: the guardrail cannot be checked; name a selection set, "
            "or write `export: {guardrail: false}`."
        )
    if mistakes:
        raise BadInput(mistakes)

    chosen_on = {*tasks, *rail_tasks}
    complete = {
        (one.trial.arm.alias, one.trial.seed)
        for one in results.trials
        if one.trial.train is not None and not chosen_on.intersection(one.missing_tasks)
    }
    scores = _selection_scores(results, rule.maximise, rule.setting)
    rails = _rail_differences(plan, results) if rule.guardrail else {}
    candidates = []
    for arm in plan.arms:
        if arm.untouched:
            continue
        seeds = [t.seed for t in plan.trials_of(arm)]
        done = {s: scores[(arm.alias, s)] for s in seeds if (arm.alias, s) in complete & scores.keys()}
        candidates.append(_candidate(plan, arm, done, len(seeds), rails))
    candidates.sort(key=lambda c: (not c.kept, -_upward(c.score, rule.maximise)))
    if not candidates or not candidates[0].kept:
        reasons = "; ".join(f"{c.arm}: {c.reason}" for c in candidates[:5]) or "the sweep has no trained arm"
        raise BadInput(f"{sweep.name}: no arm can be chosen ({reasons}); `sweeps run` first.")
    winner = candidates[0]
    return Choice(
        arm=winner.arm,
        seed=_median_seed(winner.seeds),
        rule=_rule(plan),
        statement=_statement(plan, candidates),
        guardrail=rule.guardrail,
        measure=rule.maximise,
        tasks=tuple(tasks),
        guardrail_tasks=tuple(rail_tasks),
        margin=rail.margin,
        level=rail.level,
        candidates=tuple(candidates),
    )


def chosen_trial(plan: Plan, choice: Choice) -> Trial:
    return next(t for t in plan.trials if t.arm.alias == choice.arm and t.seed == choice.seed)


def _selection_scores(
    results: Results, measure: str, setting: str | None
) -> dict[tuple[str, int | None], float]:
    """(arm, seed) → mean over in-domain selection tasks and the settings that have the measure."""
    found: dict[tuple[str, int | None], dict[tuple[str, str], float]] = {}
    for row in results.rows("select_in_domain"):
        if row["measure"] == measure and setting in (None, row["setting"]):
            found.setdefault((row["arm"], row["seed"]), {})[(row["task"], row["setting"])] = row["value"]
    return {key: float(np.mean(list(parts.values()))) for key, parts in found.items()}


def _rail_differences(plan: Plan, results: Results) -> dict[str, Difference]:
    """Arm → its difference to its reference on the guardrail's selection sets; mean over sets if several."""
    rail = plan.sweep.guardrail
    group = f"select_{rail.group}"
    scores = results.scores
    if not len(scores):
        return {}
    wanted = pc.and_(pc.equal(scores["group"], group), pc.equal(scores["measure"], rail.measure))
    pairs = [
        (arm.alias, arm.reference)
        for arm in plan.arms
        if not arm.untouched and arm.reference is not None and arm.reference != arm.alias
    ]
    found: dict[str, Difference] = {}
    tasks = plan.sweep.evaluate.groups[group]  # type: ignore[index]
    for one in paired_differences(scores.filter(wanted), pairs, level=1 - 2 * rail.level):
        if one.task == "macro" or len(tasks) == 1:
            before = found.get(one.arm)
            if before is None or before.setting > one.setting:  # several settings: the first by name
                found[one.arm] = one
    return found


def _candidate(
    plan: Plan,
    arm: Arm,
    done: dict[int | None, float],
    planned: int,
    rails: dict[str, Difference],
) -> Candidate:
    rail = plan.sweep.guardrail
    seeds = {str(seed): value for seed, value in done.items()}
    if len(done) < planned:
        return Candidate(arm.alias, None, seeds, reason=f"{len(done)} of {planned} seeds complete")
    score = float(np.mean(list(done.values())))
    if not plan.sweep.export.guardrail:
        return Candidate(arm.alias, score, seeds, kept=True, reason="no guardrail is asked for")
    if arm.reference == arm.alias:
        return Candidate(arm.alias, score, seeds, 0.0, 0.0, True, "it is a reference arm")
    one = rails.get(arm.alias)
    if one is None:
        return Candidate(arm.alias, score, seeds, reason="its reference arm is not complete")
    sign = -1.0 if rail.measure in LOWER_IS_BETTER else 1.0
    bound = one.lower if sign > 0 else one.upper
    if sign * bound > -rail.margin:
        return Candidate(arm.alias, score, seeds, one.difference, bound, True, "it keeps the guardrail")
    below = sign * one.difference <= -rail.margin
    reason = "below the margin" if below else "not shown to be within the margin"
    return Candidate(arm.alias, score, seeds, one.difference, bound, False, reason)


def _upward(score: float | None, measure: str) -> float:
    if score is None:
        return float("-inf")
    return -score if measure in LOWER_IS_BETTER else score


def _median_seed(seeds: dict[str, float]) -> int:
    """The seed with the median score; of two in the middle, the lower."""
    ordered = sorted(seeds, key=lambda seed: (seeds[seed], int(seed)))
    return int(ordered[(len(ordered) - 1) // 2])


def _rule(plan: Plan) -> str:
    rule, rail, on = plan.sweep.export, plan.sweep.guardrail, plan.sweep.evaluate.select_on
    setting = f"the {rule.setting} setting" if rule.setting else "all settings that have it"
    best = "Lowest" if rule.maximise in LOWER_IS_BETTER else "Highest"
    text = (
        f"{best} {MEASURES[rule.maximise]} (mean over {setting} and over seeds) on {', '.join(on.in_domain)}"
    )
    if not rule.guardrail:
        return f"{text}; no guardrail."
    tasks = ", ".join(getattr(on, rail.group))
    return (
        f"{text}, among the arms whose {MEASURES[rail.measure]} on {tasks} is shown not to be worse than "
        f"their reference arm's by {points(rail.margin)} or more (one-sided bound at level "
        f"{rail.level:g}, {KIND}). The seed with the median score stands for the arm."
    )


def _statement(plan: Plan, candidates: list[Candidate]) -> str:
    """What the choice does and does not show, from the candidates alone."""
    winner = candidates[0]
    out = [c for c in candidates if not c.kept and c.score is not None]
    measure = plan.sweep.export.maximise
    ahead = [c for c in out if _upward(c.score, measure) > _upward(winner.score, measure)]
    below = sum(c.reason == "below the margin" for c in ahead)
    text = f"{winner.arm} is chosen: {winner.reason}."
    if ahead:
        reasons = [f"{below} undercut the margin"] if below else []
        reasons += [f"{len(ahead) - below} are not shown to be within it"] if below < len(ahead) else []
        text += f" Of {len(candidates)} arms {len(ahead)} score better in-domain and are out: "
        text += f"{' and '.join(reasons)}."
    return text
