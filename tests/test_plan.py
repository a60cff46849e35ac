"""Plans: arms and their names, resolved trials, what the store has, and that planning writes nothing."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_data import write_small_data

from hybrid.errors import BadInput
from hybrid.scores import SCHEMA
from sweeps.arms import name_arms
from sweeps.plan import Plan, Trial, digests_path, make_plan, prepare_sweep, proposed_path, steps_of
from sweeps.spec import Sweep, read_spec
from sweeps.store import Index, Store

SMALL = """\
name: small
axes:
  grid: {mono_ratio: [1.0, 0.5], batch_size: [4, 8]}
seeds: [1, 2]
train: {data: [faq:train], backbone: BACKBONE, examples: 60}
evaluate:
  select_on: {in_domain: [faq:dev], zero_shot: [bugs:train]}
  in_domain: [faq:test]
  zero_shot: [bugs]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that counts as a model for planning: planning hashes weights, it does not load them."""
    folder = tmp_path_factory.mktemp("backbones") / "toy"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def sweep_of(tmp_path: Path, root: Path, backbone: Path):
    def read(text: str = SMALL, *overrides: str) -> Sweep:
        path = tmp_path / "a.yaml"
        path.write_text(text.replace("BACKBONE", str(backbone)), encoding="utf-8")
        return read_spec(str(path), overrides, root)

    return read


def put_scores(store: Store, trial: Trial, task: str) -> None:
    row = {
        "task": task, "setting": "beir", "query_lang": "en", "doc_lang": "en", "query_id": "q",
        "cluster_id": "q", "measure": "ndcg_at_10", "value": 0.5,
    }  # fmt: skip
    table = pa.table({name: [value] for name, value in row.items()}).cast(SCHEMA)
    assert trial.train_key is not None
    key = trial.scores[task]
    assert key is not None
    store.put_scores(trial.train_key, key, table, {"seconds": 2.0})


def put_model(store: Store, trial: Trial, tmp_path: Path, seconds: float = 6.0) -> None:
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    (folder / "record.json").write_text(f'{{"seconds": {seconds}}}')
    store.put_model(str(trial.train_key), folder)


def finish(store: Store, trial: Trial, tmp_path: Path) -> None:
    if trial.train is not None:
        put_model(store, trial, tmp_path)
    for task in trial.scores:
        put_scores(store, trial, task)


def planned(sweep: Sweep, tmp_path: Path, root: Path) -> tuple[Plan, Store]:
    store = Store(tmp_path / "store")
    return make_plan(sweep, store, root), store


def test_before_preparing_keys_are_unknown_and_nothing_is_written(
    sweep_of, tmp_path: Path, root: Path
) -> None:
    sweep = sweep_of()
    before = sorted(tmp_path.rglob("*"))
    plan, _ = planned(sweep, tmp_path, root)
    assert sorted(tmp_path.rglob("*")) == before
    assert len(plan.unknown) == 1
    assert plan.unknown[0].startswith(
        "unknown until prepared (by `sweeps prepare` or `sweeps run`): faq:dev, "
    )
    assert all(trial.train_key is None for trial in plan.trials if trial.train)
    assert plan.todo == plan.trials
    assert plan.seconds_left is None


def test_trials_are_resolved(sweep_of, tmp_path: Path, root: Path) -> None:
    sweep = sweep_of()
    prepare_sweep(sweep, root)
    plan, _ = planned(sweep, tmp_path, root)
    assert [trial.label for trial in plan.trials] == [
        "m1 b4 s1", "m1 b4 s2", "m1 b8 s1", "m1 b8 s2",
        "m0.5 b4 s1", "m0.5 b4 s2", "m0.5 b8 s1", "m0.5 b8 s2", "untouched",
    ]  # fmt: skip
    assert [arm.reference for arm in plan.arms] == ["m1 b4", "m1 b8", "m1 b4", "m1 b8", None]
    assert [trial.train.steps for trial in plan.trials if trial.train] == [15, 15, 8, 8] * 2
    assert plan.notes == ("60 examples are held; in whole batches that is 60, 64",)
    keys = [trial.train_key for trial in plan.trials]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert plan.unknown == ()
    assert plan.tasks["faq:dev"] == ("select_in_domain",)
    again, _ = planned(sweep_of(), tmp_path, root)
    assert [trial.train_key for trial in again.trials] == keys


def test_what_the_store_has_is_done_and_only_the_new_is_to_do(sweep_of, tmp_path: Path, root: Path) -> None:
    sweep = sweep_of()
    prepare_sweep(sweep, root)
    plan, store = planned(sweep, tmp_path, root)
    for trial in plan.trials:
        finish(store, trial, tmp_path)
    assert planned(sweep, tmp_path, root)[0].todo == ()

    more_seeds, _ = planned(sweep_of(SMALL, "seeds=[1, 2, 3]"), tmp_path, root)
    assert [trial.label for trial in more_seeds.todo] == ["m1 b4 s3", "m1 b8 s3", "m0.5 b4 s3", "m0.5 b8 s3"]

    more_arms, _ = planned(sweep_of(SMALL, "axes.grid.mono_ratio=[1.0, 0.5, 0.0]"), tmp_path, root)
    assert {trial.arm.axes["mono_ratio"] for trial in more_arms.todo} == {0.0}

    text = SMALL.replace("zero_shot: [bugs]\n", "zero_shot: [bugs, laws]\n")
    prepare_sweep(sweep_of(text), root)
    more_tasks, _ = planned(sweep_of(text), tmp_path, root)
    assert len(more_tasks.todo) == len(more_tasks.trials)
    assert not any(more_tasks.lacks_training(trial) for trial in more_tasks.todo)
    assert {more_tasks.missing_tasks(trial) for trial in more_tasks.todo} == {("laws",)}


def test_what_changes_a_key_and_what_does_not(sweep_of, tmp_path: Path, root: Path, backbone: Path) -> None:
    sweep = sweep_of()
    prepare_sweep(sweep, root)

    def keys(*overrides: str, text: str = SMALL) -> list[str | None]:
        return [trial.train_key for trial in planned(sweep_of(text, *overrides), tmp_path, root)[0].trials]

    base = keys()
    for same in ("name=other", "guardrail.margin=0.02", "limits.trials=1", "evaluate.precision=bf16"):
        assert keys(same) == base, same
    assert keys("resources=[{cpu: 2}]")[:8] != base[:8]  # threads change the order of sums
    assert keys("resources=[{cpu: 2}]", "train.threads=1")[:8] == base[:8]
    for other in ("train.learning_rate=1e-4", "train.passage=paragraph", "train.schedule=bernoulli"):
        prepare_sweep(sweep_of(SMALL, other), root)
        assert not set(keys(other)[:8]) & set(base[:8]), other
        assert keys(other)[8] == base[8]
    (backbone / "model.safetensors").write_bytes(b"other weights")
    try:
        assert not set(keys()) & set(base)
    finally:
        (backbone / "model.safetensors").write_bytes(b"weights")


def test_a_changed_data_file_is_unknown_again(sweep_of, tmp_path: Path) -> None:
    root = write_small_data(tmp_path / "own")
    sweep = sweep_of()
    prepare_sweep(sweep, root)
    before, _ = planned(sweep, tmp_path, root)
    with (root / "bugs" / "corpus.jsonl").open("a") as corpus:
        corpus.write('{"_id": "d9", "title": "", "text": "more"}\n')
    changed, _ = planned(sweep, tmp_path, root)
    assert "bugs" in changed.unknown[0]
    prepare_sweep(sweep, root)
    after, _ = planned(sweep, tmp_path, root)
    assert after.trials[0].train_key == before.trials[0].train_key
    assert after.trials[0].scores["faq:test"] == before.trials[0].scores["faq:test"]
    assert after.trials[0].scores["bugs"] != before.trials[0].scores["bugs"]


def test_failed_and_begun_trials_are_known(sweep_of, tmp_path: Path, root: Path) -> None:
    sweep = sweep_of()
    prepare_sweep(sweep, root)
    plan, store = planned(sweep, tmp_path, root)
    failed, begun = plan.trials[0], plan.trials[1]
    store.put_failure(str(failed.train_key), {"reason": "out of memory"})
    (tmp_path / "checkpoint").write_bytes(b"state")
    store.put_checkpoint(str(begun.train_key), tmp_path / "checkpoint")
    plan, _ = planned(sweep, tmp_path, root)
    assert [trial.label for trial in plan.failed] == [failed.label]
    assert plan.failures[str(failed.train_key)]["reason"] == "out of memory"
    assert plan.begun == {begun.train_key}
    assert len(plan.todo) == len(plan.trials)


def test_time_comes_from_records_alone(sweep_of, tmp_path: Path, root: Path) -> None:
    sweep = sweep_of()
    prepare_sweep(sweep, root)
    plan, store = planned(sweep, tmp_path, root)
    assert plan.seconds_left is None
    finish(store, plan.trials[0], tmp_path)  # 60 examples in 6 s, 2 s a task
    plan, _ = planned(sweep, tmp_path, root)
    examples = sum(trial.train.steps * trial.train.batch_size for trial in plan.todo if trial.train)
    assert plan.seconds_left == pytest.approx(examples * 0.1 + 8 * 4 * 2.0)


def test_resources_decide_device_threads_and_precision(sweep_of, tmp_path: Path, root: Path) -> None:
    rules = "resources=[{when: {batch_size: 8}, cpu: 4, gpu: 0.5}, {cpu: 2}]"
    plan, _ = planned(
        sweep_of(SMALL, rules, "train.precision=auto", "evaluate.precision=auto"), tmp_path, root
    )
    small, large, untouched = plan.trials[0], plan.trials[2], plan.trials[-1]
    assert (large.cpus, large.gpus) == (4, 0.5)
    assert large.train is not None
    assert (large.train.device, large.train.threads, large.train.precision) == ("cuda", 4, "bf16")
    assert large.evaluate.precision == "bf16"
    assert small.train is not None
    assert (small.train.device, small.train.threads) == ("cpu", 2)
    assert (untouched.cpus, untouched.gpus) == (2, 0)


def test_resources_by_backbone_and_batch_size(sweep_of, tmp_path: Path, root: Path) -> None:
    """The first rule that fits counts; an untouched backbone has no batch size, but is one."""
    rules = (
        "resources=[{when: {backbone: embedded-labse, batch_size: 8}, gpu: 1}, "
        "{when: {backbone: embedded-labse}, gpu: 0.5}, {gpu: 0.25, cpu: 2}]"
    )
    text = SMALL.replace("backbone: BACKBONE, ", "")
    text = text.replace("[4, 8]}", "[4, 8], backbone: [embedded-xlmr, embedded-labse]}")
    plan, _ = planned(sweep_of(text, rules), tmp_path, root)
    given = {
        (trial.backbone, trial.train.batch_size if trial.train else None): (trial.gpus, trial.cpus)
        for trial in plan.trials
    }
    assert set(given.items()) >= {
        (("embedded-labse", 8), (1, 1)),
        (("embedded-labse", 4), (0.5, 1)),
        (("embedded-labse", None), (0.5, 1)),
        (("embedded-xlmr", 8), (0.25, 2)),
        (("embedded-xlmr", None), (0.25, 2)),
    }


def test_a_search_plans_what_was_proposed_and_its_references(sweep_of, tmp_path: Path, root: Path) -> None:
    sweep = sweep_of(SMALL + "search: {optuna: {arms: 4}}\n")
    plan, store = planned(sweep, tmp_path, root)
    assert [trial.label for trial in plan.trials] == ["untouched"]
    store.put_json(proposed_path(sweep), {"points": [{"mono_ratio": 0.35, "batch_size": 8}]})
    plan, _ = planned(sweep, tmp_path, root)
    assert [(arm.alias, arm.reference) for arm in plan.arms] == [
        ("m1", "m1"),
        ("m0.35", "m1"),
        ("untouched", None),
    ]


def test_names_are_short_unique_and_say_what_varies() -> None:
    def aliases(*points: dict[str, object]) -> list[str]:
        return [arm.alias for arm in name_arms(points, {}, "one")]

    ratios = [{"mono_ratio": m, "batch_size": 32} for m in (1.0, 0.5)]
    assert aliases(*ratios) == ["m1", "m0.5", "untouched"]
    assert aliases(ratios[0]) == ["m1 b32", "untouched"]
    two = [
        {"backbone": name, "learning_rate": 5e-5, "symmetric": s}
        for s in (True, False)
        for name in ("a-x", "a-y")
    ]
    assert aliases(*two) == [
        "x symmetric", "y symmetric", "x not-symmetric", "y not-symmetric", "untouched x", "untouched y",
    ]  # fmt: skip
    assert aliases({"backbone": "/models/toy"}, {"backbone": "intfloat/e5"}) == [
        "toy", "e5", "untouched toy", "untouched e5",
    ]  # fmt: skip
    assert aliases(*({"learning_rate": rate} for rate in (5e-5, 0.001)))[:2] == ["lr5e-5", "lr0.001"]
    assert aliases({"languages": None}, {"languages": ("en", "de")})[:2] == ["all", "en+de"]
    clash = [{"decay": "x", "schedule": "y z"}, {"decay": "x y", "schedule": "z"}]
    assert len(set(aliases(*clash))) == 3


def test_names_stay_unique_on_random_grids() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        values = sorted({round(float(value), 3) for value in draw.random(8)})
        points = [
            {"mono_ratio": m, "temperature": t, "chunk_size": c}
            for m in values
            for t in values
            for c in (None, 8, 16)
        ]
        arms = name_arms(points, {"mono_ratio": values[0]}, "one")
        assert len({arm.alias for arm in arms}) == len(arms)
        assert all(arm.reference is not None for arm in arms[:-1])


def test_examples_become_the_nearest_number_of_batches() -> None:
    assert steps_of({"examples": 20000, "batch_size": 128}) == 156
    assert steps_of({"examples": 48, "batch_size": 32}) == 2
    assert steps_of({"examples": 1, "batch_size": 32}) == 1
    assert steps_of({"updates": 7, "batch_size": 32}) == 7


def test_a_store_that_cannot_be_read_is_bad_input(sweep_of, tmp_path: Path, root: Path) -> None:
    class Unplugged(Store):
        def index(self) -> Index:
            raise OSError(5, "Input/output error")

    with pytest.raises(BadInput, match=r"cannot be read \(Input/output error\)"):
        make_plan(sweep_of(), Unplugged(tmp_path), root)


def test_ten_thousand_trials_are_planned(sweep_of, tmp_path: Path, root: Path) -> None:
    sweep = sweep_of(SMALL, f"seeds={list(range(2500))}")
    prepare_sweep(sweep, root)
    plan, _ = planned(sweep, tmp_path, root)
    assert len(plan.todo) == 10_001


def test_planning_imports_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "sentence_transformers", "datasets", "ray", "mlflow", "matplotlib"]
    code = f"import sys, sweeps.cli, sweeps.plan_table; print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_text_that_is_trained_on_and_measured_is_refused(sweep_of, tmp_path: Path) -> None:
    root = write_small_data(tmp_path / "own")
    copies = [f'{{"_id": "c{i}", "text": "en question {i // 2} {i % 2}?"}}\n' for i in range(24)]
    (root / "bugs" / "queries.jsonl").write_text("".join(copies))
    judged = "".join(f"c{i}\td{i % 6}\t1\n" for i in range(24))
    (root / "bugs" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    (root / "bugs" / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nc0\td0\t1\n")
    with pytest.raises(BadInput) as raised:
        prepare_sweep(sweep_of(), root)
    assert re.search(r"faq:train and bugs share \d+ of 24 queries by text", str(raised.value))
    assert "allow_overlap" in str(raised.value)
    allowed = sweep_of(SMALL, "evaluate.allow_overlap=true")
    prepare_sweep(allowed, root)
    plan, _ = planned(allowed, tmp_path, root)
    assert any("faq:train and bugs share" in note for note in plan.notes)


def copy_of_bugs(root: Path) -> None:
    """The test queries of `bugs` as a user's own folder, with other ids, as both splits."""
    (root / "mine" / "qrels").mkdir(parents=True)
    (root / "mine" / "corpus.jsonl").write_text((root / "bugs" / "corpus.jsonl").read_text())
    lines = [f'{{"_id": "own{i}", "text": "Bugs: query {i}"}}\n' for i in (3, 4, 5)]
    (root / "mine" / "queries.jsonl").write_text("".join(lines))
    judged = "query-id\tcorpus-id\tscore\n" + "".join(f"own{i}\td{i}\t1\n" for i in (3, 4, 5))
    for split in ("train", "test"):
        (root / "mine" / "qrels" / f"{split}.tsv").write_text(judged)


def test_a_copy_of_a_reporting_set_under_another_name_cannot_choose(tmp_path: Path, backbone: Path) -> None:
    root = write_small_data(tmp_path / "own")
    copy_of_bugs(root)
    path = tmp_path / "copy.yaml"
    path.write_text(SMALL.replace("BACKBONE", str(backbone)), encoding="utf-8")
    shared = "mine chooses and bugs reports: they share 3 of 3 queries by text"
    choosing, allowed = "evaluate.select_on.zero_shot=[mine]", "evaluate.allow_overlap=true"
    with pytest.raises(BadInput, match=shared):
        prepare_sweep(read_spec(str(path), [choosing], root), root)
    sweep = read_spec(str(path), [choosing, allowed], root)
    prepare_sweep(sweep, root)
    assert shared in planned(sweep, tmp_path, root)[0].notes
    for measure in ("map", "loss"):
        stopping = ["train.stop_on=mine", f"train.stop_measure={measure}", allowed]
        with pytest.raises(BadInput, match="they share 3 of 3 queries by text; stop by another set"):
            prepare_sweep(read_spec(str(path), stopping, root), root)


def test_a_sweep_can_be_looked_at_where_its_data_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = write_small_data(tmp_path / "here")
    (here / "bugs").rename(here / "scifact")  # data sets of the catalog, by their names
    (here / "faq").rename(here / "xquad-r")
    text = SMALL.replace("bugs", "scifact").replace("faq", "xquad-r").replace("BACKBONE", "minilm-l6")
    (tmp_path / "b.yaml").write_text(text)
    sweep = read_spec(str(tmp_path / "b.yaml"), (), here)
    prepare_sweep(sweep, here)
    plan, store = planned(sweep, tmp_path, here)
    store.put_json(digests_path(sweep), dict(plan.digests))
    for trial in plan.trials:
        finish(store, trial, tmp_path)

    monkeypatch.delenv("HYBRID_DATA_ROOT", raising=False)
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache of another machine"))
    elsewhere = make_plan(read_spec(str(tmp_path / "b.yaml"), (), None, files_later=True), store, None)
    assert elsewhere.todo == ()
    assert elsewhere.unknown == ()
    assert "not on this machine" in elsewhere.notes[-1]
    unread = make_plan(sweep, store, here)  # there, but not prepared on this machine: other bytes, perhaps
    assert "unknown until prepared" in unread.unknown[0]


def test_two_arms_of_one_training_are_refused(root: Path, backbone: Path, tmp_path: Path) -> None:
    spec = tmp_path / "small.yaml"
    text = SMALL.replace("BACKBONE", str(backbone)).replace(", examples: 60", "")
    spec.write_text(text.replace("batch_size: [4, 8]", "batch_size: [4], examples: [40, 41]"))
    with pytest.raises(BadInput, match="are one training of 10 steps"):
        make_plan(read_spec(str(spec), [], root), Store(tmp_path / "store"), root)


def test_arms_measured_in_different_precision_are_refused(
    root: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU auto is bf16; the arms that stay on a processor without it would be measured in float32."""
    monkeypatch.setattr("sweeps.plan.cpu_precision", lambda: "fp32")
    rules = "resources: [{when: {batch_size: 4}, gpu: 1}, {cpu: 1}]\n"
    spec = tmp_path / "small.yaml"
    spec.write_text(SMALL.replace("BACKBONE", str(backbone)) + rules)
    sweep = read_spec(str(spec), ["evaluate.precision=auto"], root)
    with pytest.raises(BadInput, match="say fp32 or bf16 for all"):
        make_plan(sweep, Store(tmp_path / "store"), root)
