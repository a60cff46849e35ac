"""The attempts at each trial, kept in the store so that budgets count those cut off as well."""

import os
import socket
import time
from typing import Any

from sweeps.plan import Trial
from sweeps.store import Damaged, Store


class Attempts:
    """Those at one trial; constructing one begins a new attempt."""

    def __init__(self, store: Store, trial: Trial) -> None:
        self._store, self._path = store, _path(trial)
        self._start = time.perf_counter()
        self._all = [*attempts_at(store, trial), {"started": time.time(), "host": socket.gethostname()}]
        self._all[-1].update(pid=os.getpid(), cpus=trial.cpus, gpus=trial.gpus)
        self.write("cut off")  # until it says otherwise

    @property
    def count(self) -> int:
        return len(self._all)

    def write(self, state: str) -> None:
        """Keep the state of this attempt and its seconds so far."""
        self._all[-1].update(state=state, seconds=round(time.perf_counter() - self._start, 3))
        self._store.put_json(self._path, self._all)


def attempts_at(store: Store, trial: Trial) -> list[dict[str, Any]]:
    """Every attempt so far: started, host, pid, cpus, gpus, seconds, state."""
    try:
        written = store.get_json(_path(trial))
    except Damaged:
        written = None
    return [one for one in written if _is_whole(one)] if isinstance(written, list) else []


def _is_whole(one: Any) -> bool:
    numbers = ("started", "cpus", "gpus", "seconds")
    return isinstance(one, dict) and all(isinstance(one.get(name), int | float) for name in numbers)


def _path(trial: Trial) -> str:
    return f"models/{trial.train_key}/attempts.json"
