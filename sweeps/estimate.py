"""How long what is left will take, from what the store has recorded and from nothing else."""

from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any

from sweeps.store import Store

if TYPE_CHECKING:
    from sweeps.plan import Plan

_MOST_READ = 40  # records of each kind; more would not change a median and cost time


def seconds_left(plan: "Plan", store: Store) -> float | None:
    """Trial time of everything left, one after another, in seconds.

    Training: the median time per example of recorded trials of the same backbone and precision, times the
    examples. Measuring: the median time of recorded measurements of the task with that backbone. None if a
    backbone or task that is left has no record yet: nothing is guessed.
    """
    train_rates, task_seconds = _recorded(plan, store)
    total = 0.0
    for trial in plan.todo:
        if plan.lacks_training(trial) and trial.train is not None:
            rates = train_rates.get((trial.backbone, trial.train.precision))
            if not rates:
                return None
            total += median(rates) * trial.train.steps * trial.train.batch_size
        for task in plan.missing_tasks(trial):
            seconds = task_seconds.get((trial.backbone, task))
            if not seconds:
                return None
            total += median(seconds)
    return total


def _recorded(
    plan: "Plan", store: Store
) -> tuple[dict[tuple[str, str], list[float]], dict[tuple[str, str], list[float]]]:
    """Seconds per example by (backbone, precision), and seconds per task by (backbone, task)."""
    train_rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    task_seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for trial in plan.trials:
        if trial.train_key is None:
            continue
        if trial.train is not None and trial.train_key in plan.trained:
            rates = train_rates[trial.backbone, trial.train.precision]
            seconds = _seconds(store.record(trial.train_key)) if len(rates) < _MOST_READ else None
            if seconds is not None:
                rates.append(seconds / (trial.train.steps * trial.train.batch_size))
        for task, key in trial.scores.items():
            measured = task_seconds[trial.backbone, task]
            if key and (trial.train_key, key) in plan.scored and len(measured) < _MOST_READ:
                seconds = _seconds(store.score_record(trial.train_key, key))
                if seconds is not None:
                    measured.append(seconds)
    return train_rates, task_seconds


def _seconds(record: dict[str, Any] | None) -> float | None:
    value = (record or {}).get("seconds")
    return float(value) if isinstance(value, int | float) else None
