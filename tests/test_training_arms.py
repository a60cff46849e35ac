"""Training fields in sweeps: merged arms share a training, English alone beside the grid, early stopping."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_sweep import write_small_sweep

from hybrid.encoder import Encoder
from hybrid.errors import BadInput
from sweeps.plan import Plan, make_plan, prepare_sweep
from sweeps.plan_table import state_of
from sweeps.run import run_sweep
from sweeps.spec import Sweep, read_spec
from sweeps.store import Store
from sweeps.trial import run_trial


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., tuple[Plan, Store, Path]]:
    spec, data_root = write_small_sweep(tmp_path)

    def plan(axes: str, *overrides: str) -> tuple[Plan, Store, Path]:
        text = spec.read_text()
        start, end = text.index("axes:"), text.index("seeds:")
        changed = spec.with_name("changed.yaml")
        changed.write_text(text[:start] + f"axes: {axes}\n" + text[end:])
        sweep = read_spec(str(changed), overrides, data_root)
        prepare_sweep(sweep, data_root)
        store = Store(tmp_path / "store")
        return make_plan(sweep, store, data_root), store, data_root

    return plan


def test_merged_arms_share_a_training_and_have_scores_of_their_own(planned) -> None:
    from sweeps.schedule import turns

    plan, store, data_root = planned(
        "{grid: {mono_ratio: [1.0, 0.0], batch_size: [4], merge: [0.5, 0.0, 1.0]}}", "seeds=[1]"
    )
    assert [arm.alias for arm in plan.arms] == [
        "m1 merge0.5", "m1 merge0", "m1 merge1", "m0 merge0.5", "m0 merge0", "m0 merge1", "untouched",
    ]  # fmt: skip
    assert plan.arm("m0 merge0.5").reference == "m1 merge0.5"
    assert sum(plan.trains(trial) for trial in plan.trials) == 2
    states = [state_of(plan, trial) for trial in plan.trials]
    assert states == ["merge", "train", "merge", "merge", "train", "merge", "measure"]
    assert len({trial.train_key for trial in plan.trials}) == 7
    first, second = turns(plan.trials)
    assert [plan.trials[i].label for i in first] == ["m1 merge0.5 s1", "m0 merge0.5 s1", "untouched"]
    outcomes = {
        plan.trials[i].arm.alias: run_trial(plan.trials[i], store, data_root) for i in (*first, *second)
    }
    assert [alias for alias, outcome in outcomes.items() if outcome.trained] == ["m1 merge0.5", "m0 merge0.5"]

    after = make_plan(plan.sweep, store, data_root)
    assert after.todo == ()
    trials = {trial.arm.alias: trial for trial in after.trials}

    def scores(alias: str) -> list[float]:
        trial = trials[alias]
        tables = [store.scores(trial.train_key, key) for key in trial.scores.values()]
        return [value for table in tables for value in table["value"].to_pylist()]

    assert scores("m0 merge1") == scores("m1 merge1") == scores("untouched")
    assert scores("m0 merge0.5") not in (scores("m0 merge0"), scores("untouched"))
    record = store.record(trials["m0 merge0.5"].train_key)
    assert record is not None
    assert record["merge"] == 0.5
    assert record["merges"] == trials["m0 merge0"].train_key
    models = {
        alias: Encoder.load(str(store.get_model(trials[alias].train_key, Path(store.uri) / "tmp" / alias)))
        for alias in ("m0 merge0", "m0 merge0.5", "m0 merge1")
    }
    for half, whole, none in zip(
        *(models[f"m0 merge{share}"].parameters() for share in ("0.5", "0", "1")), strict=True
    ):
        assert np.allclose(half.detach(), (whole + none).detach() / 2, atol=1e-6)


def test_a_new_merge_needs_no_training(planned) -> None:
    plan, store, data_root = planned("{grid: {mono_ratio: [1.0], batch_size: [4]}}", "seeds=[1]")
    for trial in plan.trials:
        run_trial(trial, store, data_root)
    plan, _, _ = planned("{grid: {mono_ratio: [1.0], batch_size: [4], merge: [0.0, 0.2]}}", "seeds=[1]")
    (left,) = plan.todo
    assert left.label == "merge0.2 s1"
    assert not plan.trains(left)
    assert not run_trial(left, store, data_root).trained
    assert make_plan(plan.sweep, store, data_root).todo == ()


def test_a_failed_training_fails_its_merged_arms_without_training_again(planned) -> None:
    plan, store, data_root = planned("{grid: {mono_ratio: [1.0], batch_size: [4], merge: [0.0, 0.2]}}")
    trained, merged = plan.trials_of(plan.arms[0])[0], plan.trials_of(plan.arms[1])[0]
    store.put_failure(trained.train_key, {"reason": "it diverged"})
    with pytest.raises(BadInput, match="s1: the training it merges failed: it diverged"):
        run_trial(merged, store, data_root)


@pytest.mark.long
def test_a_sweep_with_merged_arms_on_the_embedded_world_trains_as_often_as_without(tmp_path: Path) -> None:
    spec = tmp_path / "merged.yaml"
    spec.write_text(
        "name: merged\n"
        "axes: {grid: {mono_ratio: [1.0, 0.5], backbone: [embedded-xlmr], merge: [0.0, 0.3, 0.7]}}\n"
        "seeds: [1, 2]\n"
        "train: {data: [embedded-qa:train], examples: 128, batch_size: 16}\n"
        "evaluate: {zero_shot: [embedded-science]}\n"
    )
    store = Store(tmp_path / "store")
    sweep: Sweep = read_spec(str(spec))
    assert run_sweep(sweep, store, None, track=False).exit_code == 0
    plan = make_plan(sweep, store)
    assert len(plan.trials) == 13
    assert plan.todo == ()
    records = [store.record(trial.train_key or "") or {} for trial in plan.trials if trial.train]
    assert sum("merges" not in record for record in records) == 4
    assert len({record.get("merges") for record in records} - {None}) == 4


def test_english_alone_is_an_arm_beside_the_grid(planned) -> None:
    plan, store, data_root = planned(
        "{grid: {mono_ratio: [1.0, 0.5], batch_size: [4]}, include: [{mono_ratio: 1.0, languages: [en]}]}",
        "reference={mono_ratio: 1.0, languages: null}",
        "seeds=[1]",
    )
    assert [(arm.alias, arm.reference) for arm in plan.arms] == [
        ("m1 all", "m1 all"), ("m0.5 all", "m1 all"), ("m1 en", "m1 all"), ("untouched", None),
    ]  # fmt: skip
    (trial,) = plan.trials_of(plan.arm("m1 en"))
    assert trial.train is not None
    assert trial.train.languages == ("en",)
    run_trial(trial, store, data_root)
    mixture = store.get_json(f"models/{trial.train_key}/mixture.json")
    assert mixture["pairs_by_language"] == {"en-en": 40}
    assert mixture["batches"] == {"mono": 10, "cross": 0}


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["train.stop_on=faq:test"], "stop by faq:test, which shares queries with faq:test, a reporting set"),
        (["train.stop_on=bugs", "train.stop_measure=map"], "shares queries with bugs, a reporting set"),
        (["train.stop_on=faq"], "stop by faq, which shares queries with faq:test, a reporting set"),
        (["train.stop_on=faq:train"], "stop by faq:train, which it trains on as faq:train"),
        (["train.stop_on=fag:dev"], "'fag' is no known data set"),
        (["train.stop_on=faq:test", "evaluate.allow_overlap=true"], "a reporting set"),
        (["train.patience=5"], "patience: counts only with stop_on"),
        (["train.lora_rank=4"], "lora_rank: counts only with adapter"),
        (["train.weights=[1.0, 2.0]"], "weights: 2 numbers for 1 sets of `data`"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(planned, overrides: list[str], sentence: str) -> None:
    with pytest.raises(BadInput) as raised:
        planned("{grid: {mono_ratio: [1.0], batch_size: [4]}}", *overrides)
    assert any(sentence in mistake for mistake in raised.value.mistakes), raised.value.mistakes


def test_early_stopping_on_a_selection_set_is_in_the_key_and_in_the_record(planned) -> None:
    axes = "{grid: {mono_ratio: [1.0], batch_size: [4]}}"
    stopping = ["train.stop_on=faq:dev", "train.stop_every=2", "train.patience=1", "seeds=[1]"]
    plain, _, _ = planned(axes, "seeds=[1]")
    plan, store, data_root = planned(axes, *stopping)
    trial = plan.trials[0]
    assert trial.train_key is not None
    assert trial.train_key != plain.trials[0].train_key
    run_trial(trial, store, data_root)
    record = store.record(trial.train_key)
    assert record is not None
    looked = record["early_stopping"]
    assert (looked["on"], looked["measure"], looked["languages"]) == ("faq:dev", "loss", ["de", "en"])
    values = [look["value"] for look in looked["looks"]]
    assert looked["best_step"] == looked["looks"][int(np.argmin(values))]["step"] == record["steps"]
    measured, _, _ = planned(axes, *stopping, "train.stop_measure=map")
    assert measured.trials[0].train_key not in (None, trial.train_key)
