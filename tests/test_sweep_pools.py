"""Pools in a sweep: made once, shared by all arms and machines, part of the keys, labelled in the report."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_sweep import write_small_sweep

import hybrid.document_pool
from hybrid.data.cache import cache_folder
from hybrid.data.document_pools import pool_path, read_pool
from hybrid.encoder import Encoder
from hybrid.errors import BadInput
from sweeps.plan import Plan, make_plan, prepare_sweep
from sweeps.prepare_tokens import prepare_tokens
from sweeps.report_numbers import report_numbers
from sweeps.report_tables import build_tables
from sweeps.results import load_results
from sweeps.spec import Sweep, read_spec
from sweeps.store import Store
from sweeps.trial import run_trial

BOTH = "[bugs, {task: bugs, level: pool, depth: 1}, {task: laws, level: pool, depth: 1}]"


def sweep_of(folder: Path, zero_shot: str = BOTH) -> tuple[Sweep, Path]:
    spec, data_root = write_small_sweep(folder)
    spec.write_text(spec.read_text().replace("zero_shot: [bugs]\n", f"zero_shot: {zero_shot}\n"))
    return read_spec(str(spec), [], data_root), data_root


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sweep, Path, Store, Plan]]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("pools")
        patch.setenv("HYBRID_CACHE", str(folder / "cache"))
        sweep, data_root = sweep_of(folder)
        store = Store(folder / "store")
        said: list[str] = []
        prepare_sweep(sweep, data_root, store, said.append)
        assert sorted(line.split(":")[0] for line in said) == ["bugs@pool-1"] * 2 + ["laws@pool-1"] * 2
        yield sweep, data_root, store, make_plan(sweep, store, data_root)


def forbid_building(monkeypatch: pytest.MonkeyPatch) -> None:
    def build_pool(*_: object, **__: object) -> None:
        raise AssertionError("a pool is made again")

    monkeypatch.setattr(hybrid.document_pool, "build_pool", build_pool)


def test_one_pool_is_made_once_and_shared_by_all_trials(
    made: tuple[Sweep, Path, Store, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, data_root, store, plan = made
    forbid_building(monkeypatch)
    prepare_sweep(sweep, data_root, store)
    assert plan.unknown == ()
    assert len({tuple(trial.pools.items()) for trial in plan.trials}) == 1
    assert set(plan.trials[0].pools) == {"bugs@pool-1", "laws@pool-1"}
    for name, key in plan.trials[0].pools.items():
        pool = read_pool(pool_path(key))
        assert pool is not None
        assert (pool.task, pool.judged, pool.of) == (name.removesuffix("@pool-1"), 3, 6)
        assert 3 < len(pool.documents) <= 6
        assert len(pool.rankings) == 2
        assert store.exists(f"pools/{key}.parquet")


def test_another_machine_takes_it_from_the_store(
    made: tuple[Sweep, Path, Store, Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, data_root, store, plan = made
    forbid_building(monkeypatch)
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "elsewhere"))
    prepare_sweep(sweep, data_root, store)
    there = make_plan(sweep, store, data_root)
    assert [trial.scores for trial in there.trials] == [trial.scores for trial in plan.trials]
    (cache_folder() / "pools").rename(tmp_path / "gone")  # a worker that was not there when it was prepared
    run_trial(plan.trials[0], store, data_root)
    assert {path.stem for path in (cache_folder() / "pools").glob("*.parquet")} == set(
        plan.trials[0].pools.values()
    )


def test_what_it_hangs_on_is_in_the_keys_of_its_scores(
    made: tuple[Sweep, Path, Store, Plan], tmp_path: Path
) -> None:
    _, _, _, plan = made
    keys = {"same": plan.trials[0].scores["bugs@pool-1"]}
    for name, zero_shot in (("deeper", BOTH.replace("depth: 1", "depth: 5")), ("again", BOTH)):
        sweep, data_root = sweep_of(tmp_path / name, zero_shot)
        if name == "again":  # another document in the collection
            corpus = data_root / "bugs" / "corpus.jsonl"
            corpus.write_text(corpus.read_text() + '{"_id": "d9", "title": "", "text": "bugs query 4"}\n')
        before = make_plan(sweep, Store(tmp_path / "store"), data_root)
        assert before.unknown
        prepare_sweep(sweep, data_root)
        after = make_plan(sweep, Store(tmp_path / "store"), data_root)
        keys[name] = after.trials[0].scores[f"bugs@pool-{5 if name == 'deeper' else 1}"]
    assert len(set(keys.values())) == 3
    assert None not in keys.values()


def test_what_is_prepared_needs_no_tokenizer_any_more(
    made: tuple[Sweep, Path, Store, Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data_root, _, plan = made
    store, said = Store(tmp_path / "store"), list[str]()
    prepare_tokens(plan, store, data_root, said.append)
    assert len(said) == 1  # one backbone, loaded once
    trained = next(trial for trial in plan.trials if trial.train is not None)
    expected = run_trial(trained, Store(tmp_path / "other"), data_root)

    def tokenize(_: Encoder, texts: list[str], *__: object, **___: object) -> list[object]:
        assert not len(texts), "tokenised again"
        return []

    monkeypatch.setattr(Encoder, "tokenize", tokenize)
    assert run_trial(trained, store, data_root).evaluate_seconds.keys() == expected.evaluate_seconds.keys()


def test_a_report_labels_pools_and_gives_their_bias(made: tuple[Sweep, Path, Store, Plan]) -> None:
    sweep, data_root, store, plan = made
    for trial in plan.trials:
        run_trial(trial, store, data_root)
    plan = make_plan(sweep, store, data_root)
    report = report_numbers(plan, load_results(plan, store))
    zero_shot = {series["task"] for series in report["series"] if series["group"] == "zero_shot"}
    assert zero_shot >= {"bugs", "laws@pool-1", "macro"}
    assert "bugs@pool-1" not in zero_shot  # the set in full stands for it
    rows = [row for row in report["pool_bias"] if row["measure"] == "ndcg_at_10"]
    assert {(row["task"], row["full"]) for row in rows} == {("bugs@pool-1", "bugs")}
    assert {row["arm"] for row in rows} == {
        arm.alias for arm in plan.arms if arm.reference not in (None, arm.alias)
    }
    for row in rows:
        assert row["bias"] == pytest.approx(row["on_pool"] - row["in_full"])
    tables = {table.name: table for table in build_tables(report)}
    assert len(tables["pool-bias"].blocks[0].rows) == len(report["pool_bias"])
    macros = [one for one in report["statements"] if one["series"].startswith("zero_shot/macro/")]
    assert macros
    assert all(one["pool"] and "flatter tuned arms" in one["text"] for one in macros)
    names = {task["name"]: task for task in report["tasks"]}
    assert names["bugs@pool-1"]["groups"] == ["levels"]
    assert "a pool of" in names["laws@pool-1"]["notes"][-1]
    assert {row["language"] for row in report["coverage"] if row["task"] == "faq:test"} == {"de", "en"}


def test_a_pool_that_cannot_be_kept_is_told_before_it_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sweep, data_root = sweep_of(tmp_path / "sweep")
    with pytest.raises(BadInput, match="cannot be written"):
        prepare_sweep(sweep, data_root, Store(tmp_path / "file" / "store"))
