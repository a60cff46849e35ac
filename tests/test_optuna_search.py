"""Search by two objectives: what is proposed, that nothing is proposed twice, and a whole search."""

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from small_sweep import write_small_sweep

from sweeps.budget import read_usage
from sweeps.plan import make_plan, prepare_sweep, proposed_path
from sweeps.run import run_sweep
from sweeps.search import _DistinctArms, _open_study, _point, _space, _take_up, objectives
from sweeps.spec import Sweep, read_spec
from sweeps.store import Store

SEARCH = "search: {optuna: {arms: 3, seed: 1, space: {mono_ratio: {low: 0.0, high: 1.0, step: 0.25}}}}"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def small_search(folder: Path) -> tuple[Sweep, Path]:
    spec, data_root = write_small_sweep(folder, more=SEARCH)
    return read_spec(str(spec), ["axes.grid.batch_size=[4, 5]"], data_root), data_root


def test_the_space_has_a_range_or_the_listed_values(tmp_path: Path) -> None:
    sweep, data_root = small_search(tmp_path)
    assert _space(sweep) == {
        "mono_ratio": FloatDistribution(0.0, 1.0, step=0.25),
        "batch_size": CategoricalDistribution([4, 5]),
    }
    ranged = read_spec(
        sweep.path,
        ["search.optuna.space={batch_size: {low: 2, high: 6}}", "axes.grid.batch_size=[4]"],
        data_root,
    )
    assert _space(ranged)["batch_size"] == IntDistribution(2, 6)


def test_lists_survive_optuna() -> None:
    assert _point({"languages": '["de", "en"]', "mono_ratio": 0.5}) == {
        "languages": ["de", "en"],
        "mono_ratio": 0.5,
    }


def test_no_arm_is_proposed_twice(tmp_path: Path) -> None:
    """Three arms are all there are: each is proposed once, then the space is used up."""
    study = _open_study(tmp_path / "optuna.db", "a")
    searcher = _DistinctArms(
        space={"mono_ratio": CategoricalDistribution([1.0, 0.5, 0.0])},
        metric=["in_domain", "zero_shot"],
        mode=["max", "max"],
        seed=0,
        storage=study._storage,
        study_name="a",
    )
    proposed: list[Any] = []
    searcher.on_proposal = proposed.append
    for number in range(3):
        searcher.suggest(str(number))
        if number < 2:  # the third is still running when the next is asked for
            searcher.on_trial_complete(str(number), {"in_domain": 0.1 * number, "zero_shot": 0.5})
    assert sorted(one["mono_ratio"] for one in proposed) == [0.0, 0.5, 1.0]
    assert searcher.suggest("3") == "FINISHED"


def test_an_arm_cut_off_is_taken_up_again(tmp_path: Path) -> None:
    space = {"mono_ratio": FloatDistribution(0.0, 1.0)}
    study = _open_study(tmp_path / "optuna.db", "a")
    study.tell(study.ask(fixed_distributions=space), [0.1, 0.2])
    cut_off = study.ask(fixed_distributions=space)
    tried = _take_up(_open_study(tmp_path / "optuna.db", "a"))
    assert tried == [study.trials[0].params]
    assert study.trials[cut_off.number].state == TrialState.FAIL
    assert study.ask(fixed_distributions=space).params == cut_off.params


@pytest.mark.long
def test_a_whole_search(tmp_path: Path) -> None:
    """Three arms by two objectives; their references and the untouched encoder follow; again runs nothing."""
    sweep, data_root = small_search(tmp_path)
    store = Store(tmp_path / "store")
    ended = run_sweep(sweep, store, data_root, track=False)
    assert ended.exit_code == 0
    plan = make_plan(sweep, store, data_root)
    assert len(plan.done) == len(plan.trials)
    proposed = store.get_json(proposed_path(sweep))
    assert len(proposed["points"]) == proposed["searched"] == 3
    for arm in plan.arms:
        assert arm.untouched or arm.reference is not None
    (tmp_path / "optuna.db").write_bytes(store.get_bytes("sweeps/small/optuna.db"))
    told = {json.dumps(t.params): t.values for t in _open_study(tmp_path / "optuna.db", "small").get_trials()}
    assert len(told) == 3
    for params, values in told.items():
        (arm,) = [arm for arm in plan.arms if dict(arm.axes) == json.loads(params)]
        assert list(objectives(sweep, store, plan.trials_of(arm))) == values
    used = read_usage(store, "small")
    assert used is not None
    assert used.trials >= 3 * len(sweep.seeds)
    assert used.cpu_seconds > 0
    assert run_sweep(sweep, store, data_root, track=False).ran == 0


def test_the_study_keeps_quiet(tmp_path: Path) -> None:
    _open_study(tmp_path / "optuna.db", "a")
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING


def test_a_search_plans_before_anything_is_proposed(tmp_path: Path) -> None:
    sweep, data_root = small_search(tmp_path)
    prepare_sweep(sweep, data_root)
    plan = make_plan(sweep, Store(tmp_path / "store"), data_root)
    assert [arm.untouched for arm in plan.arms] == [True]
