"""One trial: what it leaves in the store, what it does not do twice, and that a cut changes nothing."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sentence_transformers import SentenceTransformer
from small_sweep import write_small_sweep

import sweeps.trial
from hybrid.errors import BadInput
from sweeps.attempts import attempts_at
from sweeps.plan import Plan, Trial, make_plan, prepare_sweep
from sweeps.spec import read_spec
from sweeps.store import Store
from sweeps.trial import Progress, run_trial


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plan, Path]]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("small")
        patch.setenv("HYBRID_CACHE", str(folder / "cache"))
        spec, data_root = write_small_sweep(folder)
        sweep = read_spec(str(spec), [], data_root)
        prepare_sweep(sweep, data_root)
        yield make_plan(sweep, Store(folder / "empty"), data_root), data_root


def first(plan: Plan) -> Trial:
    return plan.trials[0]


def all_scores(store: Store, trial: Trial) -> list[list[dict[str, object]]]:
    return [store.scores(trial.train_key or "", key or "").to_pylist() for key in trial.scores.values()]


def test_a_trial_leaves_everything_in_the_store(planned: tuple[Plan, Path], tmp_path: Path) -> None:
    plan, data_root = planned
    store, trial = Store(tmp_path), first(plan)
    told: list[Progress] = []
    outcome = run_trial(trial, store, data_root, on_progress=told.append)
    key = trial.train_key or ""
    assert outcome.trained
    curve = pq.read_table(tmp_path / "models" / key / "curve.parquet")
    training = [one for one in told if one.doing == "training" and not one.saved]
    assert [one.share for one in training] == [step / 10 for step in range(1, 11)]
    assert [one.loss for one in training] == curve["loss"].to_pylist()
    assert all(one.pairs_per_second for one in training)
    assert {(one.loss, one.pairs_per_second) for one in told if one.doing != "training"} == {(None, None)}
    columns = {f"tokenising {column} {lang}" for column in ("questions", "passages") for lang in ("de", "en")}
    assert {one.doing for one in told if one.doing.startswith("tokenising")} == columns
    assert [one.doing for one in told if one.saved] == ["training", *outcome.evaluate_seconds]
    assert set(outcome.evaluate_seconds) == {"faq:dev", "faq:test", "bugs:train", "bugs"}
    record = store.record(key)
    assert record is not None
    assert record["attempts"] == 1
    assert {"hardware", "versions", "commit", "seconds", "precision", "threads", "peak_rss_mb"} <= set(record)
    assert store.get_json(f"models/{key}/config.json")["train"]["seed"] == trial.seed
    assert store.get_json(f"models/{key}/mixture.json")
    model = SentenceTransformer(str(tmp_path / "models" / key / "model"), device="cpu")
    assert model.encode(["x"]).shape == (1, 32)
    assert [one["state"] for one in attempts_at(store, trial)] == ["done"]
    again = run_trial(trial, store, data_root)
    assert not again.trained
    assert again.evaluate_seconds == {}


def test_a_new_task_is_measured_without_training(planned: tuple[Plan, Path], tmp_path: Path) -> None:
    plan, data_root = planned
    store, trial = Store(tmp_path), first(plan)
    some = {name: key for name, key in trial.scores.items() if name != "bugs"}
    run_trial(replace(trial, scores=some), store, data_root)
    outcome = run_trial(trial, store, data_root)
    assert not outcome.trained
    assert set(outcome.evaluate_seconds) == {"bugs"}


def test_the_untouched_backbone_is_measured_and_nothing_is_trained(
    planned: tuple[Plan, Path], tmp_path: Path
) -> None:
    plan, data_root = planned
    store, trial = Store(tmp_path), plan.trials[-1]
    assert trial.train is None
    assert not run_trial(trial, store, data_root).trained
    assert all(all_scores(store, trial))
    assert not store.has_model(trial.train_key or "")


def test_cut_off_and_resumed_gives_the_same_bytes(
    planned: tuple[Plan, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, data_root = planned
    trial = first(plan)
    whole, cut = Store(tmp_path / "whole"), Store(tmp_path / "cut")
    run_trial(trial, whole, data_root)
    monkeypatch.setattr(sweeps.trial, "CHECKPOINT_SECONDS", 0.0)

    saved: list[float] = []

    def stop(progress: Progress) -> None:
        if progress.saved:
            saved.append(progress.share)
        if progress.doing == "training" and progress.share > 0.5:
            raise RuntimeError("cut off")

    with pytest.raises(RuntimeError, match="cut off"):
        run_trial(trial, cut, data_root, on_progress=stop)
    assert cut.index().has_checkpoint(trial.train_key or "")
    outcome = run_trial(trial, cut, data_root)
    assert outcome.resumed_from >= 5
    assert saved == [step / 10 for step in range(1, len(saved) + 1)]
    assert len(saved) >= 5
    assert all_scores(cut, trial) == all_scores(whole, trial)
    weights = f"models/{trial.train_key}/model/model.safetensors"
    assert cut.get_bytes(weights) == whole.get_bytes(weights)
    assert [one["state"] for one in attempts_at(cut, trial)] == ["cut off", "done"]


def test_a_damaged_model_is_trained_again(planned: tuple[Plan, Path], tmp_path: Path) -> None:
    plan, data_root = planned
    store, trial = Store(tmp_path), first(plan)
    run_trial(trial, store, data_root)
    before = all_scores(store, trial)
    weights = tmp_path / "models" / (trial.train_key or "") / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    shutil.rmtree(tmp_path / "scores")
    assert run_trial(trial, store, data_root).trained
    assert all_scores(store, trial) == before


def test_a_trial_does_not_depend_on_the_one_before(planned: tuple[Plan, Path], tmp_path: Path) -> None:
    """Workers are reused: what another trial left in the process must not show."""
    import torch

    plan, data_root = planned
    alone, after = Store(tmp_path / "alone"), Store(tmp_path / "after")
    run_trial(first(plan), alone, data_root)
    run_trial(plan.trials[2], after, data_root)
    torch.manual_seed(123)
    torch.set_num_threads(2)
    run_trial(first(plan), after, data_root)
    assert all_scores(after, first(plan)) == all_scores(alone, first(plan))


def test_the_backbone_is_never_measured_in_the_place_of_a_lost_model(
    planned: tuple[Plan, Path], tmp_path: Path
) -> None:
    plan, data_root = planned
    store, trial = Store(tmp_path), first(plan)
    put = store.put_model

    def put_and_lose(train_key: str, folder: Path) -> None:
        put(train_key, folder)
        store.drop_model(train_key)

    store.put_model = put_and_lose  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="gone or damaged"):
        run_trial(trial, store, data_root)
    assert not any(store.has_scores(trial.train_key or "", key or "") for key in trial.scores.values())


def test_other_files_than_those_planned_with_are_refused(planned: tuple[Plan, Path], tmp_path: Path) -> None:
    plan, data_root = planned
    trial = first(plan)
    other = replace(trial, digests={**trial.digests, "faq:train": "another"})
    with pytest.raises(BadInput, match=r"faq:train: what .* read is not what the sweep was planned with"):
        run_trial(other, Store(tmp_path / "pairs"), data_root)
    other = replace(plan.trials[-1], scores={**trial.scores, "bugs": "0" * 20})
    with pytest.raises(BadInput, match=r"bugs: what .* read is not what the sweep was planned with"):
        run_trial(other, Store(tmp_path / "task"), data_root)
