"""Arms × seeds, minus what the store already has. Reads little, writes nothing, never imports torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hybrid.config import EvalConfig, TrainConfig
from sweeps.spec import Group, Sweep


@dataclass(frozen=True)
class Arm:
    """One point of the swept axes, or a backbone left untouched."""

    alias: str  # short, unique in the sweep, from the axes that vary: "m0.5 xlmr b32"
    axes: Mapping[str, Any]  # untouched: the backbone alone
    reference: str | None  # alias of its reference arm, its own if it is one; None: untouched
    untouched: bool
    backbone: str


@dataclass(frozen=True)
class Trial:
    """One arm with one seed, resolved: what to train, what to measure, under which keys."""

    arm: Arm
    seed: int | None  # None: untouched
    train: TrainConfig | None  # None: untouched
    evaluate: EvalConfig
    backbone: str
    train_key: str | None  # None: unknown until digests are prepared
    scores: Mapping[str, str | None]  # task name -> score key
    cpus: float
    gpus: float

    @property
    def label(self) -> str:
        return self.arm.alias if self.seed is None else f"{self.arm.alias} s{self.seed}"


@dataclass(frozen=True)
class Plan:
    """Every trial of a sweep and what the store has of it."""

    sweep: Sweep
    arms: tuple[Arm, ...]
    trials: tuple[Trial, ...]
    trained: frozenset[str]  # train keys whose model the store has
    scored: frozenset[tuple[str, str]]  # (train key, score key) the store has
    failures: Mapping[str, Mapping[str, Any]]  # train key -> what went wrong
    unknown: tuple[str, ...]  # why some keys are not known yet, one sentence each
    seconds_left: float | None = None  # of trial time, all trials one after another; None: nothing to go by
    notes: tuple[str, ...] = field(default=())

    def lacks_training(self, trial: Trial) -> bool:
        return trial.train is not None and (trial.train_key is None or trial.train_key not in self.trained)

    def missing_tasks(self, trial: Trial) -> tuple[str, ...]:
        """Tasks the trial has no scores for."""
        return tuple(
            task
            for task, key in trial.scores.items()
            if key is None or trial.train_key is None or (trial.train_key, key) not in self.scored
        )

    @property
    def todo(self) -> tuple[Trial, ...]:
        """Trials that lack a model or scores, failed ones included."""
        return tuple(t for t in self.trials if self.lacks_training(t) or self.missing_tasks(t))

    @property
    def done(self) -> tuple[Trial, ...]:
        return tuple(t for t in self.trials if not self.lacks_training(t) and not self.missing_tasks(t))

    @property
    def failed(self) -> tuple[Trial, ...]:
        """Trials of `todo` that failed when last run."""
        return tuple(t for t in self.todo if t.train_key in self.failures)

    @property
    def tasks(self) -> dict[str, tuple[Group, ...]]:
        """Every task once, with the groups it belongs to."""
        return self.sweep.evaluate.tasks

    def arm(self, alias: str) -> Arm:
        return next(arm for arm in self.arms if arm.alias == alias)

    def trials_of(self, arm: Arm) -> Sequence[Trial]:
        return tuple(trial for trial in self.trials if trial.arm.alias == arm.alias)
