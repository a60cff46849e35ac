"""Ray Tune over a list of trials: placement, retries, warm workers, budgets, and what is seen of it.

Tune's own checkpoints, loggers and restore are not used. Its workers are reused from trial to trial,
so that heavy imports are paid once a process.
"""

import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback, FailureConfig, RunConfig, Stopper, TuneConfig

from hybrid.errors import BadInput
from sweeps.budget import Budget
from sweeps.plan import Trial
from sweeps.status import Board
from sweeps.store import Store
from sweeps.trial import Outcome, Progress, run_trial

_SHARD = 1000  # trials a Tune run: it rewrites the state of all of them as it goes
_REPORT_SECONDS = 2.0
_LOG_CHARACTERS = 20_000
_HOPELESS = (BadInput, ValueError, ArithmeticError)  # would fail again the same way: not tried again


def schedule(
    trials: Sequence[Trial],
    store: Store,
    data_root: Path | None,
    board: Board,
    budget: Budget,
    folder: Path,
    *,
    max_concurrent: int | None,
    on_trial: Callable[[Trial], None],
    run: Callable[..., Outcome] = run_trial,
) -> list[float]:
    """Run trials in the order given on the cluster this process is connected to.

    Writes a failure record for each trial that fails for good. `folder` takes Tune's own files, and
    those of trials on this machine.
    Returns the seconds of each finished trial outside training and evaluation.
    """
    watcher = _Watcher(trials, store, board, budget, on_trial)
    for first in range(0, len(trials), _SHARD):
        if budget.exhausted():
            break
        indices = list(range(first, min(first + _SHARD, len(trials))))
        trainable = tune.with_parameters(
            _run_in_worker,
            run=run,
            trials=list(trials),
            store=store,
            data_root=data_root,
            folder=folder,
        )
        tuner = tune.Tuner(
            tune.with_resources(trainable, lambda config: placement(trials[config["trial"]])),
            param_space={"trial": tune.grid_search(indices)},
            tune_config=TuneConfig(reuse_actors=True, max_concurrent_trials=max_concurrent),
            run_config=RunConfig(
                storage_path=str(folder),
                failure_config=FailureConfig(max_failures=budget.limits.retries),
                callbacks=[watcher],
                stop=OutOfBudget(budget),
                verbose=0,
            ),
        )
        tuner.fit()
    return watcher.overheads


class OutOfBudget(Stopper):
    """Stops everything once a limit is reached; what was running keeps its last checkpoint."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        return self._budget.exhausted()


class _Watcher(Callback):
    """What Tune tells this process, turned into the board, failure records and the tracking's work."""

    def __init__(
        self,
        trials: Sequence[Trial],
        store: Store,
        board: Board,
        budget: Budget,
        on_trial: Callable[[Trial], None],
    ) -> None:
        self.overheads: list[float] = []
        self._trials, self._store, self._board, self._budget = trials, store, board, budget
        self._on_trial = on_trial
        self._attempts: dict[int, int] = {}
        self._errors: dict[int, dict[str, Any]] = {}  # trial -> what went wrong in the attempt that ends

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles what it would restore a run from; nothing is restored from that

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        self._board.refresh()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        index = trial.config["trial"]
        self._attempts[index] = self._attempts.get(index, 0) + 1
        self._budget.started(index, self._trials[index].gpus)
        self._board.start(index)

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Any],  # noqa: ARG002
        trial: Any,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        if "doing" in result:
            self._board.progress(trial.config["trial"], result["doing"], result["share"])

        if "error" in result:
            self._errors[trial.config["trial"]] = result["error"]

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        index = trial.config["trial"]
        self._budget.ended(index, None)
        self._board.retry(index, self._error(index, trial)["reason"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        result = trial.last_result or {}
        if "error" in result:
            self._failed(trial.config["trial"], result["error"])
        elif "overhead" in result:  # otherwise it was stopped, not finished
            self.overheads.append(result["overhead"])
            self._end(trial.config["trial"], "done", "")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._failed(trial.config["trial"], self._error(trial.config["trial"], trial))

    def _error(self, index: int, trial: Any) -> dict[str, Any]:
        """What the worker said of its last attempt; if it could not, its process died."""
        return self._errors.pop(index, None) or _death(Path(trial.error_file))

    def _failed(self, index: int, failure: dict[str, Any]) -> None:
        failure = {**failure, "attempts": self._attempts.get(index, 1), "time": time.time()}
        self._store.put_failure(self._trials[index].train_key or "", failure)
        self._end(index, "failed", failure["reason"])

    def _end(self, index: int, state: str, note: str) -> None:
        self._budget.ended(index, state == "failed")
        self._board.end(index, state, note)
        self._on_trial(self._trials[index])


def _run_in_worker(
    config: dict[str, Any],
    *,
    run: Callable[..., Outcome],
    trials: Sequence[Trial],
    store: Store,
    data_root: Path | None,
    folder: Path,
) -> None:
    """One trial in a Ray worker. An error is reported; one that may pass is raised too, to be tried again."""
    told = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told >= _REPORT_SECONDS:
            told = time.monotonic()
            tune.report({"doing": progress.doing, "share": progress.share})

    try:
        scratch = folder if folder.is_dir() else None  # another machine has temporary files of its own
        outcome = run(trials[config["trial"]], store, data_root, scratch=scratch, on_progress=tell)
    except Exception as error:
        tune.report({"error": describe(error)})
        if not isinstance(error, _HOPELESS):
            raise
    else:
        tune.report({"overhead": outcome.overhead_seconds, "seconds": outcome.seconds})


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as a failure record: its kind, one line of reason, and the traceback's end as log."""
    lines = str(error).strip().splitlines()
    log = "".join(traceback.format_exception(error))[-_LOG_CHARACTERS:]
    kind = type(error).__name__
    reason = lines[0] if lines else kind
    if not isinstance(error, BadInput):
        reason = f"{kind}: {reason}"
    return {"kind": kind, "reason": reason, "log": log}


def _death(error_file: Path) -> dict[str, Any]:
    """A failure record for a worker that could not say anything, from what Tune wrote about it."""
    log = error_file.read_text()[-_LOG_CHARACTERS:] if error_file.is_file() else ""
    kind, reason = "ProcessDied", "its process was killed or its machine was lost"
    if "OutOfMemory" in log:
        kind, reason = "OutOfMemory", "its process was killed: the machine's memory was full"
    elif "failed to import on the worker" in log:
        why = log.strip().splitlines()[-1]
        kind, reason = "ImportFailed", f"its process could not import the code: {why}"
    return {"kind": kind, "reason": reason, "log": log}


def placement(trial: Trial) -> Any:
    bundle = {"CPU": trial.cpus, "GPU": trial.gpus}
    return tune.PlacementGroupFactory([{name: amount for name, amount in bundle.items() if amount}])
