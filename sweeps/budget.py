"""The limits of a sweep and what was used of them, over all its runs, attempts that were cut off included."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sweeps.attempts import attempts_at
from sweeps.plan import Trial
from sweeps.spec_sections import Limits
from sweeps.store import Damaged, Store

_KEEP_SECONDS = 5.0
_OF_ANY_CAUSE = 3  # times `max_consecutive_failed`, in a row and each of another cause: that, too, is enough


@dataclass
class Usage:
    """What a sweep has used so far; kept in the store as `sweeps/<name>/usage.json`."""

    gpu_seconds: float = 0.0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0  # of all runs
    attempts: int = 0
    trials: int = 0  # that ended, done or failed for good
    consecutive_failed: int = 0  # since the last trial that did not fail, of whatever cause
    failed_by_cause: dict[str, int] = field(default_factory=dict)  # the same, each cause by itself


class Budget:
    """The limits of a sweep, with what this run and those before it used of them."""

    def __init__(self, limits: Limits, store: Store, sweep_name: str, trials: Sequence[Trial]) -> None:
        self.limits = limits
        self.reached: str | None = None
        """The limit that was reached, or what else ended the run, in words; nothing is started after that."""
        self.remedy = "with a higher limit"
        self._store, self._path = store, usage_path(sweep_name)
        self._usage = read_usage(store, sweep_name) or _from_attempts(store, trials)
        self._clock = time.monotonic()  # up to where `_usage` counts what runs now
        self._kept = self._clock
        self._running: dict[int, tuple[float, float]] = {}  # trial -> CPUs, GPUs

    def started(self, index: int, cpus: float, gpus: float) -> None:
        self._count()
        self._running[index] = (cpus, gpus)
        self._usage.attempts += 1

    def ended(self, index: int, failed: bool | None, trials: int = 1, cause: str = "") -> None:
        """`failed` None: an attempt that is tried again. `cause` is what failures of one kind share."""
        self._count()
        self._running.pop(index, None)
        if failed is None:
            return
        self._usage.trials += trials
        if failed:
            self._usage.consecutive_failed += 1
            by_cause = self._usage.failed_by_cause
            by_cause[cause] = by_cause.get(cause, 0) + 1
        else:
            self._forget_failures()

    def forgive(self) -> None:
        """Failed trials are taken up again: what failed before counts as repaired."""
        self._forget_failures()
        self.reached = None

    def _forget_failures(self) -> None:
        self._usage.consecutive_failed, self._usage.failed_by_cause = 0, {}

    def end(self, reason: str, remedy: str) -> None:
        """End the run for a reason that is no limit; `remedy`: how it goes on."""
        self.reached, self.remedy = reason, remedy

    @property
    def used(self) -> Usage:
        """All of it until now."""
        self._count()
        return self._usage

    @property
    def trials_left(self) -> int | None:
        limit = self.limits.trials
        return None if limit is None else max(0, limit - self._usage.trials)

    def exhausted(self) -> bool:
        if self.reached is not None:
            return True
        limits, used = self.limits, self.used
        if limits.wall_hours and used.wall_seconds >= limits.wall_hours * 3600:
            self.reached = f"limits.wall_hours: {limits.wall_hours:g} are used up"
        elif limits.gpu_hours and used.gpu_seconds >= limits.gpu_hours * 3600:
            self.reached = f"limits.gpu_hours: {limits.gpu_hours:g} are used up"
        elif self.trials_left == 0:
            self.reached = f"limits.trials: {used.trials} of at most {limits.trials} were run"
        elif (most := max(used.failed_by_cause.values(), default=0)) >= limits.max_consecutive_failed:
            self.reached = f"limits.max_consecutive_failed: {most} trials in a row failed of one cause"
        elif used.consecutive_failed >= _OF_ANY_CAUSE * limits.max_consecutive_failed:
            row = f"{used.consecutive_failed} trials in a row"
            self.reached = f"limits.max_consecutive_failed: {row} failed, of several causes"
        return self.reached is not None

    def keep(self, *, now: bool = False) -> None:
        """Write what was used to the store, every few seconds at most."""
        if now or time.monotonic() - self._kept >= _KEEP_SECONDS:
            self._kept = time.monotonic()
            try:
                self._store.put_json(self._path, asdict(self.used))
            except OSError:
                return  # a store that is away for a moment; the attempts kept there tell the rest

    def _count(self) -> None:
        now = time.monotonic()
        passed, self._clock = now - self._clock, now
        self._usage.wall_seconds += passed
        self._usage.cpu_seconds += passed * sum(cpus for cpus, _ in self._running.values())
        self._usage.gpu_seconds += passed * sum(gpus for _, gpus in self._running.values())


def usage_path(sweep_name: str) -> str:
    return f"sweeps/{sweep_name}/usage.json"


def read_usage(store: Store, sweep_name: str) -> Usage | None:
    """What the runs of a sweep used so far; None if nothing readable says so."""
    try:
        written: Any = store.get_json(usage_path(sweep_name))
        by_cause = {str(cause): int(count) for cause, count in written.get("failed_by_cause", {}).items()}
        numbers = {one.name: written[one.name] + 0 for one in fields(Usage) if one.name != "failed_by_cause"}
        return Usage(**numbers, failed_by_cause=by_cause)
    except (Damaged, KeyError, TypeError, ValueError, AttributeError):
        return None


def _from_attempts(store: Store, trials: Sequence[Trial]) -> Usage:
    """The same from the attempts at each trial, which other sweeps may share."""
    usage = Usage()
    index = store.index()
    for trial in trials:
        for one in attempts_at(store, trial) if index.attempted(trial.train_key or "") else ():
            usage.attempts += 1
            usage.gpu_seconds += float(one["seconds"]) * float(one["gpus"])
            usage.cpu_seconds += float(one["seconds"]) * float(one["cpus"])
    return usage
