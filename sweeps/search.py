"""`search: {optuna: …}`: propose arms by two objectives instead of running the whole grid.

In-domain up and zero-shot up, both on the selection sets alone and both the mean over seeds. One Ray
trial is one arm with all its seeds, so that the sampler learns from means. The study lives beside the
sweep's record (`sweeps/<name>/optuna.db`); the arms proposed stand in `proposed.json`, from which
every other command plans. An arm whose trials the store has costs nothing.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState
from ray import tune
from ray.tune import RunConfig, TuneConfig
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.searcher import Searcher

from hybrid.errors import BadInput
from sweeps.attended import Attended
from sweeps.axis_words import axes_words
from sweeps.budget import Budget
from sweeps.failures import cause_of
from sweeps.node_checks import Expected, refuse_other_machine
from sweeps.plan import Trial, make_plan, proposed_path
from sweeps.schedule import OutOfBudget, placement, put_failure
from sweeps.spec import Sweep
from sweeps.store import Store
from sweeps.study import Point, as_point, open_study, search_space, take_up
from sweeps.trial import Progress, run_trial
from sweeps.tune_once import tune_once
from sweeps.worker import attempt, here

OBJECTIVES = ("in_domain", "zero_shot")
_TRIES = 100  # proposals in a row that are all known: the space is used up


def search(
    sweep: Sweep,
    store: Store,
    data_root: Path | None,
    budget: Budget,
    folder: Path,
    *,
    max_concurrent: int | None,
    changed: Callable[[], None],
    say: Callable[[str], None],
    expected: Expected | None = None,
) -> None:
    """Propose and run arms until `search.optuna.arms` different ones were tried, or a limit is reached.

    Connected to a Ray cluster; `changed` is called when the store has another arm. An arm is tried again as a
    trial is; one that fails for good is told to the sampler as failed, and the trial it failed by is recorded
    and waits for `--retry-failed`. `limits.trials` is rounded up to whole arms.
    """
    assert sweep.search is not None
    database = folder / "optuna.db"
    stored = f"sweeps/{sweep.name}/optuna.db"
    if store.exists(stored):
        database.write_bytes(store.get_bytes(stored))
    study = open_study(database, sweep.name)
    tried = take_up(study)
    left = sweep.search.arms - len(tried)
    if budget.trials_left is not None:
        left = min(left, math.ceil(budget.trials_left / len(sweep.seeds)))
    proposals = _Proposals(sweep, store)
    for params in tried:  # what a damaged file has lost
        proposals.add(as_point(params))

    def keep() -> None:
        store.put_bytes(stored, database.read_bytes())

    if left > 0:
        searcher = _DistinctArms(
            space=search_space(sweep),
            metric=list(OBJECTIVES),
            mode=["max", "max"],
            sampler=optuna.samplers.TPESampler(seed=sweep.search.seed + len(study.trials)),
            storage=study._storage,
            study_name=sweep.name,
        )
        searcher.on_proposal = proposals.add
        trainable = tune.with_parameters(
            _run_arm, sweep=sweep, store=store, data_root=data_root, folder=folder, expected=expected
        )

        def resources(config: dict[str, Any]) -> Any:
            return placement(_trials_of(sweep, store, data_root, config)[0])

        watcher = _SearchWatcher(sweep, store, len(tried), budget, resources, say, keep, changed)
        tuner = tune.Tuner(
            tune.with_resources(trainable, resources),
            tune_config=TuneConfig(
                search_alg=searcher, num_samples=left, reuse_actors=True, max_concurrent_trials=max_concurrent
            ),
            run_config=RunConfig(
                storage_path=str(folder), callbacks=[watcher], stop=OutOfBudget(budget), verbose=0
            ),
        )
        with tune_once(watcher.retries.again):
            tuner.fit()
        keep()
    if not budget.exhausted():
        proposals.finish(sweep.search.arms)


def _run_arm(
    config: dict[str, Any],
    *,
    sweep: Sweep,
    store: Store,
    data_root: Path | None,
    folder: Path,
    expected: Expected | None = None,
) -> None:
    """All seeds of one arm in a Ray worker, then its objectives."""

    def work(tell: Callable[[Progress], None], leaving: Callable[[], bool]) -> dict[str, Any]:
        if expected is not None:
            refuse_other_machine(expected, tell)
        trials = _trials_of(sweep, store, data_root, config)
        for trial in trials:
            if failure := store.failure(trial.train_key or ""):
                raise BadInput(f"{trial.label} failed before: {failure['reason']}")
        for trial in trials:
            tune.report({"train_key": trial.train_key})  # whose an error or a death is
            run_trial(trial, store, data_root, scratch=here(folder), on_progress=tell, leaving=leaving)
        tune.report({"train_key": None})
        return dict(zip(OBJECTIVES, objectives(sweep, store, trials), strict=True))

    attempt(work)


def objectives(sweep: Sweep, store: Store, trials: Sequence[Trial]) -> tuple[float, float]:
    """In-domain and zero-shot of one arm on the selection sets, as the export rule measures them.

    Each is the mean over seeds of the mean over tasks and settings of the macro mean over languages.
    Raises ValueError if a measure is not there or not finite: a missing objective would end the search.
    """
    groups, export = sweep.evaluate.groups, sweep.export
    pair = (
        _mean(store, trials, groups["select_in_domain"], export.maximise, export.setting),
        _mean(store, trials, groups["select_zero_shot"], sweep.guardrail.measure, None),
    )
    for name, value in zip(OBJECTIVES, pair, strict=True):
        if not math.isfinite(value):
            raise ValueError(f"the selection sets give no {name} value")
    return pair


def _mean(
    store: Store, trials: Sequence[Trial], tasks: Sequence[str], measure: str, setting: str | None
) -> float:
    from hybrid.evaluate import macro

    values = []
    for trial in trials:
        for task in tasks:
            table = store.scores(trial.train_key or "", trial.scores[task] or "").drop_columns(["train_key"])
            values += [
                value
                for (_, of_setting, of_measure), value in macro(table).items()
                if of_measure == measure and setting in (None, of_setting)
            ]
    return float(np.mean(values)) if values else math.nan


class _DistinctArms(OptunaSearch):
    """Proposes no arm twice. A sampler's repetition is answered with what is known and asked again.

    An arm that shares the training of one that runs waits for it: both would train the same weights.
    """

    on_proposal: Callable[[Point], None]
    _waiting: Any = None  # Optuna's trial of the arm that waits

    def suggest(self, trial_id: str) -> Any:
        study: Any = self._ot_study
        if self._waiting is not None:
            self._ot_trials[trial_id], self._waiting = self._waiting, None
        for _ in range(_TRIES):
            params = super().suggest(trial_id) or {}
            own = self._ot_trials[trial_id].number
            every = study.get_trials(deepcopy=False)
            (proposed,) = [one for one in every if one.number == own]
            others = {one.state: one for one in every if one.params == params and one.number != own}
            complete = others.get(TrialState.COMPLETE)
            # Of those told as failed, one that was cut off waits in the queue: it alone is proposed again.
            failed = TrialState.FAIL in others and "fixed_params" not in proposed.system_attrs
            if complete is None and not failed and TrialState.RUNNING not in others:
                if self._its_training_runs(trial_id, params):
                    self._waiting = self._ot_trials.pop(trial_id)
                    return None  # Tune asks again
                self.on_proposal(as_point(params))
                return {"point": as_point(params)}
            repeated = self._ot_trials.pop(trial_id)
            if complete is not None:
                study.tell(repeated, complete.values)
            else:
                study.tell(repeated, state=TrialState.FAIL)
        return Searcher.FINISHED

    def _its_training_runs(self, trial_id: str, params: dict[str, Any]) -> bool:
        study: Any = self._ot_study
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        own = self._ot_trials[trial_id].number
        return any(_training(one.params) == _training(params) for one in running if one.number != own)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if error or set(OBJECTIVES) <= set(result or {}):
            super().on_trial_complete(trial_id, result, error)
        # else it was stopped at a limit: it stays as running, and the next run takes it up


class _SearchWatcher(Attended):
    """What Tune tells of arms: a line for each, its share of the limits, and the study kept as it grows."""

    def __init__(
        self,
        sweep: Sweep,
        store: Store,
        done: int,
        budget: Budget,
        resources: Callable[[dict[str, Any]], Any],
        say: Callable[[str], None],
        keep: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        assert sweep.search is not None
        super().__init__(budget, say)
        self._arms, self._seeds, self._done = sweep.search.arms, len(sweep.seeds), done
        self._resources, self._keep, self._changed, self._store = resources, keep, changed, store
        self._numbers: dict[str, int] = {}  # of Tune's trials, in the order started
        self._doing: dict[str, dict[str, Any]] = {}  # the last that each arm said

    def doing(self, trial: Any) -> str:
        return str(self._doing[trial.trial_id].get("doing", ""))

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        number = self._numbers.setdefault(trial.trial_id, len(self._numbers))
        bundle = self._resources(trial.config).bundles[0]
        self._doing[trial.trial_id] = {}
        self.retries.started(trial)
        self._budget.started(number, bundle.get("CPU", 0.0), bundle.get("GPU", 0.0))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        super().on_trial_result(iteration, trials, trial, result, **info)
        for name in {"train_key", "doing"} & set(result):
            self._doing[trial.trial_id][name] = result[name]

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._budget.ended(self._numbers.get(trial.trial_id, -1), None)
        self._say(f"arm {_words(trial)}: {self.retries.failure(trial)['reason']}; it is tried again")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self.retries.ended(trial)
        result = trial.last_result or {}
        if "in_domain" in result:
            self._budget.ended(self._numbers[trial.trial_id], failed=False, trials=self._seeds)
            self._end(trial, f"in-domain {result['in_domain']:.4f}, zero-shot {result['zero_shot']:.4f}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        failure = self.retries.failure(trial)
        number = self._numbers.get(trial.trial_id, -1)
        self._budget.ended(number, failed=True, trials=self._seeds, cause=cause_of(failure))
        train_key = self._doing.get(trial.trial_id, {}).get("train_key")
        if train_key is not None:
            put_failure(self._store, train_key, failure, self._say)
        self._end(trial, f"failed ({failure['reason']})")

    def _end(self, trial: Any, what: str) -> None:
        self._done += 1
        self._say(f"[arm {self._done}/{self._arms}] {_words(trial)}: {what}")
        self._keep()
        self._changed()


def _training(params: dict[str, Any]) -> dict[str, Any]:
    """What of an arm is trained: all but the share of untouched weights that is averaged in afterwards."""
    return {axis: value for axis, value in params.items() if axis != "merge"}


def _words(trial: Any) -> str:
    return axes_words(trial.config["point"])


class _Proposals:
    """The arms proposed so far, in the store as soon as they are proposed."""

    def __init__(self, sweep: Sweep, store: Store) -> None:
        self._path, self._store = proposed_path(sweep), store
        self._written: dict[str, Any] = {"points": [], **(store.get_json(self._path) or {})}

    def add(self, point: Point) -> None:
        if point not in self._written["points"]:
            self._written["points"].append(dict(point))
            self._store.put_json(self._path, self._written)

    def finish(self, arms: int) -> None:
        self._store.put_json(self._path, {**self._written, "searched": arms})


def _trials_of(sweep: Sweep, store: Store, data_root: Path | None, config: dict[str, Any]) -> list[Trial]:
    point = {axis: _tuple(config["point"][axis]) for axis in sweep.axes}
    plan = make_plan(sweep, store, data_root, points=[point])
    return [trial for trial in plan.trials if not trial.arm.untouched and dict(trial.arm.axes) == point]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
