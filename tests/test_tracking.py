"""MLflow as a projection of the store: once, twice, after a change, from nothing; its names and limits."""

import os
import re
import shutil
import socket
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest
from made_sweep import make_sweep, paper_like, replan

from hybrid.errors import BadInput
from sweeps.headline import LIMIT, metric_names
from sweeps.projection import _word
from sweeps.results import load_results
from sweeps.series import series_and_values
from sweeps.spec_sections import GROUPS
from sweeps.store import Store
from sweeps.tracking import Projected, project, project_report
from sweeps.tracking_address import tracking_uri
from sweeps.tracking_lock import one_projection
from sweeps.ui import command, environment, serve


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    plan, store = make_sweep(tmp_path_factory.mktemp("store"), shift=paper_like, noise=0.01)
    return plan, store, project(plan, store)


def _runs(store, experiment):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri(store, None))
    return {run.info.run_name: run for run in client.search_runs([experiment])}


def _shown(store, done):
    """Everything a reader sees, ids and times left out."""
    return [
        {
            name: (run.info.status, run.data.params, run.data.metrics, run.data.tags)
            for name, run in _runs(store, experiment).items()
        }
        for experiment in done.experiments
    ]


def test_one_run_a_trial_and_one_an_arm(made):
    plan, store, done = made
    trials, arms = (_runs(store, experiment) for experiment in done.experiments)
    assert set(trials) == {trial.label for trial in plan.trials}
    assert set(arms) == {arm.alias for arm in plan.arms}
    assert {run.info.status for run in (*trials.values(), *arms.values())} == {"FINISHED"}
    assert done.created == len(plan.trials) + len(plan.arms)


def test_a_trial_shows_its_axes_seed_scores_curve_inputs_and_files(made):
    from mlflow import MlflowClient

    plan, store, done = made
    trial = next(trial for trial in plan.trials if trial.label == "m0.5 s2")
    run = _runs(store, done.experiments[0])["m0.5 s2"]
    assert run.data.params["mono_ratio"] == "0.5"
    assert run.data.params["seed"] == "2"
    value = next(
        row["value"]
        for row in load_results(plan, store).rows("in_domain")
        if (row["arm"], row["seed"], row["setting"], row["measure"]) == ("m0.5", 2, "cross", "map")
    )
    assert run.data.metrics["embedded_qa/cross/map"] == value
    client = MlflowClient(tracking_uri=done.uri)
    curve = client.get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in curve] == list(range(0, trial.train.steps, 10))
    contexts = {
        (one.dataset.name, one.tags[0].value, len(one.dataset.digest) <= 36)
        for one in run.inputs.dataset_inputs
    }
    assert ("embedded-qa:train", "training", True) in contexts
    assert ("embedded-qa:dev", "selection", True) in contexts
    assert ("embedded-science", "evaluation", True) in contexts
    files = {one.path for one in client.list_artifacts(run.info.run_id)}
    assert {"config.json", "mixture.json", "record.json", "scores"} <= files
    copied = client.download_artifacts(run.info.run_id, "scores/embedded-history.parquet")
    stored = store.get_bytes(f"scores/{trial.train_key}/{trial.scores['embedded-history']}.parquet")
    with open(copied, "rb") as file:  # noqa: PTH123
        assert file.read() == stored


def test_an_arm_shows_mean_spread_interval_and_n(made):
    _, store, done = made
    metrics = _runs(store, done.experiments[1])["m0"].data.metrics
    trials = _runs(store, done.experiments[0])
    seeds = [trials[f"m0 s{seed}"].data.metrics["beir/macro/ndcg_at_10"] for seed in (1, 2)]
    assert metrics["n"] == 2
    assert metrics["beir/macro/ndcg_at_10"] == pytest.approx(sum(seeds) / 2)
    assert metrics["beir/macro/ndcg_at_10/sd"] == pytest.approx(abs(seeds[0] - seeds[1]) / 2**0.5)
    low, high = metrics["beir/macro/ndcg_at_10/ci_lo"], metrics["beir/macro/ndcg_at_10/ci_hi"]
    assert (high - low) / 2 == pytest.approx(12.7062 * abs(seeds[0] - seeds[1]) / 2, rel=1e-4)  # t, 1 df
    delta = metrics["beir/macro/delta_ndcg_at_10"]
    assert metrics["beir/macro/delta_ndcg_at_10/ci_lo"] < delta < metrics["beir/macro/delta_ndcg_at_10/ci_hi"]
    assert delta == pytest.approx(-0.06, abs=0.01)


def test_names_and_numbers_keep_within_what_mlflow_shows_well(made):
    _, store, done = made
    for experiment in done.experiments:
        for run in _runs(store, experiment).values():
            headline = [name for name in run.data.metrics if not name.startswith("train/")]
            assert 5 <= len(headline) <= LIMIT
            assert all(re.fullmatch(r"[a-z0-9_\-. /]+", name) for name in headline)
            assert all(0 <= value <= 1 for name, value in run.data.metrics.items() if name.endswith("/map"))


def test_twice_gives_the_same_as_once(made):
    plan, store, first = made
    before = _shown(store, first)
    again = project(plan, store)
    assert (again.created, again.updated, again.unchanged) == (0, 0, first.created)
    assert _shown(store, again) == before


def test_from_nothing_gives_the_same_again(made, tmp_path):
    plan, store, first = made
    shutil.copytree(store.local, tmp_path / "copy", ignore=shutil.ignore_patterns("mlflow.*", "mlartifacts"))
    copy = Store(tmp_path / "copy")
    rebuilt = project(plan, copy)
    want, have = _shown(store, first), _shown(copy, rebuilt)
    for one in (*want, *have):
        for _, _, _, tags in one.values():
            for name in ("model", "sweeps.content"):  # the store's own address
                tags.pop(name, None)
    assert have == want


def test_failed_and_cut_off_trials_end_as_such_and_are_taken_up_again(tmp_path):
    plan, store = make_sweep(tmp_path, mono_ratios=(1.0,), seeds=(1, 2, 3))
    arm = plan.trials[1].arm.alias
    kept = {}
    for trial, state in zip(plan.trials[1:], ("failed", "cut off", "done"), strict=True):
        name = f"scores/{trial.train_key}/{trial.scores['embedded-science']}.json"
        if state != "done":
            kept[name] = store.get_bytes(name)
            store.delete(name)
        if state == "failed":
            store.put_failure(trial.train_key, {"reason": "no space", "log": "Traceback"})
    first = project(replan(plan, store), store)
    runs = _runs(store, first.experiments[0])
    assert [runs[f"{arm} s{seed}"].info.status for seed in (1, 2, 3)] == ["FAILED", "KILLED", "FINISHED"]
    assert runs[f"{arm} s1"].data.tags["failure"] == "no space"
    assert "beir/macro/ndcg_at_10" not in runs[f"{arm} s1"].data.metrics
    for name, content in kept.items():
        store.put_bytes(name, content)
    store.clear_failure(plan.trials[1].train_key)
    second = project(replan(plan, store), store)
    after = _runs(store, second.experiments[0])
    assert [after[f"{arm} s{seed}"].info.status for seed in (1, 2, 3)] == ["FINISHED"] * 3
    assert after[f"{arm} s1"].info.run_id == runs[f"{arm} s1"].info.run_id
    assert "beir/macro/ndcg_at_10" in after[f"{arm} s1"].data.metrics


def test_a_run_left_over_by_a_crash_is_completed_and_a_double_is_dropped(tmp_path):
    from mlflow import MlflowClient

    plan, store = make_sweep(tmp_path, mono_ratios=(1.0,), seeds=(1,))
    done = project(plan, store)
    client = MlflowClient(tracking_uri=done.uri)
    key = plan.trials[1].train_key
    client.create_run(done.experiments[0], tags={"sweeps.key": key}, run_name="stray")
    label = plan.trials[1].label
    client.update_run(_runs(store, done.experiments[0])[label].info.run_id, status="RUNNING")
    project(plan, store)
    runs = _runs(store, done.experiments[0])
    assert set(runs) == {"untouched", label}
    assert runs[label].info.status == "FINISHED"


def test_split_names_are_kept_where_they_are_needed(made):
    plan, store, _ = made
    series, _ = series_and_values(load_results(plan, store), GROUPS)
    names = metric_names(series)
    assert len(set(names.values())) == len(names)
    assert names["in_domain/embedded-qa:test/multi/map"] == "embedded_qa/multi/map"
    assert names["select_in_domain/embedded-qa:dev/multi/map"] == "select/embedded_qa/multi/map"
    one = next(one for one in series if one["group"] == "in_domain")
    two = [one | {"id": task, "task": task} for task in ("x:dev", "x:test")]
    assert set(metric_names(two).values()) == {"x_dev/mono/map", "x_test/mono/map"}


def test_the_means_of_two_groups_never_share_a_name():
    mean = {"task": "macro", "setting": "beir", "measure": "ndcg_at_10"}
    both = [mean | {"id": group, "group": group} for group in ("in_domain", "zero_shot")]
    assert metric_names(both) == {
        "in_domain": "beir/macro_in_domain/ndcg_at_10",
        "zero_shot": "beir/macro_zero_shot/ndcg_at_10",
    }
    assert metric_names(both[1:]) == {"zero_shot": "beir/macro/ndcg_at_10"}


def test_an_arm_stays_one_run_when_the_sweep_gets_another_value(tmp_path):
    for sizes in ((16,), (16, 32)):
        plan, store = make_sweep(tmp_path, mono_ratios=(1.0,), batch_sizes=sizes, seeds=(1,), queries=8)
        done = project(plan, store)
        assert set(_runs(store, done.experiments[1])) == {arm.alias for arm in plan.arms}


def test_a_server_that_does_not_answer_is_one_sentence(made):
    plan, store, _ = made
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BadInput, match="does not answer"):
            project(plan, store, address)


def test_a_remote_store_needs_a_server_named():
    with pytest.raises(BadInput, match=r"tracking\.uri"):
        tracking_uri(Store("s3://bucket/folder?region=eu-west-1"), None)


def test_the_pages_are_for_this_machine_alone_and_need_something_tracked(tmp_path):
    with pytest.raises(BadInput, match="sweeps sync"):
        serve(Store(tmp_path))
    line = command("sqlite:///x.db", 5001)
    assert line[line.index("--host") + 1] == "127.0.0.1"
    assert line[line.index("--workers") + 1] == "1"
    assert environment()["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_the_report_is_attached_to_the_sweeps_own_run(tmp_path):
    """Once it is written; with its figures; and again when it has changed, in the same run."""
    from mlflow import MlflowClient

    plan, store = make_sweep(tmp_path, mono_ratios=(1.0,), seeds=(1,))
    assert project_report(plan, store) is None  # nothing is tracked
    assert len(project(plan, store).experiments) == 2
    files = {"report.json": b'{"verdicts": {"sentence": "No."}}', "index.html": b"<p>one</p>"}
    for name, content in {**files, "figures/curve.svg": b"<svg/>"}.items():
        store.put_bytes(f"sweeps/made/report/{name}", content)
    first = project_report(plan, store)
    assert (first.created, first.unchanged) == (1, 0)
    [run] = _runs(store, first.experiments[0]).values()
    assert run.data.tags["answer"] == "No."
    client = MlflowClient(tracking_uri=first.uri)
    assert {one.path for one in client.list_artifacts(run.info.run_id)} == {
        "figures", "index.html", "report.json",
    }  # fmt: skip
    again = project(plan, store)
    assert (len(again.experiments), again.created) == (3, 0)
    store.put_bytes("sweeps/made/report/report.json", b'{"verdicts": {"sentence": "Yes."}}')
    store.put_bytes("sweeps/made/report/index.html", b"<p>two</p>")
    assert project_report(plan, store).updated == 1
    [changed] = _runs(store, first.experiments[0]).values()
    assert changed.info.run_id == run.info.run_id
    assert changed.data.tags["answer"] == "Yes."
    page = client.download_artifacts(run.info.run_id, "index.html", str(tmp_path))
    assert Path(page).read_text() == "<p>two</p>"


def test_arms_are_tagged_with_their_verdict_and_one_metric_stands_for_each_group(tmp_path):
    plan, store = make_sweep(tmp_path, seeds=(1, 2, 3), shift=paper_like, noise=0.01)
    done = project(plan, store)
    arms = _runs(store, done.experiments[1])
    assert {name: run.data.tags["verdict"] for name, run in arms.items()} == {
        "untouched": "", "m1": "reference", "m0.5": "degradation", "m0": "degradation",
    }  # fmt: skip
    for run in (*arms.values(), *_runs(store, done.experiments[0]).values()):
        metrics = run.data.metrics
        sets = [metrics[f"beir/embedded_{name}/ndcg_at_10"] for name in ("science", "history")]
        assert metrics["zero_shot/mean"] == pytest.approx(sum(sets) / 2)
        assert "in_domain/mean" in metrics


def test_a_database_in_no_folder_is_one_sentence(made, tmp_path):
    plan, store, _ = made
    with pytest.raises(BadInput, match="there is no folder"):
        project(plan, store, f"sqlite:///{tmp_path}/absent/mlflow.db")


def test_lists_and_nothing_are_words_that_mlflow_sorts():
    assert [_word(value) for value in (0.5, 32, ("en", "de"), None, True)] == [
        "0.5", "32", "en+de", "none", "true",
    ]  # fmt: skip


def test_who_waits_for_another_projection_is_told_for_whom(tmp_path: Path) -> None:
    """Another process of this store is writing to a server that takes its time."""
    plan, store = make_sweep(tmp_path, mono_ratios=(1.0,), seeds=(1,))
    said: Queue[str] = Queue()
    ended: list[Projected] = []
    waits = Thread(target=lambda: ended.append(project(plan, store, say=said.put)))
    with one_projection(store):
        waits.start()
        sentence = said.get(timeout=60)
        assert f"by process {os.getpid()} on {socket.gethostname()};" in sentence
        assert ended == []
    waits.join()
    assert ended[0].created > 0
    assert said.empty()
    project(plan, store, say=said.put)  # nobody holds it now
    assert said.empty()
