"""The Optuna study of a search: what it may propose, what was tried, and how an arm is written in it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from sweeps.spec import Sweep

Point = Mapping[str, Any]


def open_study(database: Path, name: str) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{database}")
    return optuna.create_study(
        storage=storage, study_name=name, directions=["maximize", "maximize"], load_if_exists=True
    )


def take_up(study: optuna.Study) -> list[dict[str, Any]]:
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


def search_space(sweep: Sweep) -> dict[str, BaseDistribution]:
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


def as_point(params: Mapping[str, Any]) -> dict[str, Any]:
    """The axes of an arm from Optuna's parameters: the inverse of `_plain`."""
    return {
        axis: json.loads(value) if isinstance(value, str) and value.startswith("[") else value
        for axis, value in params.items()
    }
