"""How long what is left will take: from what the store has recorded, or by arithmetic on stated hardware."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from hybrid.backbones import backbone_path, resolve
from hybrid.data.catalog import DATASETS
from sweeps.store import Store

if TYPE_CHECKING:
    from sweeps.plan import Plan, Trial

_PASSES = 6  # through the encoder for a training pair: two texts, each forwards and twice that backwards
_MEASURED = 1000  # texts of a task, a guess: tasks are not counted before they are read
_MOST_READ = 40  # records of each kind; more would not change a median and cost time


def seconds_left(plan: "Plan", store: Store) -> float | None:
    """Trial time of everything left, one after another, in seconds; failed trials are not run again.

    Training: the median time per example of recorded trials of the same backbone and precision, times the
    examples. Measuring: the median time of recorded measurements of the task with that backbone. None if a
    backbone or task that is left has no record yet: nothing is guessed.
    """
    train_rates, task_seconds = _recorded(plan, store)
    total = 0.0
    for trial in plan.todo:
        if trial.train_key in plan.failures:
            continue
        if plan.trains(trial) and trial.train is not None:
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


@dataclass(frozen=True)
class Assumed:
    """Hours of the hardware that a sweep assumes, and how they were reckoned; None if too little is said."""

    training_hours: float | None
    measuring_hours: float | None
    sentence: str


def assumed_hours(plan: "Plan") -> Assumed | None:
    """Hours of everything left on the hardware under `assume`; None where the sweep names none.

    Training costs 6 operations for each weight and token, encoding 2 (Kaplan et al. 2020, table 1; attention
    over short texts is left out). Splits of one set share their documents, which a trial encodes once.
    """
    assume = plan.sweep.assume
    if assume.hardware is None or assume.tflops is None:
        return None
    todo = plan.todo
    unknown = dict.fromkeys(t.backbone for t in todo if t.backbone not in assume.weights)
    documents = {task: _documents(plan, task) for trial in todo for task in plan.missing_tasks(trial)}
    unknown |= dict.fromkeys(task for task, count in documents.items() if count is None)
    if unknown:
        missing = ", ".join(unknown)
        return Assumed(
            None, None, f"hours on {assume.hardware} unknown: `assume` lacks the size of {missing}"
        )
    training = measuring = 0.0  # operations
    for trial in todo:
        weights = assume.weights[trial.backbone] * 1e6
        if trial.train is not None and plan.trains(trial):
            passages = 1 + trial.train.hard_negatives
            tokens = trial.train.max_query_length + passages * trial.train.max_passage_length
            training += 6 * weights * tokens * trial.train.batch_size * trial.train.steps
        sets = {task.partition(":")[0]: documents[task] or 0.0 for task in plan.missing_tasks(trial)}
        measuring += 2 * weights * assume.document_tokens * sum(sets.values())
    train, measure = (work / (assume.tflops * 1e12) / 3600 for work in (training, measuring))
    unit = "GPU-hours" if any(trial.gpus for trial in todo) else "hours"
    sentence = (
        f"about {_hours(train + measure)} {unit} on {assume.hardware}, {_hours(train)} of them training: "
        f"arithmetic at an assumed {assume.tflops:g} TFLOP/s, not a measurement"
    )
    return Assumed(train, measure, sentence)


@dataclass(frozen=True)
class Work:
    """What a trial still takes: texts to train on and tasks to measure, by an encoder of some weight."""

    training: float  # texts
    tasks: tuple[str, ...] = ()
    weight: float = 1.0  # relative to the other trials

    @property
    def cost(self) -> float:
        return self.weight * self._texts

    def share_behind(self, doing: str, share: float) -> float:
        """How much of it lies behind a trial, 0 to 1, that is at `share` of what it is `doing`."""
        texts = 0.0
        if doing == "training":
            texts = share * self.training
        elif doing in self.tasks:
            texts = self.training + _MEASURED * (self.tasks.index(doing) + share)
        return texts / (self._texts or 1)

    @property
    def _texts(self) -> float:
        return self.training + _MEASURED * len(self.tasks)


def work_left(plan: "Plan", trials: Sequence["Trial"]) -> list[Work]:
    """What the store lacks of each trial of a plan.

    A training that was begun counts half: how far it got is not read before it goes on. A backbone whose
    files tell no size counts as one of the middle.
    """
    sizes = {name: _weights(name) for name in {trial.backbone for trial in trials}}
    middle = median([size for size in sizes.values() if size] or [1])
    found = []
    for trial in trials:
        training = float(_trained(trial)) if plan.trains(trial) else 0.0
        if (trial.merges or trial.train_key) in plan.begun:
            training /= 2
        found.append(Work(training, plan.missing_tasks(trial), float(sizes[trial.backbone] or middle)))
    return found


def _weights(backbone: str) -> int:
    """Bytes of a backbone's weights, counted once where a folder holds them in two formats; 0: not known."""
    folder = backbone_path(resolve(backbone))
    if not isinstance(folder, Path):
        return 0
    formats = (folder.glob(pattern) for pattern in ("**/*.safetensors", "**/*.bin"))
    return next((size for files in formats if (size := sum(file.stat().st_size for file in files))), 0)


def _trained(trial: "Trial") -> int:
    return _PASSES * trial.train.steps * trial.train.batch_size if trial.train else 0


def _documents(plan: "Plan", task: str) -> float | None:
    """Documents of a task: as assumed, else as published for the whole set."""
    if task in plan.sweep.assume.documents:
        return plan.sweep.assume.documents[task] * 1e6
    row = DATASETS.get(task.partition(":")[0])
    return float(row.documents) if row is not None and row.documents is not None else None


def _hours(hours: float) -> str:
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.2g}"


def _recorded(
    plan: "Plan", store: Store
) -> tuple[dict[tuple[str, str], list[float]], dict[tuple[str, str], list[float]]]:
    """Seconds per example by (backbone, precision), and seconds per task by (backbone, task)."""
    train_rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    task_seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for trial in plan.trials:
        if trial.train_key is None:
            continue
        if trial.train is not None and not trial.is_merged and trial.train_key in plan.trained:
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
