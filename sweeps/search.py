"""`search: {optuna: …}`: propose arms by two objectives instead of running the whole grid.

In-domain up and zero-shot up, both on the selection sets alone and both the mean over seeds. One Ray
trial is one arm with all its seeds, so that the sampler learns from means. The study lives beside the
sweep's record (`sweeps/<name>/optuna.db`); the arms proposed stand in `proposed.json`, from which
every other command plans. An arm whose trials the store has costs nothing.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState
from ray import tune
from ray.tune import Callback, FailureConfig, RunConfig, TuneConfig
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.searcher import Searcher

from sweeps.budget import Budget
from sweeps.failures import describe
from sweeps.plan import Trial, make_plan, proposed_path
from sweeps.schedule import OutOfBudget, placement
from sweeps.spec import Sweep
from sweeps.store import Store
from sweeps.trial import run_trial
from sweeps.worker import HOPELESS, prepare_process

OBJECTIVES = ("in_domain", "zero_shot")
_TRIES = 100  # proposals in a row that are all known: the space is used up

Point = Mapping[str, Any]


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
) -> None:
    """Propose and run arms until `search.optuna.arms` different ones were tried, or a limit is reached.

    Connected to a Ray cluster; `changed` is called when the store has another arm. An arm that fails, after
    its retries, is told to the sampler as failed; the ordinary run afterwards tries its trials again, but for
    those whose failure would only be repeated. `limits.trials` is rounded up to whole arms.
    """
    assert sweep.search is not None
    database = folder / "optuna.db"
    stored = f"sweeps/{sweep.name}/optuna.db"
    if store.exists(stored):
        database.write_bytes(store.get_bytes(stored))
    study = _open_study(database, sweep.name)
    tried = _take_up(study)
    left = sweep.search.arms - len(tried)
    if budget.trials_left is not None:
        left = min(left, math.ceil(budget.trials_left / len(sweep.seeds)))
    proposals = _Proposals(sweep, store)

    def keep() -> None:
        store.put_bytes(stored, database.read_bytes())

    if left > 0:
        searcher = _DistinctArms(
            space=_space(sweep),
            metric=list(OBJECTIVES),
            mode=["max", "max"],
            sampler=optuna.samplers.TPESampler(seed=sweep.search.seed + len(study.trials)),
            storage=study._storage,
            study_name=sweep.name,
        )
        searcher.on_proposal = proposals.add
        trainable = tune.with_parameters(
            _run_arm, sweep=sweep, store=store, data_root=data_root, folder=folder
        )

        def resources(config: dict[str, Any]) -> Any:
            return placement(_trials_of(sweep, store, data_root, config)[0])

        tuner = tune.Tuner(
            tune.with_resources(trainable, resources),
            tune_config=TuneConfig(
                search_alg=searcher, num_samples=left, reuse_actors=True, max_concurrent_trials=max_concurrent
            ),
            run_config=RunConfig(
                storage_path=str(folder),
                failure_config=FailureConfig(max_failures=budget.limits.retries),
                callbacks=[_SearchWatcher(sweep, len(tried), budget, resources, say, keep, changed)],
                stop=OutOfBudget(budget),
                verbose=0,
            ),
        )
        tuner.fit()
        keep()
    if not budget.exhausted():
        proposals.finish(sweep.search.arms)


def _run_arm(
    config: dict[str, Any], *, sweep: Sweep, store: Store, data_root: Path | None, folder: Path
) -> None:
    """All seeds of one arm in a Ray worker, then its objectives."""
    prepare_process()
    scratch = folder if folder.is_dir() else None  # another machine has temporary files of its own
    trials = _trials_of(sweep, store, data_root, config)
    for trial in trials:
        failure = store.failure(trial.train_key or "")
        if failure:
            raise RuntimeError(f"{trial.label} failed before: {failure['reason']}")
        try:
            run_trial(trial, store, data_root, scratch=scratch)
        except HOPELESS as error:
            store.put_failure(trial.train_key or "", {**describe(error), "attempts": 1})
            raise
    in_domain, zero_shot = objectives(sweep, store, trials)
    tune.report({"in_domain": in_domain, "zero_shot": zero_shot})


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
    """Proposes no arm twice. A sampler's repetition is answered with what is known and asked again."""

    on_proposal: Callable[[Point], None]

    def suggest(self, trial_id: str) -> Any:
        study: Any = self._ot_study
        for _ in range(_TRIES):
            params = super().suggest(trial_id) or {}
            others = [
                one
                for one in study.get_trials(deepcopy=False)
                if one.params == params and one.number != self._ot_trials[trial_id].number
            ]
            known = [one for one in others if one.state == TrialState.COMPLETE]
            if not known and not any(one.state == TrialState.RUNNING for one in others):
                self.on_proposal(_point(params))
                return {"point": _point(params)}
            repeated = self._ot_trials.pop(trial_id)
            if known:
                study.tell(repeated, known[0].values)
            else:
                study.tell(repeated, state=TrialState.FAIL)
        return Searcher.FINISHED


class _SearchWatcher(Callback):
    """What Tune tells of arms: a line for each, its share of the limits, and the study kept as it grows."""

    def __init__(
        self,
        sweep: Sweep,
        done: int,
        budget: Budget,
        resources: Callable[[dict[str, Any]], Any],
        say: Callable[[str], None],
        keep: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        assert sweep.search is not None
        self._arms, self._seeds, self._done = sweep.search.arms, len(sweep.seeds), done
        self._budget, self._resources, self._say = budget, resources, say
        self._keep, self._changed = keep, changed
        self._numbers: dict[str, int] = {}  # of Tune's trials, in the order started

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles what it would restore a run from; nothing is restored from that

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        self._budget.keep()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        number = self._numbers.setdefault(trial.trial_id, len(self._numbers))
        bundle = self._resources(trial.config).bundles[0]
        self._budget.started(number, bundle.get("CPU", 0.0), bundle.get("GPU", 0.0))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._budget.ended(self._numbers[trial.trial_id], None)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        result = trial.last_result or {}
        if "in_domain" in result:
            values = f"in-domain {result['in_domain']:.4f}, zero-shot {result['zero_shot']:.4f}"
            self._end(trial, values, failed=False)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._end(trial, "failed", failed=True)

    def _end(self, trial: Any, what: str, *, failed: bool) -> None:
        self._budget.ended(self._numbers[trial.trial_id], failed, trials=self._seeds)
        self._done += 1
        point = ", ".join(f"{axis} {value}" for axis, value in trial.config["point"].items())
        self._say(f"[arm {self._done}/{self._arms}] {point}: {what}")
        self._keep()
        self._changed()


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


def _open_study(database: Path, name: str) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{database}")
    return optuna.create_study(
        storage=storage, study_name=name, directions=["maximize", "maximize"], load_if_exists=True
    )


def _take_up(study: optuna.Study) -> list[dict[str, Any]]:
    """Arms tried so far. One that was running when its run was cut off is put in front of the queue."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    waiting = [t.system_attrs.get("fixed_params") for t in study.get_trials(states=(TrialState.WAITING,))]
    tried: list[dict[str, Any]] = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL)):
        done = trial.state == TrialState.COMPLETE or trial.params not in waiting
        if done and trial.params not in tried:
            tried.append(trial.params)
    return tried


def _space(sweep: Sweep) -> dict[str, BaseDistribution]:
    """A distribution for each axis: its range where one is given, otherwise its listed values."""
    assert sweep.search is not None
    space: dict[str, BaseDistribution] = {}
    for axis, values in sweep.axes.items():
        span = sweep.search.space.get(axis)
        if span is None:
            space[axis] = CategoricalDistribution([_plain(value) for value in values])
        elif all(isinstance(value, int) for value in values):
            space[axis] = IntDistribution(int(span.low), int(span.high), span.log, int(span.step or 1))
        else:
            space[axis] = FloatDistribution(span.low, span.high, span.log, span.step)
    return space


def _plain(value: Any) -> Any:
    """A value Optuna can keep: lists as JSON."""
    return json.dumps(list(value)) if isinstance(value, list | tuple) else value


def _point(params: Mapping[str, Any]) -> dict[str, Any]:
    """The axes of an arm from Optuna's parameters: the inverse of `_plain`."""
    return {
        axis: json.loads(value) if isinstance(value, str) and value.startswith("[") else value
        for axis, value in params.items()
    }


def _trials_of(sweep: Sweep, store: Store, data_root: Path | None, config: dict[str, Any]) -> list[Trial]:
    point = {axis: _tuple(config["point"][axis]) for axis in sweep.axes}
    plan = make_plan(sweep, store, data_root, points=[point])
    return [trial for trial in plan.trials if not trial.arm.untouched and dict(trial.arm.axes) == point]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
