"""Trials that hang: noticed by their silence and ended by force; where their threads stood is kept."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_STEP_SECONDS = 10.0  # the most that counts between two looks: this process may have been stopped itself
_DUMP_SECONDS = 2.0
_ANSWER_SECONDS = 60.0


class Silence:
    """How long each running trial has said nothing, in time during which this process listened."""

    def __init__(self) -> None:
        self._looked = time.monotonic()
        self._listened = 0.0
        self._heard: dict[str, float] = {}  # Tune's id of a trial -> when

    def heard(self, trial_id: str) -> None:
        self._heard[trial_id] = self._listened

    def ended(self, trial_id: str) -> None:
        self._heard.pop(trial_id, None)

    def longer_than(self, seconds: float) -> list[str]:
        """Trials silent for more than `seconds`."""
        now = time.monotonic()
        self._listened += min(now - self._looked, _STEP_SECONDS)
        self._looked = now
        return [trial_id for trial_id, heard in self._heard.items() if self._listened - heard > seconds]


def end_process(actor: Any) -> str:
    """SIGKILL to the process of a Ray actor, on its machine; returns where its threads stood."""
    import ray
    from ray._private.state import state
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    known = state.actor_table(actor._actor_id.hex())
    try:
        there = NodeAffinitySchedulingStrategy(known["Address"]["NodeID"], soft=False)
        task = ray.remote(num_cpus=0)(_dump_and_kill).options(scheduling_strategy=there, max_retries=0)
        threads: str = ray.get(task.remote(int(known["Pid"])), timeout=_ANSWER_SECONDS)
    except (KeyError, ray.exceptions.RayError) as error:
        ray.kill(actor)
        return f"its machine could not be asked: {error}"
    return threads


def _dump_and_kill(pid: int) -> str:
    """Runs on the trial's machine: `prepare_process` lets its process write its threads to its log."""
    try:
        log = Path(f"/proc/{pid}/fd/2").resolve()
        before = log.stat().st_size
        os.kill(pid, signal.SIGUSR1)
        deadline = time.monotonic() + _DUMP_SECONDS
        while log.stat().st_size == before and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.1)  # the last lines
        with log.open("rb") as file:
            file.seek(before)
            threads = file.read().decode(errors="replace")
    except OSError as error:
        threads = f"its threads could not be seen: {error}"
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return threads
