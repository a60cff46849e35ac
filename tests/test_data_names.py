"""Names of data sets: where they are looked for, what is said when they cannot be used, their digests."""

import subprocess
import sys
from pathlib import Path

import pytest
from data_files import CORPUS, QRELS, QUERIES, json_lines, write_beir, write_parallel

from hybrid.data.cache import build_once, content_hash
from hybrid.data.catalog import DATASETS
from hybrid.data.layouts import LAYOUTS
from hybrid.data.locate import check_names, known_names
from hybrid.data.pairs import data_digest, load_pairs
from hybrid.data.tasks import load_task
from hybrid.errors import BadInput


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYBRID_OFFLINE", "1")
    monkeypatch.delenv("HYBRID_DATA_ROOT", raising=False)


def test_every_record_of_the_catalog_is_consistent() -> None:
    for name, row in DATASETS.items():
        assert row.name == name
        assert row.layout in LAYOUTS
        assert row.default_split is None or row.default_split in row.splits
        assert set(row.sha256) <= set(row.files) or row.archive
    drops = {name for name, row in DATASETS.items() if row.drop_self_hits}
    assert drops == {"arguana", "quora", "nano-arguana", "nano-quora"}
    scifact = DATASETS["scifact"]
    assert scifact.archive == "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets/scifact.zip"
    assert scifact.verified
    assert not DATASETS["nq"].verified
    miracl = [row for row in DATASETS.values() if row.layout == "miracl"]
    assert len(miracl) == 18
    assert sum(row.queries or 0 for row in miracl) == 13_071, (
        "of the 16 known languages, as its README adds up"
    )


def test_the_catalog_and_checking_names_load_nothing_heavy() -> None:
    code = (
        "import sys, hybrid.data.pairs; "
        "print(*sorted({'torch', 'transformers', 'datasets', 'beir', 'pandas', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_all_mistakes_of_a_list_are_named_at_once(tmp_path: Path) -> None:
    write_beir(tmp_path / "root" / "scifact", qrels={"train": QRELS, "test": QRELS})
    write_beir(tmp_path / "root" / "birds")
    (tmp_path / "root" / "birds" / "queries.jsonl").unlink()
    (tmp_path / "root" / "notes").mkdir()
    names = [
        "scifact",
        "sci-fact",
        "scifact:dev",
        "birds",
        "notes",
        "../scifact",
        "nfcorpus",
        "embedded-qa:dve",
    ]
    found = check_names(names, role="task", data_root=tmp_path / "root")
    assert len(found) == 7
    assert "did you mean scifact?" in found[0]
    assert found[1] == "scifact:dev: scifact has no split 'dev'; it has test, train"
    assert found[2].startswith(f"{tmp_path / 'root' / 'birds' / 'queries.jsonl'}: is not there")
    assert "notes: no data set of a known layout" in found[3]
    assert "'../scifact' is no name of a data set" in found[4]
    assert found[5].startswith(f"nfcorpus is not under the data root {tmp_path / 'root'}")
    assert "give --data-root DIR with DIR/nfcorpus holding corpus.jsonl" in found[5]
    assert "did you mean embedded-qa:dev?" in found[6]


@pytest.mark.parametrize(
    "name", ["../birds", "/etc", "a/../../b", "..", "a/..", "birds:../test", "birds:", "", "a b", "."]
)
def test_names_cannot_leave_the_root(tmp_path: Path, name: str) -> None:
    write_beir(tmp_path / "birds")
    (found,) = check_names([name], role="task", data_root=tmp_path / "root")
    assert "is no name of a data set" in found


def test_a_set_of_the_catalog_that_lacks_a_file_names_it(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "scifact")
    (folder / "queries.jsonl").unlink()
    (found,) = check_names(["scifact"], role="task", data_root=tmp_path)
    assert found.startswith(f"{folder / 'queries.jsonl'}: is not there")


def test_other_files_and_counts_than_the_catalog_s_are_noted(tmp_path: Path) -> None:
    write_beir(tmp_path / "scifact")
    assert load_task("scifact", tmp_path).notes == (
        "corpus.jsonl is not the file that the catalog knows by its SHA-256",
        "queries.jsonl is not the file that the catalog knows by its SHA-256",
        "qrels/test.tsv is not the file that the catalog knows by its SHA-256",
        "2 queries, where 300 are published",
        "4 documents, where 5183 are published",
    )


def test_a_root_that_does_not_exist_is_said(tmp_path: Path) -> None:
    (found,) = check_names(["scifact"], role="task", data_root=tmp_path / "nowhere")
    assert f"the data root {tmp_path / 'nowhere'} does not exist" in found


def test_the_root_comes_before_the_cache_and_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_beir(tmp_path / "cache" / "data" / "birds")
    assert len(load_task("birds").documents["en"]) == 4
    write_beir(tmp_path / "root" / "birds", corpus=json_lines(CORPUS[:2]))
    monkeypatch.setenv("HYBRID_DATA_ROOT", str(tmp_path / "root"))
    assert len(load_task("birds").documents["en"]) == 2
    (tmp_path / "empty").mkdir()
    assert (
        len(load_task("birds", tmp_path / "empty").documents["en"]) == 4
    )  # a root given hides the environment's


def test_the_embedded_world_is_written_once_and_says_it_is_synthetic(tmp_path: Path) -> None:
    names = (
        "embedded-qa:train",
        "embedded-qa:dev",
        "embedded-qa:test",
        "embedded-science",
        "embedded-history",
    )
    assert check_names(names, role="task", data_root=tmp_path) == []
    assert not (tmp_path / "cache" / "embedded").exists()  # checking writes nothing
    tasks = [load_task(name, tmp_path) for name in names]
    assert all(task.synthetic and task.notes == () for task in tasks)
    assert all(len(texts) > 0 for task in tasks for texts in task.queries.values())
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "embedded").rglob("*.json")}
    assert load_task("embedded-qa:test").digest == tasks[2].digest
    assert {path: path.stat().st_mtime_ns for path in written} == written
    pairs = load_pairs("embedded-qa:train")
    assert pairs.synthetic
    assert len(pairs.languages) >= 4


def test_known_names_have_the_folders_of_the_root(tmp_path: Path) -> None:
    write_beir(tmp_path / "birds")
    write_parallel(tmp_path / "flora")
    (tmp_path / "notes").mkdir()
    names = known_names(tmp_path)
    assert {"birds", "flora", "scifact"} <= set(names)
    assert "notes" not in names


def test_a_digest_follows_the_content_alone(tmp_path: Path) -> None:
    write_beir(tmp_path / "birds")
    first = load_task("birds", tmp_path).digest
    write_beir(
        tmp_path / "shuffled",
        corpus=json_lines(CORPUS[::-1]),
        queries=json_lines(QUERIES[::-1]),
        qrels={"test": "q2\td2\t1\nq1\td2\t0\nq1\td1\t2\n"},
    )
    assert load_task("shuffled", tmp_path).digest == first
    changed = {
        "text": {"corpus": json_lines([{**CORPUS[0], "text": "Bats fly."}, *CORPUS[1:]])},
        "document": {"corpus": json_lines(CORPUS[:3])},
        "query": {"queries": json_lines([{**QUERIES[0], "text": "Who flies?"}, *QUERIES[1:]])},
        "gain": {"qrels": {"test": QRELS.replace("d1\t2", "d1\t1")}},
    }
    digests = {first}
    for name, parts in changed.items():
        write_beir(tmp_path / name, **parts)  # type: ignore[arg-type]
        digests.add(load_task(name, tmp_path).digest)
    assert len(digests) == 5
    # a query of another split is no part of it
    write_beir(tmp_path / "other", queries=json_lines([*QUERIES[:2], {"_id": "q3", "text": "other"}]))
    assert load_task("other", tmp_path).digest == first


def test_a_digest_is_known_only_for_files_as_they_are(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "birds")

    def known() -> str | None:
        return data_digest("birds", tmp_path, kind="task", cached_only=True)

    assert known() is None
    digest = data_digest("birds", tmp_path, kind="task", cached_only=False)
    assert known() == digest == load_task("birds", tmp_path).digest
    text = (folder / "corpus.jsonl").read_text(encoding="utf-8")
    (folder / "corpus.jsonl").write_text(text.replace("run", "ran"), encoding="utf-8")
    assert known() is None
    assert data_digest("birds", tmp_path, kind="task", cached_only=False) != digest


def test_digests_of_pairs_tell_passages_and_splits_apart(tmp_path: Path) -> None:
    write_parallel(tmp_path / "qa")
    digests = {
        data_digest(name, tmp_path, kind="pairs", passage=passage, cached_only=False)
        for name in ("qa", "qa:train", "qa:test")
        for passage in ("sentence", "paragraph")
    }
    assert len(digests) == 6
    assert data_digest("qa", tmp_path, kind="pairs", cached_only=True) == load_pairs("qa", tmp_path).digest


def test_a_known_digest_reads_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_beir(tmp_path / "birds")
    digest = data_digest("birds", tmp_path, kind="task", cached_only=False)
    monkeypatch.setattr("hashlib.file_digest", None)
    assert data_digest("birds", tmp_path, kind="task", cached_only=True) == digest


def test_what_is_built_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        build_once(tmp_path / "made" / "it", fails)
    assert [p.name for p in (tmp_path / "made").iterdir()] == [".it.lock"]
    build_once(tmp_path / "made" / "it", lambda folder: (folder / "whole").write_text("x") and None)
    build_once(tmp_path / "made" / "it", fails)  # is there, is not built again
    assert (tmp_path / "made" / "it" / "whole").is_file()


def test_a_cache_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(BadInput, match="set HYBRID_CACHE to a folder that can"):
        content_hash(tmp_path / "file")
