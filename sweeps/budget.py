"""The limits of a sweep and what was used of them, attempts that were cut off included."""

import time
from collections.abc import Sequence

from sweeps.attempts import attempts_at
from sweeps.plan import Trial
from sweeps.spec_sections import Limits
from sweeps.store import Store


class Budget:
    """The limits of a sweep, with what earlier runs used of them."""

    def __init__(self, limits: Limits, store: Store, trials: Sequence[Trial]) -> None:
        self.limits = limits
        self.reached: str | None = None
        """The limit that was reached, as a sentence; nothing is started after that."""
        self._start = time.time()
        self._consecutive_failed = 0
        self._gpu_seconds = self._gpu_seconds_before(store, trials) if limits.gpu_hours else 0.0
        self._running: dict[int, tuple[float, float]] = {}  # trial -> (GPUs, since when)

    def started(self, index: int, gpus: float) -> None:
        self._running[index] = (gpus, time.time())

    def ended(self, index: int, failed: bool | None) -> None:
        """`failed` None: an attempt that is tried again."""
        gpus, since = self._running.pop(index, (0.0, time.time()))
        self._gpu_seconds += gpus * (time.time() - since)
        if failed is not None:
            self._consecutive_failed = self._consecutive_failed + 1 if failed else 0

    @property
    def gpu_hours(self) -> float:
        running = sum(gpus * (time.time() - since) for gpus, since in self._running.values())
        return (self._gpu_seconds + running) / 3600

    def exhausted(self) -> bool:
        limits = self.limits
        if limits.wall_hours and time.time() - self._start > limits.wall_hours * 3600:
            self.reached = f"limits.wall_hours: {limits.wall_hours:g} are used up"
        elif limits.gpu_hours and self.gpu_hours > limits.gpu_hours:
            self.reached = f"limits.gpu_hours: {limits.gpu_hours:g} are used up"
        elif self._consecutive_failed >= limits.max_consecutive_failed:
            self.reached = f"limits.max_consecutive_failed: the last {self._consecutive_failed} trials failed"
        return self.reached is not None

    @staticmethod
    def _gpu_seconds_before(store: Store, trials: Sequence[Trial]) -> float:
        attempts = [one for trial in trials if trial.gpus for one in attempts_at(store, trial)]
        return sum(float(one["seconds"]) * float(one["gpus"]) for one in attempts)
