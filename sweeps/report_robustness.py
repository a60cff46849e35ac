"""Does the answer hang on one set, one language, lucky seeds, or on which trials failed? And which arms are
on the Pareto front, and how surely: the numbers of the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hybrid.scores import PRIMARY_MEASURE
from sweeps.claims import MACRO, TAIL, Verdict
from sweeps.comparisons import Judged
from sweeps.macro import Aim
from sweeps.pareto import pareto_front
from sweeps.plan import Plan
from sweeps.results import REPORTED, Results
from sweeps.robustness import best_arm, failure_balance, leave_one_set_out
from sweeps.series import series_id


def robustness_of(plan: Plan, judged: Judged | None, results: Results) -> dict[str, Any]:
    """Leave-one-set-out of the declared mean, the worst language, the best arms re-estimated, failures."""
    found: dict[str, Any] = {
        "without_a_set": [],
        "worst_language": [],
        "best": [],
        "failures": _failures(results),
    }
    if judged is not None:
        found["without_a_set"] = list(_without_a_set(plan, judged))
        found["worst_language"] = worst_languages(judged)
        found["best"] = _best(plan, judged)
    return found


def pareto_of(plan: Plan, judged: Judged | None) -> dict[str, Any]:
    """In-domain against zero-shot: `x` and `y` say what, `arms` have both means, whether no arm is at least
    as good in both and better in one, and the share of resampled sweeps in which that is so."""
    aims = aims_of(plan, judged) if judged else {}
    if judged is None or set(aims) != set(REPORTED):
        return {"zero_shot": None, "in_domain": None, "arms": []}
    arms = [arm.alias for arm in plan.arms if arm.alias in judged.scores.arms]
    front = pareto_front(judged.scores, arms, [aims["zero_shot"], aims["in_domain"]])
    return {
        "zero_shot": aims["zero_shot"].measure,
        "in_domain": aims["in_domain"].measure,
        "arms": [
            {
                "arm": one.arm,
                "zero_shot": one.means[0],
                "in_domain": one.means[1],
                "front": one.on_front,
                "probability": one.probability,
            }
            for one in front
        ],
    }


def aims_of(plan: Plan, judged: Judged) -> dict[str, Aim]:
    """Group → its mean of one measure: the guardrail's, else the primary one that all its sets have."""
    rail, found = plan.sweep.guardrail, {}
    for group in REPORTED:
        blocks = [block for block in judged.scores.blocks if block.group == group]
        settings = {block.setting or "beir" for block in blocks}
        wanted = [PRIMARY_MEASURE[setting] for setting in settings]
        measure = rail.measure if group == rail.group else wanted[0] if len(set(wanted)) == 1 else "map"
        tasks = {block.task for block in blocks}
        if blocks and {block.task for block in blocks if block.measure == measure} == tasks:
            found[group] = Aim(group, measure)
    return found


def language_rows(judged: Judged | None) -> list[dict[str, Any]]:
    """Every single language and pair of languages, primary measures: the difference of every arm."""
    rows = []
    for v in _language_verdicts(judged):
        rows.append(
            {
                "series": _series(v),
                "arm": v.arm,
                "reference": v.reference,
                "query_lang": v.query_lang,
                "doc_lang": v.doc_lang,
                "value": v.arm_mean,
                "reference_value": v.reference_mean,
                "difference": v.difference,
                "all_lower": v.lower,
                "all_upper": v.upper,
                "refused": "; ".join(v.notes) if v.verdict == "refused" and v.lower is None else None,
            }
        )
    return rows


def worst_languages(judged: Judged) -> list[dict[str, Any]]:
    """For each arm and series the language or pair that loses most; its bounds allow for the choice."""
    worst: dict[tuple[str, str], Verdict] = {}
    for v in _language_verdicts(judged):
        if v.difference is None or v.arm not in judged.references:
            continue
        sign, key = Aim(measure=v.measure).sign, (v.arm, _series(v))
        if key not in worst or sign * v.difference < sign * (worst[key].difference or 0.0):
            worst[key] = v
    return [
        {
            "arm": arm,
            "series": series,
            "query_lang": v.query_lang,
            "doc_lang": v.doc_lang,
            "difference": v.difference,
            "all_lower": v.lower,
            "all_upper": v.upper,
        }
        for (arm, series), v in worst.items()
    ]


def _language_verdicts(judged: Judged | None) -> Iterable[Verdict]:
    for v in judged.comparison.verdicts if judged else ():
        if v.query_lang is not None and v.setting and PRIMARY_MEASURE[v.setting] == v.measure:
            yield v


def _series(v: Verdict) -> str:
    task = v.task.rsplit("/", 1)[0].removesuffix(f"/{v.setting}")
    return series_id(v.group, task, str(v.setting), v.measure)


def _without_a_set(plan: Plan, judged: Judged) -> Iterable[dict[str, Any]]:
    """Bounds at the level that decided the arm's verdict, so that the two compare."""
    rail = plan.sweep.guardrail
    aim = Aim(rail.group, rail.measure)
    for v in judged.comparison.primary:
        if v.task == MACRO and v.difference is not None:
            level = v.adjusted_level or TAIL
            for left in leave_one_set_out(judged.scores, v.arm, v.reference, aim, level=level):
                yield {"arm": v.arm, "reference": v.reference, **asdict(left)}


def _best(plan: Plan, judged: Judged) -> list[dict[str, Any]]:
    arms = [a.alias for a in plan.arms if not a.untouched and a.alias in judged.scores.arms]
    found = []
    for group, aim in aims_of(plan, judged).items():
        if (best := best_arm(judged.scores, arms, aim)) is not None:
            found.append({"group": group, "measure": aim.measure, **asdict(best)})
    return found


def _failures(results: Results) -> dict[str, Any]:
    trials: dict[str, int] = {}
    failed: dict[str, int] = {}
    for record in results.trials:
        arm = record.trial.arm
        if not arm.untouched:
            trials[arm.alias] = trials.get(arm.alias, 0) + 1
            failed[arm.alias] = failed.get(arm.alias, 0) + (record.state == "failed")
    return asdict(failure_balance(failed, trials))


def failure_sentence(failures: Mapping[str, Any]) -> str:
    """How failures fall on arms, in words; empty where none failed."""
    lost = {arm: n for arm, n in failures["failed"].items() if n}
    if not lost:
        return ""
    listed = ", ".join(f"{arm} {n} of {failures['trials'][arm]}" for arm, n in lost.items())
    text = f"Failed trials by arm: {listed}."
    p = failures["p"]
    if p is None:
        return text
    how = (
        "as uneven a spread would come about by chance"
        if p >= 0.05
        else "so uneven a spread is rarely chance"
    )
    tail = "" if p >= 0.05 else "; what is left of these arms may be a selection"
    return f"{text} If no arm were more prone to fail, {how} (p = {p:.3g}){tail}."


def best_sentences(best: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[str]:
    """The best arms in words; `names` prints a measure."""
    found = []
    for one in best:
        unit = 1 if one["measure"] == "rank_distance" else 100
        text = f"Best {one['group'].replace('_', '-')} {names[one['measure']]}: {one['arm']}, "
        text += f"{unit * one['mean']:.1f} on the seeds that chose it"
        if one["reestimated"] is None:
            text += "; with one seed there is no other to measure it on"
        else:
            text += (
                f"; {unit * one['reestimated']:.1f} when each seed is held out in turn, the others choose "
                f"and the held-out one measures (the same arm in {one['chosen']} of {one['rounds']} rounds)"
            )
        found.append(f"{text}.")
    return found
