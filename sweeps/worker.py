"""What runs in a Ray worker: one trial after another in the same process, and what ends that process.

The process ends with the raylet that started it, so that a machine given up by its cluster computes
nothing on its own, and leaves a machine that is being taken away as soon as its checkpoint is saved.
"""

import ctypes
import faulthandler
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import ray
from ray import tune

from hybrid.errors import BadInput
from sweeps.failures import describe
from sweeps.node_checks import Expected, Unfit, refuse_other_machine
from sweeps.plan import Trial
from sweeps.secrets import redacted
from sweeps.store import Store
from sweeps.trial import Left, Outcome, Progress

_REPORT_SECONDS = 2.0
_FIRST_REPORT_SECONDS = 0.3  # a trial that takes less time reports its end alone
_ASK_SECONDS = 2.0  # between questions whether this machine is being taken away
HOPELESS = (BadInput, ValueError, ArithmeticError)
"""Errors that would come again the same way: such a trial is not tried again."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Job:
    """What every worker of a run gets; the trials lie in Ray's object store, to be read once a process."""

    run: Callable[..., Outcome]
    trials: "ray.ObjectRef[Sequence[Trial]]"
    store: Store
    data_root: Path | None
    folder: Path
    expected: Expected | None = None  # of the machine it runs on


def run_in_worker(config: dict[str, Any], *, job: Job) -> None:
    """One trial of a sweep."""

    def work(tell: Callable[[Progress], None], leaving: Callable[[], bool]) -> dict[str, Any]:
        if job.expected is not None:
            refuse_other_machine(job.expected, tell)
        trial = _trials(job.trials)[config["trial"]]
        scratch = here(job.folder)
        outcome = job.run(trial, job.store, job.data_root, scratch=scratch, on_progress=tell, leaving=leaving)
        return {"overhead": outcome.overhead_seconds, "seconds": outcome.seconds}

    attempt(work)


def attempt(work: Callable[[Callable[[Progress], None], Callable[[], bool]], dict[str, Any]]) -> None:
    """One attempt at what a Tune trial is to do: `work(tell, leaving)` tells progress and returns the result.

    An error is reported with whether it would come again the same way, then raised: the process ends.
    """
    prepare_process()
    asked = time.monotonic()
    told = asked - _REPORT_SECONDS + _FIRST_REPORT_SECONDS

    def leaving() -> bool:
        nonlocal asked
        if time.monotonic() - asked < _ASK_SECONDS:
            return False
        asked = time.monotonic()
        return machine_is_taken_away()

    def tell(progress: Progress) -> None:
        nonlocal told
        if progress.saved or time.monotonic() - told >= _REPORT_SECONDS:
            told = time.monotonic()
            # Every report has all of it, so that the board's row never keeps the loss of what it did before.
            tune.report(asdict(progress))

    try:
        result = work(tell, leaving)
    except Left:
        tune.report({"left": True})  # returns when the driver has heard it
        os._exit(0)  # an idle node ends at once; the trial starts again elsewhere
    except Unfit as error:  # the machine's fault: the trial starts again elsewhere
        mistakes = [redacted(mistake) for mistake in error.mistakes]
        tune.report({"unfit": {"node": ray.get_runtime_context().get_node_id(), "mistakes": mistakes}})
        raise RuntimeError(mistakes[0]) from None
    except Exception as error:
        said = describe(error)
        tune.report({"error": said, "hopeless": isinstance(error, HOPELESS)})
        raise RuntimeError(said["reason"]) from None  # for Ray's own logs, which keep no secrets either
    tune.report({**result, "done": True})


def here(folder: Path) -> Path | None:
    """The driver's folder for temporary files; None on another machine, which has one of its own."""
    return folder if folder.is_dir() else None


@cache
def prepare_process() -> None:
    """Once a process: it ends with its raylet, and a signal makes it write where its threads stand."""
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def machine_is_taken_away() -> bool:
    """Whether Ray drains this machine: `ray start --block` got SIGTERM there, or a cluster gave it up."""
    from ray._private.state import state

    try:
        return ray.get_runtime_context().get_node_id() in state.get_draining_nodes()
    except (OSError, RuntimeError):  # the cluster cannot be asked at the moment
        return False


@lru_cache(maxsize=1)
def _trials(reference: "ray.ObjectRef[Sequence[Trial]]") -> Sequence[Trial]:
    trials: Sequence[Trial] = ray.get(reference)
    return trials
