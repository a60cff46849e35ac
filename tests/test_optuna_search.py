"""Search by two objectives: what is proposed, that nothing is proposed twice, and a whole search."""

import json
import os
import signal
import subprocess
import sys
import time
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
from sweeps.search import _DistinctArms, objectives
from sweeps.spec import Sweep, read_spec
from sweeps.store import Store
from sweeps.study import as_point, open_study, search_space, take_up

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
    assert search_space(sweep) == {
        "mono_ratio": FloatDistribution(0.0, 1.0, step=0.25),
        "batch_size": CategoricalDistribution([4, 5]),
    }
    ranged = read_spec(
        sweep.path,
        ["search.optuna.space={batch_size: {low: 2, high: 6}}", "axes.grid.batch_size=[4]"],
        data_root,
    )
    assert search_space(ranged)["batch_size"] == IntDistribution(2, 6)


def test_lists_survive_optuna() -> None:
    assert as_point({"languages": '["de", "en"]', "mono_ratio": 0.5}) == {
        "languages": ["de", "en"],
        "mono_ratio": 0.5,
    }


def test_no_arm_is_proposed_twice(tmp_path: Path) -> None:
    """Three arms are all there are: each is proposed once, then the space is used up."""
    study = open_study(tmp_path / "optuna.db", "a")
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


def test_an_arm_that_failed_is_not_proposed_again_and_one_cut_off_is(tmp_path: Path) -> None:
    """Of three arms one fails and one is cut off; a later run takes up that one and never the failed one."""
    space = {"mono_ratio": CategoricalDistribution([1.0, 0.5, 0.0])}
    proposed: list[float] = []
    for run in range(2):
        study = open_study(tmp_path / "optuna.db", "a")
        assert len(take_up(study)) == run  # what failed in the first
        searcher = _DistinctArms(
            space=space,
            metric=["in_domain", "zero_shot"],
            mode=["max", "max"],
            sampler=optuna.samplers.TPESampler(seed=run),
            storage=study._storage,
            study_name="a",
        )
        searcher.on_proposal = lambda point: proposed.append(point["mono_ratio"])
        searcher.suggest("first")
        searcher.on_trial_complete("first", error=run == 0, result={"in_domain": 0.1, "zero_shot": 0.5})
        searcher.suggest("second")  # the first run ends while this one runs
    failed, cut_off, again, last = proposed
    assert again == cut_off
    assert sorted([failed, cut_off, last]) == [0.0, 0.5, 1.0]
    searcher.on_trial_complete("second", error=True)
    assert searcher.suggest("third") == "FINISHED"


def test_an_arm_waits_for_the_training_it_shares(tmp_path: Path) -> None:
    """Two trainings, two merges each: no two arms of one training are ever running together."""
    study = open_study(tmp_path / "optuna.db", "a")
    searcher = _DistinctArms(
        space={
            "mono_ratio": CategoricalDistribution([1.0, 0.0]),
            "merge": CategoricalDistribution([0.0, 0.5]),
        },
        metric=["in_domain", "zero_shot"],
        mode=["max", "max"],
        sampler=optuna.samplers.RandomSampler(seed=0),
        storage=study._storage,
        study_name="a",
    )
    proposed: list[Any] = []
    searcher.on_proposal = proposed.append
    running: dict[str, float] = {}  # Tune's id -> mono_ratio of the arm
    refused = 0
    for number in range(100):
        trial_id = str(number)
        suggested = searcher.suggest(trial_id)
        if suggested == "FINISHED":
            break
        if suggested is None:
            refused += 1
            ended, _ = running.popitem()
            searcher.on_trial_complete(ended, {"in_domain": 0.1, "zero_shot": 0.5})
            continue
        assert suggested["point"]["mono_ratio"] not in running.values()
        running[trial_id] = suggested["point"]["mono_ratio"]
    assert refused > 0
    arms = sorted((one["mono_ratio"], one["merge"]) for one in proposed)
    assert arms == [(0.0, 0.0), (0.0, 0.5), (1.0, 0.0), (1.0, 0.5)]


@pytest.mark.long
def test_a_search_over_merge_trains_each_weights_once(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path, more="search: {optuna: {arms: 4, seed: 1}}")
    axes = "axes={grid: {mono_ratio: [1.0, 0.0], batch_size: [4], merge: [0.0, 0.5]}}"
    sweep, store = read_spec(str(spec), [axes, "seeds=[1]"], data_root), Store(tmp_path / "store")
    assert run_sweep(sweep, store, data_root, track=False).exit_code == 0
    plan = make_plan(sweep, store, data_root)
    assert len(plan.done) == len(plan.trials) == 5
    trained = {trial.merges or trial.train_key for trial in plan.trials if trial.train is not None}
    assert len(trained) == 2
    for train_key in trained:
        record = store.record(train_key or "")
        assert record is not None
        assert "merges" not in record
        assert (record["attempts"], record["resumed_from"]) == (1, 0)


def test_an_arm_cut_off_is_taken_up_again(tmp_path: Path) -> None:
    space = {"mono_ratio": FloatDistribution(0.0, 1.0)}
    study = open_study(tmp_path / "optuna.db", "a")
    study.tell(study.ask(fixed_distributions=space), [0.1, 0.2])
    cut_off = study.ask(fixed_distributions=space)
    tried = take_up(open_study(tmp_path / "optuna.db", "a"))
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
    told = {json.dumps(t.params): t.values for t in open_study(tmp_path / "optuna.db", "small").get_trials()}
    assert len(told) == 3
    for params, values in told.items():
        (arm,) = [arm for arm in plan.arms if dict(arm.axes) == json.loads(params)]
        assert list(objectives(sweep, store, plan.trials_of(arm))) == values
    used = read_usage(store, "small")
    assert used is not None
    assert used.trials >= 3 * len(sweep.seeds)
    assert used.cpu_seconds > 0
    assert run_sweep(sweep, store, data_root, track=False).ran == 0


EMBEDDED = """\
name: little
axes: {grid: {mono_ratio: [1.0, 0.5, 0.0]}}
seeds: [1]
train: {backbone: embedded-xlmr, data: [embedded-qa:train], examples: 480, batch_size: 8}
evaluate:
  select_on: {in_domain: [embedded-qa:dev], zero_shot: [embedded-science:train]}
  in_domain: [embedded-qa:test]
  zero_shot: [embedded-science]
search: {optuna: {arms: 2, seed: 1}}
"""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_search_tries_an_arm_again_whose_process_was_killed(tmp_path: Path) -> None:
    """On the embedded world; SIGKILL in the middle of an arm: its values are those of a search left alone."""
    spec, store = tmp_path / "little.yaml", tmp_path / "store"
    spec.write_text(EMBEDDED)

    def running() -> list[int]:
        attempts = [json.loads(path.read_text()) for path in store.glob("models/*/attempts.json")]
        return [one[-1]["pid"] for one in attempts if one[-1]["state"] == "cut off"]

    words = [sys.executable, "-m", "sweeps", "run", str(spec), "--store", str(store), "--max-concurrent", "1"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not running():
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(running()[0], signal.SIGKILL)
    log = process.communicate(timeout=400)[1]
    assert process.returncode == 0, log
    assert log.count("its process was killed; it is tried again") == 1

    def told(store: Path) -> list[Any]:
        database = tmp_path / "optuna.db"
        database.write_bytes((store / "sweeps/little/optuna.db").read_bytes())
        return [(one.state, one.params, one.values) for one in open_study(database, "little").get_trials()]

    assert [state for state, _, _ in told(store)] == [TrialState.COMPLETE] * 2
    alone = tmp_path / "alone"
    run_sweep(read_spec(str(spec), [], None), Store(alone), None, max_concurrent=1, track=False)
    assert told(store) == told(alone)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_arm_that_fails_for_good_is_told_as_failed_and_its_trial_waits(tmp_path: Path) -> None:
    """A learning rate that overflows, in one arm of two; a later run leaves its trials alone."""
    more = "search: {optuna: {arms: 2, seed: 1}}"
    spec, data_root = write_small_sweep(tmp_path, more=more)
    text = spec.read_text().replace("mono_ratio: [1.0, 0.0], batch_size: [4]", "learning_rate: [5e-5, 1e30]")
    text = text.replace("seeds: [1, 2]", "seeds: [1]\nreference: {learning_rate: 5e-5}")
    spec.write_text(text.replace("examples: 40", "examples: 40, batch_size: 4, clip_norm: 1e30"))
    sweep, store = read_spec(str(spec), [], data_root), Store(tmp_path / "store")
    ended = run_sweep(sweep, store, data_root, track=False)
    assert ended.exit_code == 1
    plan = make_plan(sweep, store, data_root)
    (failed,) = plan.failed
    failure = plan.failures[failed.train_key or ""]
    assert (failure["kind"], failure["attempts"]) == ("DivergenceError", 1)
    (tmp_path / "optuna.db").write_bytes(store.get_bytes("sweeps/small/optuna.db"))
    states = {one.state for one in open_study(tmp_path / "optuna.db", "small").get_trials()}
    assert states == {TrialState.COMPLETE, TrialState.FAIL}
    again = run_sweep(sweep, store, data_root, track=False)
    assert (again.exit_code, again.ran) == (1, 0)
    assert make_plan(sweep, store, data_root).failures[failed.train_key or ""] == failure


def test_the_study_keeps_quiet(tmp_path: Path) -> None:
    open_study(tmp_path / "optuna.db", "a")
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING


def test_a_search_plans_before_anything_is_proposed(tmp_path: Path) -> None:
    sweep, data_root = small_search(tmp_path)
    prepare_sweep(sweep, data_root)
    plan = make_plan(sweep, Store(tmp_path / "store"), data_root)
    assert [arm.untouched for arm in plan.arms] == [True]
