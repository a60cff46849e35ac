"""The store: what is written comes back, what is cut short is noticed, on every kind of filesystem."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import fs as pafs

from hybrid.errors import BadInput
from hybrid.scores import SCHEMA
from sweeps.store import STORED_SCHEMA, Damaged, Store

TRAIN, SCORE = "ab" * 10, "cd" * 10


def score_rows(values: list[float]) -> pa.Table:
    n = len(values)
    columns: dict[str, list[str | None] | list[float]] = {
        "task": ["scifact"] * n,
        "setting": ["beir"] * n,
        "query_lang": ["en"] * n,
        "doc_lang": [None] * n,
        "query_id": [f"q{i}" for i in range(n)],
        "cluster_id": [f"q{i}" for i in range(n)],
        "measure": ["map"] * n,
        "value": values,
    }
    return pa.table(columns).cast(SCHEMA)


def local(folder: Path) -> Store:
    return Store(folder / 'a store\'s "name"')


def file_uri(folder: Path) -> Store:
    return Store((folder / "store").as_uri())


def subtree(folder: Path) -> Store:
    return Store("inner/store", filesystem=pafs.SubTreeFileSystem(str(folder), pafs.LocalFileSystem()))


def memory(_: Path) -> Store:
    return Store("bucket/store", filesystem=pafs._MockFileSystem())


@pytest.fixture(params=[local, file_uri, subtree, memory], ids=lambda make: make.__name__)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    make: Callable[[Path], Store] = request.param
    return make(tmp_path)


def test_constructing_writes_nothing(tmp_path: Path) -> None:
    Store(tmp_path / "store")
    Store((tmp_path / "store").as_uri())
    assert list(tmp_path.iterdir()) == []


def test_scores_come_back(store: Store) -> None:
    rows = score_rows([0.0, 0.25, 1.0])
    assert not store.has_scores(TRAIN, SCORE)
    store.put_scores(TRAIN, SCORE, rows, {"task": "scifact", "seconds": 1.5})
    back = store.scores(TRAIN, SCORE)
    assert store.has_scores(TRAIN, SCORE)
    assert back.schema.equals(STORED_SCHEMA)
    assert back.drop_columns(["train_key"]).to_pylist() == rows.to_pylist()
    assert set(back["train_key"].to_pylist()) == {TRAIN}
    record = store.score_record(TRAIN, SCORE)
    assert record is not None
    assert (record["task"], record["seconds"], record["rows"]) == ("scifact", 1.5, 3)


def test_a_value_that_is_no_number_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="finite"):
        store.put_scores(TRAIN, SCORE, score_rows([0.5, float("nan")]))
    assert not store.has_scores(TRAIN, SCORE)


def test_models_come_back_and_drop_checkpoints_and_failures(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    (folder / "model" / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model" / "weights").write_bytes(bytes(range(256)))
    (folder / "model" / "1_Pooling" / "config.json").write_text("[1]")
    store.put_checkpoint(TRAIN, folder / "model" / "weights")
    store.put_failure(TRAIN, {"reason": "x"})
    assert not store.has_model(TRAIN)
    store.put_model(TRAIN, folder)
    assert store.has_model(TRAIN)
    assert store.failure(TRAIN) is None
    assert not store.get_checkpoint(TRAIN, tmp_path / "none")
    model = store.get_model(TRAIN, tmp_path / "back")
    assert (model / "weights").read_bytes() == bytes(range(256))
    assert (model / "1_Pooling" / "config.json").read_text() == "[1]"


@pytest.mark.parametrize("as_folder", [True, False])
def test_the_newest_whole_checkpoint_comes_back(store: Store, tmp_path: Path, as_folder: bool) -> None:
    source = tmp_path / "checkpoint"
    if as_folder:
        source.mkdir()
    for content in ("one", "two"):
        (source / "state" if as_folder else source).write_text(content)
        store.put_checkpoint(TRAIN, source)
    store.put_bytes(f"models/{TRAIN}/checkpoints/000003/state", b"cut off before its marker")
    to = tmp_path / "to"
    assert store.get_checkpoint(TRAIN, to)
    assert (to / "state" if as_folder else to).read_text() == "two"
    assert not [path for path in store.list(f"models/{TRAIN}") if "000001" in path]


def test_damage_is_named_and_forgotten(store: Store) -> None:
    store.put_scores(TRAIN, SCORE, score_rows([0.5]))
    path = f"scores/{TRAIN}/{SCORE}.parquet"
    whole = store.get_bytes(path)
    for bad in (whole[:-7], bytes([whole[0] ^ 1]) + whole[1:], b""):
        store.put_scores(TRAIN, SCORE, score_rows([0.5]))
        store.put_bytes(path, bad)
        with pytest.raises(Damaged, match=SCORE):
            store.scores(TRAIN, SCORE)
        (sentence,) = store.drop_damaged_scores([(TRAIN, SCORE)])
        assert path in sentence
        assert not store.has_scores(TRAIN, SCORE)


def test_a_damaged_model_is_named(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    store.put_model(TRAIN, folder)
    store.put_bytes(f"models/{TRAIN}/config.json", b"{ ")
    with pytest.raises(Damaged, match="sha256"):
        store.get_model(TRAIN, tmp_path / "back")


def test_a_marker_cannot_lead_out_of_its_folder(store: Store, tmp_path: Path) -> None:
    store.put_bytes("models/x", b"")
    store.put_json(f"models/{TRAIN}/DONE", {"sha256": {"../../escaped": "0"}})
    with pytest.raises(Damaged, match="leaves"):
        store.get_model(TRAIN, tmp_path / "a" / "b")


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x"])
def test_paths_stay_inside(store: Store, path: str) -> None:
    with pytest.raises(ValueError, match="inside"):
        store.put_bytes(path, b"")


def test_index_answers_as_the_store_does(store: Store, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").write_text("a")
    other, third = "ef" * 10, "01" * 10
    store.put_model(TRAIN, tmp_path / "model")
    store.put_scores(TRAIN, SCORE, score_rows([1.0]))
    store.put_failure(other, {"reason": "it broke"})
    store.put_checkpoint(third, tmp_path / "model")
    index = store.index()
    for key in (TRAIN, other, third):
        assert index.has_model(key) == store.has_model(key)
        assert index.has_scores(key, SCORE) == store.has_scores(key, SCORE)
        assert index.failed(key) == (store.failure(key) is not None)
    assert index.has_checkpoint(third)


def test_ten_thousand_trials_are_indexed(tmp_path: Path) -> None:
    for i in range(10_000):
        folder = tmp_path / "scores" / f"{i:020x}"
        folder.mkdir(parents=True)
        (folder / f"{SCORE}.json").touch()
    index = Store(tmp_path).index()
    assert all(index.has_scores(f"{i:020x}", SCORE) for i in range(10_000))


def test_travels_to_workers(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.put_json("sweeps/a/plan.json", {"n": 1})
    assert pickle.loads(pickle.dumps(store)).get_json("sweeps/a/plan.json") == {"n": 1}


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        Store(tmp_path / "file" / "store").check_writable()
    with pytest.raises(BadInput, match="no address"):
        Store("nonsense://place")


def test_secrets_in_an_address_are_not_shown() -> None:
    assert str(Store("s3://me:secret@bucket/folder?region=eu-central-1")) == "s3://bucket/folder"
