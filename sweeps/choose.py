"""The best configuration by the spec's rule, on the selection sets alone: what is reported never chooses."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from hybrid.errors import BadInput
from hybrid.scores import LOWER_IS_BETTER, MEASURES
from sweeps.axis_words import value_words
from sweeps.guardrail import Rail, guardrails, kind_of_bounds
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
    zero_shot: float | None = None  # the guardrail's measure on its selection sets, mean over seeds and sets


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
    title: str = "champion"  # its alias in the model registry, and its folder where there are several

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def choose(plan: Plan, results: Results) -> Choice:
    """Best in-domain score among the arms that keep the guardrail, both on the selection sets.

    An arm keeps it if it is shown there not to degrade: the simultaneous bound of its difference to its
    reference does not reach the margin; with fewer than 3 seeds, the bound of query variation alone. A
    reference arm keeps it by definition. Only arms all of whose seeds are complete take part. The model
    that stands for the winner is the seed with the median selection score, not the luckiest.
    Raises BadInput if the spec names no selection sets or no arm is complete.
    """
    candidates = _candidates(plan, results)
    return _choice(plan, candidates, _best(candidates, plan.sweep.name), "champion")


def choose_each(plan: Plan, results: Results, axis: str) -> list[Choice]:
    """The winner among the arms of each value of an axis, by the same rule. Raises BadInput as `choose`."""
    values = plan.sweep.axes.get(axis)
    if values is None:
        raise BadInput(
            f"--each {axis}: is no axis of {plan.sweep.name}; its axes: {', '.join(plan.sweep.axes)}"
        )
    candidates = _candidates(plan, results)
    found = []
    for value in values:
        own = [c for c in candidates if plan.arm(c.arm).axes[axis] == value]
        title = slug(f"champion-{value}" if isinstance(value, str) else f"champion-{axis}-{value}")
        where = f"{axis} {value_words(axis, value)}"
        found.append(_choice(plan, own, _best(own, where), title, where))
    return found


def choose_front(plan: Plan, results: Results) -> list[Choice]:
    """Every arm that no other beats in both the in-domain score and the guardrail's measure, on the selection
    sets, whether it keeps the guardrail or not. Raises BadInput as `choose`."""
    candidates = _candidates(plan, results)
    measure = plan.sweep.export.maximise
    points_of = {
        c.arm: (_upward(c.score, measure), c.zero_shot)
        for c in candidates
        if c.score is not None and c.zero_shot is not None
    }
    if not points_of:
        raise BadInput(
            f"{plan.sweep.name}: no arm is complete on both groups of selection sets; run it first"
        )

    def beaten(arm: str) -> bool:
        mine = points_of[arm]
        return any(
            all(o >= m for o, m in zip(other, mine, strict=True)) and other != mine
            for other in points_of.values()
        )

    front = [c for c in candidates if c.arm in points_of and not beaten(c.arm)]
    return [_choice(plan, candidates, one, slug(f"front-{one.arm}"), front=len(front)) for one in front]


def slug(text: str) -> str:
    """`text` as a folder's name and an alias of MLflow's registry: letters, digits and dashes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def _candidates(plan: Plan, results: Results) -> list[Candidate]:
    """Every trained arm as the rule sees it, best first."""
    sweep = plan.sweep
    rule, rail = sweep.export, sweep.guardrail
    tasks = sweep.evaluate.select_on.in_domain
    rail_tasks = _rail_tasks(plan)
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

    chosen_on = {*tasks, *(rail_tasks if rule.guardrail else ())}
    complete = {
        (one.trial.arm.alias, one.trial.seed)
        for one in results.trials
        if one.trial.train is not None and not chosen_on.intersection(one.missing_tasks)
    }
    failed: dict[str, int] = {}
    for one in results.trials:
        failed[one.trial.arm.alias] = failed.get(one.trial.arm.alias, 0) + (one.state == "failed")
    scores = _selection_scores(results, "select_in_domain", rule.maximise, rule.setting)
    zero_shot = _selection_scores(results, f"select_{rail.group}", rail.measure, None)
    rails = guardrails(plan, results) if rule.guardrail else {}
    candidates = []
    for arm in plan.arms:
        if arm.untouched:
            continue
        seeds = [t.seed for t in plan.trials_of(arm)]
        done = {s: scores[(arm.alias, s)] for s in seeds if (arm.alias, s) in complete & scores.keys()}
        candidate = _candidate(plan, arm, done, len(seeds), rails, failed[arm.alias])
        other = [zero_shot[(arm.alias, s)] for s in done if (arm.alias, s) in zero_shot]
        if candidate.score is not None and len(other) == len(done):
            candidate = replace(candidate, zero_shot=float(np.mean(other)))
        candidates.append(candidate)
    return sorted(candidates, key=lambda c: (not c.kept, -_upward(c.score, rule.maximise)))


def _rail_tasks(plan: Plan) -> Sequence[str]:
    tasks: Sequence[str] = getattr(plan.sweep.evaluate.select_on, plan.sweep.guardrail.group)
    return tasks


def _best(candidates: Sequence[Candidate], among: str) -> Candidate:
    if not candidates or not candidates[0].kept:
        reasons = "; ".join(f"{c.arm}: {c.reason}" for c in candidates[:5]) or "the sweep has no trained arm"
        raise BadInput(f"{among}: no arm can be chosen ({reasons}); `sweeps run` first.")
    return candidates[0]


def _choice(
    plan: Plan,
    candidates: Sequence[Candidate],
    winner: Candidate,
    title: str,
    among: str = "",
    front: int = 0,
) -> Choice:
    rule, rail = plan.sweep.export, plan.sweep.guardrail
    return Choice(
        arm=winner.arm,
        seed=_median_seed(winner.seeds),
        rule=_front_rule(plan)
        if front
        else _rule(plan) + (f" Among the arms with {among}." if among else ""),
        statement=_front_statement(plan, winner, front) if front else _statement(plan, candidates),
        guardrail=rule.guardrail,
        measure=rule.maximise,
        tasks=tuple(plan.sweep.evaluate.select_on.in_domain),
        guardrail_tasks=tuple(_rail_tasks(plan) if rule.guardrail or front else ()),
        margin=rail.margin,
        level=rail.level,
        candidates=tuple(candidates),
        title=title,
    )


def chosen_trial(plan: Plan, choice: Choice) -> Trial:
    return next(t for t in plan.trials if t.arm.alias == choice.arm and t.seed == choice.seed)


def _selection_scores(
    results: Results, group: str, measure: str, setting: str | None
) -> dict[tuple[str, int | None], float]:
    """(arm, seed) → mean over a group's selection tasks and the settings that have the measure."""
    found: dict[tuple[str, int | None], dict[tuple[str, str], float]] = {}
    for row in results.rows(group):
        if row["measure"] == measure and setting in (None, row["setting"]):
            found.setdefault((row["arm"], row["seed"]), {})[(row["task"], row["setting"])] = row["value"]
    return {key: float(np.mean(list(parts.values()))) for key, parts in found.items()}


def _candidate(
    plan: Plan,
    arm: Arm,
    done: dict[int | None, float],
    planned: int,
    rails: dict[str, Rail],
    failed: int,
) -> Candidate:
    seeds = {str(seed): value for seed, value in done.items()}
    if len(done) < planned:
        reason = f"{len(done)} of {planned} seeds complete" + (f", {failed} failed" if failed else "")
        return Candidate(arm.alias, None, seeds, reason=reason)
    score = float(np.mean(list(done.values())))
    if not plan.sweep.export.guardrail:
        return Candidate(arm.alias, score, seeds, kept=True, reason="no guardrail is asked for")
    if arm.reference == arm.alias:
        return Candidate(arm.alias, score, seeds, 0.0, 0.0, True, "it is a reference arm")
    one = rails.get(arm.alias)
    if one is None:
        return Candidate(arm.alias, score, seeds, reason="its reference arm is not complete")
    return Candidate(arm.alias, score, seeds, one.difference, one.bound, one.kept, one.reason)


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
        f"{rail.level:g}, {kind_of_bounds(plan)}). The seed with the median score stands for the arm."
    )


def _front_rule(plan: Plan) -> str:
    rule, rail, on = plan.sweep.export, plan.sweep.guardrail, plan.sweep.evaluate.select_on
    return (
        f"The Pareto front of {MEASURES[rule.maximise]} on {', '.join(on.in_domain)} and "
        f"{MEASURES[rail.measure]} on {', '.join(_rail_tasks(plan))}, means over seeds: no complete arm is "
        "as good in both and better in one. The seed with the median in-domain score stands for the arm."
    )


def _front_statement(plan: Plan, one: Candidate, front: int) -> str:
    rule, rail = plan.sweep.export, plan.sweep.guardrail
    text = (
        f"{one.arm} is one of {front} on the front: {MEASURES[rule.maximise]} {one.score or 0:.4f}, "
        f"{MEASURES[rail.measure]} {one.zero_shot or 0:.4f} on the selection sets, as measured."
    )
    if rule.guardrail:
        text += f" Guardrail: {one.reason}."
    return text


def _statement(plan: Plan, candidates: Sequence[Candidate]) -> str:
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
    absent = [f"{c.arm} ({c.reason})" for c in candidates if c.score is None]
    if absent:
        shown = ", ".join(absent[:4]) + (f" and {len(absent) - 4} more" if len(absent) > 4 else "")
        text += f" Not complete, so no part taken by: {shown}."
    return text
