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
from ray.tune import RunConfig, Stopper, TuneConfig

from sweeps.attended import Attended
from sweeps.board import Board
from sweeps.budget import Budget
from sweeps.failures import cause_of
from sweeps.node_checks import Expected
from sweeps.plan import Trial
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
    expected: Expected | None = None,
) -> list[float]:
    """Run trials in the order given on the cluster this process is connected to.

    Writes a failure record for each trial that fails for good. `folder` takes Tune's own files, and
    those of trials on this machine.
    Returns the seconds of each finished trial outside training and evaluation.
    """
    watcher = _Watcher(trials, store, board, budget, on_trial)
    job = Job(run, ray.put(list(trials)), store, data_root, folder, expected)
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
                callbacks=[watcher],
                stop=OutOfBudget(budget),
                verbose=0,
            ),
        )
        with tune_once(watcher.retries.again):
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


class _Watcher(Attended):
    """What Tune tells this process, turned into the board, failure records and the tracking's work."""

    def __init__(
        self,
        trials: Sequence[Trial],
        store: Store,
        board: Board,
        budget: Budget,
        on_trial: Callable[[Trial], None],
    ) -> None:
        super().__init__(budget, board.say)
        self.overheads: list[float] = []
        self._trials, self._store, self._board = trials, store, board
        self._on_trial = on_trial

    def doing(self, trial: Any) -> str:
        return self._board.doing(trial.config["trial"])

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._board.refresh()
        super().on_step_end(iteration, trials, **info)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        index = trial.config["trial"]
        self.retries.started(trial)
        self._budget.started(index, self._trials[index].cpus, self._trials[index].gpus)
        self._board.start(index)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        super().on_trial_result(iteration, trials, trial, result, **info)
        if "doing" in result:
            names = ("doing", "share", "loss", "pairs_per_second")
            self._board.progress(trial.config["trial"], *(result[name] for name in names))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        index = trial.config["trial"]
        self._budget.ended(index, None)
        self._board.retry(index, self.retries.failure(trial)["reason"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        index, result = trial.config["trial"], trial.last_result or {}
        self.retries.ended(trial)
        if "overhead" in result:  # otherwise it was stopped, not finished
            self.overheads.append(result["overhead"])
            self._budget.ended(index, False)
            self._end(index, "done", "")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        index, failure = trial.config["trial"], self.retries.failure(trial)
        self._budget.ended(index, True, cause=cause_of(failure))
        put_failure(self._store, self._trials[index].train_key or "", failure, self._board.say)
        self._end(index, "failed", failure["reason"])

    def _end(self, index: int, state: str, note: str) -> None:
        self._board.end(index, state, note)
        self._on_trial(self._trials[index])


def put_failure(store: Store, train_key: str, failure: dict[str, Any], say: Callable[[str], None]) -> None:
    """Record a failure; if it cannot be, on a full disk, that is said and the trial counts as left."""
    try:
        store.put_failure(train_key, {**failure, "time": time.time()})
    except OSError as error:
        say(f"a failure could not be recorded: {error}")


def placement(trial: Trial) -> Any:
    bundle = {"CPU": trial.cpus, "GPU": trial.gpus}
    return tune.PlacementGroupFactory([{name: amount for name, amount in bundle.items() if amount}])
