"""`sweeps status`: how far a sweep is, from what the store holds, whoever runs it and wherever."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sweeps.budget import Usage, read_usage
from sweeps.failures import causes, reason_of
from sweeps.lease import holder, lease_token
from sweeps.plan import Plan
from sweeps.secrets import redacted
from sweeps.spec import Sweep
from sweeps.store import Damaged, Store


def sweep_status(plan: Plan, store: Store) -> dict[str, Any]:
    """State of a sweep, JSON-able.

    Keys: sweep, store, trials, done, todo, to_measure (those of todo that need no training), failed (trial
    and reason of each), causes (failed trials by reason), run_by (None if nobody runs it), progress (what
    the run last wrote; None if it never ran), used, not_here (what this machine lacks, where the numbers are
    therefore those of the last run, not of the sweep file as given), other_trials (how many trials a run in
    progress has where they are not those of the sweep file as given, else None).
    """
    name = plan.sweep.name
    its_run = _of_its_run(name, store)
    kept = kept_trainings(name, store) if its_run["run_by"] else frozenset()
    keys = {trial.train_key for trial in plan.trials}
    return {
        "sweep": name,
        "store": str(store),
        "trials": len(plan.trials),
        "done": len(plan.done),
        "todo": len(plan.todo) - len(plan.failed),
        "to_measure": sum(not plan.lacks_training(t) and t not in plan.failed for t in plan.todo),
        "failed": [
            {"trial": trial.label, "reason": reason_of(plan.failures.get(trial.train_key or ""))}
            for trial in plan.failed
        ],
        "causes": causes(plan),
        "not_here": [],
        "other_trials": len(kept) if kept and kept != keys and None not in keys else None,
        **its_run,
    }


class _Running(BaseModel):
    trial: str
    doing: str
    share: float
    loss: float | None


class _Progress(BaseModel):
    """What `status_lines` shows of it."""

    seconds_left: float | None
    gpu_hours_to_come: float | None = None
    running: list[_Running]


class _KeptTrial(BaseModel):
    trial: str
    seed: int | None
    train_key: str
    scores: dict[str, str]


class _KeptPlan(BaseModel):
    trials: list[_KeptTrial]
    run: str | None = None  # token of the lease of the run that wrote it


def kept_status(name: str, store: Store, not_here: Sequence[str] = ()) -> dict[str, Any] | None:
    """`sweep_status` by the trials that the last run of a sweep wrote down: for a machine without its data.

    `not_here`: what this machine lacks. None if no run of that name left a readable plan in this store.
    """
    try:
        kept = _KeptPlan.model_validate(store.get_json(plan_path(name)))
    except (ValueError, Damaged):
        return None
    index, done, measured, failed = store.index(), 0, 0, []
    for row in kept.trials:
        key = row.train_key
        has_model = row.seed is None or index.has_model(key)
        if has_model and all(index.has_scores(key, score) for score in row.scores.values()):
            done += 1
        elif index.failed(key):
            failed.append({"trial": row.trial, "reason": reason_of(store.failure(key))})
        else:
            measured += has_model
    return {
        "sweep": name,
        "store": str(store),
        "trials": len(kept.trials),
        "done": done,
        "todo": len(kept.trials) - done - len(failed),
        "to_measure": measured,
        "failed": failed,
        "causes": "\n".join(f"  {one['trial']}: {one['reason']}" for one in failed),
        "not_here": list(not_here),
        "other_trials": None,
        **_of_its_run(name, store),
    }


def kept_trainings(name: str, store: Store) -> frozenset[str]:
    """Keys of the trials of the run in progress, as it wrote them down; empty before it has."""
    try:
        kept = _KeptPlan.model_validate(store.get_json(plan_path(name)))
    except (ValueError, Damaged):
        return frozenset()
    if kept.run is None or kept.run != lease_token(store, name):
        return frozenset()  # of an earlier run
    return frozenset(row.train_key for row in kept.trials)


def _of_its_run(name: str, store: Store) -> dict[str, Any]:
    try:
        progress = store.get_json(progress_path(name))
        _Progress.model_validate(progress)
    except (ValueError, Damaged):  # none yet, or damaged; the run soon writes it again
        progress = None
    return {
        "run_by": _holder(store, name),
        "progress": progress,
        "used": asdict(read_usage(store, name) or Usage()),
    }


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """`sweep_status` as lines for a person."""
    measured = f" ({status['to_measure']} of them need no training)" if status["to_measure"] else ""
    lines = [
        f"{status['sweep']}: {status['done']} of {status['trials']} trials done, "
        f"{status['todo']} to do{measured}"
    ]
    if status["not_here"]:
        lines += ["as its last run had it, whatever the sweep file says now, for this machine lacks:"]
        lines += [f"  {mistake.partition('; known are')[0]}" for mistake in status["not_here"]]
    run_by, progress, used = status["run_by"], status["progress"], status["used"]
    if run_by:
        lines.append(f"run by process {run_by['pid']} on {run_by['host']} since {run_by['since']}")
        if status["other_trials"] is not None:
            which = "from a sweep file or --set other than given here"
            lines.append(f"that run has {status['other_trials']} trials, {which}")
        for row in progress["running"] if progress else ():
            loss = f", loss {row['loss']:.4f}" if row.get("loss") is not None else ""
            lines.append(f"  {row['trial']}: {row['doing']} {row['share']:.0%}{loss}")
        if progress and progress["seconds_left"]:
            lines.append(f"about {duration(progress['seconds_left'])} to go")
    else:
        lines.append("nobody is running it")
    if used["attempts"]:
        spent = f"{used['gpu_seconds'] / 3600:.2f} GPU-hours and {used['cpu_seconds'] / 3600:.2f} CPU-hours"
        come = progress.get("gpu_hours_to_come") if run_by and progress else None
        lines.append(f"{spent} used{f', about {come:.2f} GPU-hours to come' if come else ''}")
    if status["failed"]:
        lines += [f"{len(status['failed'])} failed, `--retry-failed` takes them up again:", status["causes"]]
    return lines


def command_line(command: str, sweep: Sweep, store: str, data_root: Path | None) -> str:
    """What a person types to do something else with a sweep, from the folder they are in.

    Secrets in it are left out. `data_root` is None where none was named, or HYBRID_DATA_ROOT names it.
    """
    spec = (
        sweep.path if Path(sweep.path).is_file() else Path(sweep.path).stem
    )  # a shipped one goes by its name
    place = [] if store == str(Path("store").absolute()) else ["--store", store]
    data = [] if data_root is None else ["--data-root", str(data_root)]
    changes = [word for override in sweep.overrides for word in ("--set", override)]
    return redacted(shlex.join(["sweeps", command, spec, *place, *data, *changes]))


def plan_path(sweep_name: str) -> str:
    return f"sweeps/{sweep_name}/plan.json"


def progress_path(sweep_name: str) -> str:
    return f"sweeps/{sweep_name}/progress.json"


def duration(seconds: float) -> str:
    """A span of time for a person: "3.2 s", "4 min 05 s", "2 h 10 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _holder(store: Store, sweep_name: str) -> dict[str, Any] | None:
    lease = holder(store, sweep_name)
    return {key: lease[key] for key in ("host", "pid", "since")} if lease else None
