"""Ray Tune over a list of trials: placement, retries, warm workers, budgets, and what is seen of it.

Tune's own checkpoints, loggers and restore are not used. Its workers are reused from trial to trial,
so that heavy imports are paid once a process.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Callback, FailureConfig, RunConfig, Stopper, TuneConfig

from sweeps.board import Board
from sweeps.budget import Budget
from sweeps.failures import LOST_NODE, PREEMPTED, death, preempted, stalled
from sweeps.plan import Trial
from sweeps.stalled import Silence, end_process
from sweeps.store import Store
from sweeps.trial import Outcome, run_trial
from sweeps.tune_once import tune_once
from sweeps.worker import Job, run_in_worker

_SHARD = 1000  # trials a Tune run: it rewrites the state of all of them as it goes


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
    job = Job(run, ray.put(list(trials)), store, data_root, folder)
    for indices in turns(trials):
        if budget.exhausted():
            break
        trainable = tune.with_parameters(run_in_worker, job=job)
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
        with tune_once():
            tuner.fit()
    return watcher.overheads


def turns(trials: Sequence[Trial]) -> Iterator[list[int]]:
    """Places in `trials` that run together: those that share another's training come after all that train."""
    first: dict[str, int] = {}
    for i, trial in enumerate(trials):
        first.setdefault(trial.merges or trial.train_key or str(i), i)
    train = sorted(first.values())
    share = sorted(set(range(len(trials))) - set(train))
    for together in (train, share):
        yield from (together[start : start + _SHARD] for start in range(0, len(together), _SHARD))


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
        self._silence = Silence()
        self._attempts: dict[int, int] = {}
        self._errors: dict[int, dict[str, Any]] = {}  # trial -> what went wrong in the attempt that ends

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles what it would restore a run from; nothing is restored from that

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        self._board.refresh()
        self._budget.keep()
        minutes = self._budget.limits.stalled_minutes
        for index in self._silence.longer_than(minutes * 60):
            self._silence.ended(index)  # it is heard again when it is tried again
            running = next(trial for trial in trials if trial.config["trial"] == index)
            threads = end_process(running.temporary_state.ray_actor)
            self._errors[index] = stalled(minutes, self._board.doing(index), threads)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        index = trial.config["trial"]
        self._attempts[index] = self._attempts.get(index, 0) + 1
        self._silence.heard(index)
        self._budget.started(index, self._trials[index].cpus, self._trials[index].gpus)
        self._board.start(index)

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Any],  # noqa: ARG002
        trial: Any,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        index = trial.config["trial"]
        self._silence.heard(index)
        if "doing" in result:
            self._board.progress(index, result["doing"], result["share"])
        if "error" in result:
            self._errors[index] = result["error"]
        if "left" in result:
            self._errors[index] = preempted()
            trial.run_metadata.num_failures -= 1  # so that the end to come does not count

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        index = trial.config["trial"]
        self._silence.ended(index)
        self._budget.ended(index, None)
        failure = self._error(index, trial)
        if failure["kind"] in (LOST_NODE, PREEMPTED):
            self._attempts[index] -= 1
            trial.run_metadata.num_failures = self._attempts[index]
        self._board.retry(index, failure["reason"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        index, result = trial.config["trial"], trial.last_result or {}
        if "error" in result:
            self._failed(index, self._errors.pop(index, result["error"]))
        elif "overhead" in result:  # otherwise it was stopped, not finished
            self.overheads.append(result["overhead"])
            self._end(index, "done", "")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._failed(trial.config["trial"], self._error(trial.config["trial"], trial))

    def _error(self, index: int, trial: Any) -> dict[str, Any]:
        """What is known of the attempt that ended; if its worker could not say anything, its process died."""
        return self._errors.pop(index, None) or death(Path(trial.error_file))

    def _failed(self, index: int, failure: dict[str, Any]) -> None:
        failure = {**failure, "attempts": self._attempts.get(index, 1), "time": time.time()}
        self._store.put_failure(self._trials[index].train_key or "", failure)
        self._end(index, "failed", failure["reason"])

    def _end(self, index: int, state: str, note: str) -> None:
        self._silence.ended(index)
        self._budget.ended(index, state == "failed")
        self._board.end(index, state, note)
        self._on_trial(self._trials[index])


def placement(trial: Trial) -> Any:
    bundle = {"CPU": trial.cpus, "GPU": trial.gpus}
    return tune.PlacementGroupFactory([{name: amount for name, amount in bundle.items() if amount}])
