"""A plan as people and as programs read it."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeps.estimate import assumed_hours
from sweeps.pilot import Settles
from sweeps.plan import Plan, Trial
from sweeps.status import duration

_MOST_ROWS = 60

_STYLES = {"done": "green", "failed": "red", "train": "", "merge": "", "go on": "yellow", "measure": "yellow"}


def state_of(plan: Plan, trial: Trial) -> str:
    """`done`, `failed`, `train`, `go on` (from a checkpoint), `merge` (another trial trains) or `measure`."""
    if not plan.lacks_training(trial) and not plan.missing_tasks(trial):
        return "done"
    if trial.train_key in plan.failures:
        return "failed"
    if plan.lacks_training(trial):
        if trial.is_merged and not plan.trains(trial):
            return "merge"
        return "go on" if (trial.merges or trial.train_key) in plan.begun else "train"
    return "measure"


def print_plan(plan: Plan, store: str, console: Console, settles: Settles | None = None) -> None:
    """Arms with the state of every seed, what scores could settle, what would run and how long it takes."""
    sweep = plan.sweep
    searched = f", a search of {sweep.search.arms} arms" if sweep.search else ""
    size = f"{len(plan.arms)} arms, {len(plan.trials)} trials{searched}"
    console.print(f"{sweep.name}: {size}; store {store}", markup=False, highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("arm", "steps", "cpu", "gpu", "seeds"):
        table.add_column(heading, justify="right" if heading in ("steps", "cpu", "gpu") else "left")
    by_arm: dict[str, list[Trial]] = {}
    for trial in plan.trials:
        by_arm.setdefault(trial.arm.alias, []).append(trial)
    shown = plan.arms if len(plan.arms) <= _MOST_ROWS else plan.arms[:_MOST_ROWS]
    for arm in shown:
        trials = by_arm[arm.alias]
        first = trials[0]
        name = f"{arm.alias} (reference)" if arm.reference == arm.alias else arm.alias
        steps = str(first.train.steps) if first.train else ""
        table.add_row(name, steps, f"{first.cpus:g}", f"{first.gpus:g}", _states(plan, trials))
    console.print(table)
    if len(shown) < len(plan.arms):
        console.print(f"… and {len(plan.arms) - len(shown)} more arms")
    for group, names in sweep.evaluate.groups.items():
        if names:
            console.print(f"{group}: {', '.join(names)}", highlight=False, markup=False, soft_wrap=True)
    for note in (*sweep.notes, *plan.notes, *plan.unknown):
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    if settles is not None:
        for sentence in (*settles.sentences, *([settles.source] if settles.source else [])):
            console.print(f"power: {sentence}", highlight=False, markup=False, soft_wrap=True)
    assumed = assumed_hours(plan) if plan.todo else None
    if assumed is not None:
        console.print(f"cost: {assumed.sentence}", highlight=False, markup=False, soft_wrap=True)
    console.print(_summary(plan), highlight=False, markup=False, soft_wrap=True)


def plan_json(plan: Plan, store: str, settles: Settles | None = None) -> dict[str, Any]:
    """Everything `print_plan` shows, and the keys."""
    sweep, assumed = plan.sweep, assumed_hours(plan)
    return {
        "name": sweep.name,
        "store": store,
        "spec": sweep.path,
        "hold": sweep.hold,
        "reference": dict(sweep.reference),
        "guardrail": sweep.guardrail.model_dump(),
        "tasks": {task: list(groups) for task, groups in plan.tasks.items()},
        "trials": [
            {
                "trial": trial.label,
                "arm": trial.arm.alias,
                "axes": dict(trial.arm.axes),
                "reference": trial.arm.reference,
                "untouched": trial.arm.untouched,
                "seed": trial.seed,
                "state": state_of(plan, trial),
                "steps": trial.train.steps if trial.train else None,
                "train_key": trial.train_key,
                "missing_tasks": list(plan.missing_tasks(trial)),
                "cpus": trial.cpus,
                "gpus": trial.gpus,
            }
            for trial in plan.trials
        ],
        "done": len(plan.done),
        "todo": len(plan.todo),
        "failed": len(plan.failed),
        "seconds_left": plan.seconds_left,
        "assumed_cost": asdict(assumed) if assumed else None,
        "settles": settles.as_json() if settles else None,
        "unknown": list(plan.unknown),
        "notes": [*sweep.notes, *plan.notes],
    }


def _states(plan: Plan, trials: list[Trial]) -> Text:
    by_state: dict[str, list[str]] = {}
    for trial in trials:
        by_state.setdefault(state_of(plan, trial), []).append("" if trial.seed is None else str(trial.seed))
    text = Text()
    for state, seeds in by_state.items():
        listed = ", ".join(seeds) if len(seeds) <= 12 else f"{len(seeds)} seeds"
        text.append("; " if text else "").append(f"{state} {listed}".rstrip(), style=_STYLES[state])
    return text


def _summary(plan: Plan) -> str:
    states = [state_of(plan, trial) for trial in plan.todo]
    counts = {state: states.count(state) for state in dict.fromkeys(states)}
    what = ", ".join(
        f"{count} to {state}" if state != "failed" else f"{count} failed" for state, count in counts.items()
    )
    if not states:
        return f"{len(plan.done)} done, nothing to run"
    if plan.seconds_left is None:
        time = "time unknown until the first trial has run"
    else:
        time = f"about {duration(plan.seconds_left)} of trial time, from recorded trials"
    return f"{len(plan.done)} done, {what}; {time}"
