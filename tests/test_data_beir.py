"""BEIR's layout: what is read, what is counted, what is refused and where."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from data_files import CORPUS, QRELS, QUERIES, json_lines, write_beir

from hybrid.data.arrow import ArrowStrings
from hybrid.data.beir import _TEXTS
from hybrid.data.catalog import DATASETS
from hybrid.data.collection import read_collection
from hybrid.data.pairs import load_pairs
from hybrid.data.tasks import load_task
from hybrid.errors import BadInput


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYBRID_OFFLINE", "1")
    monkeypatch.delenv("HYBRID_DATA_ROOT", raising=False)


def mistakes(root: Path, name: str = "birds") -> tuple[str, ...]:
    with pytest.raises(BadInput) as raised:
        load_task(name, root)
    return raised.value.mistakes


def test_a_task_has_the_split_s_queries_and_the_whole_corpus(tmp_path: Path) -> None:
    write_beir(tmp_path / "birds")
    task = load_task("birds", tmp_path)
    assert task.settings == ("beir",)
    assert list(task.queries["en"].ids) == ["q1", "q2"]
    assert list(task.queries["en"].texts) == ["Which mammal flies?", "Which bird swims?"]
    assert list(task.documents["en"].texts) == [
        "Bats Bats are mammals that fly.",
        "Penguins swim and do not fly.",
        "Émeus",
        "Ostriches run.",
    ]
    assert task.qrels == {"en": {"q1": {"d1": 2, "d2": 0}, "q2": {"d2": 1}}}
    assert not task.drop_self_hits
    assert not task.synthetic
    assert task.notes == ()


def test_equal_to_the_loader_of_beir(tmp_path: Path) -> None:
    pytest.importorskip("beir.datasets.data_loader")
    from beir.datasets.data_loader import GenericDataLoader

    folder = write_beir(tmp_path / "birds", qrels={"test": QRELS, "train": QRELS + "q3\td4\t1\n"})
    for split in ("test", "train"):
        corpus, queries, qrels = GenericDataLoader(str(folder)).load(split=split)
        task = load_task(f"birds:{split}", tmp_path)
        documents = task.documents["en"]
        joined = {name: f"{doc['title'] or ''} {doc['text']}".strip() for name, doc in corpus.items()}
        assert dict(zip(documents.ids, documents.texts, strict=True)) == joined
        assert dict(zip(task.queries["en"].ids, task.queries["en"].texts, strict=True)) == queries
        assert task.qrels["en"] == qrels


def test_texts_can_be_indexed_sliced_and_walked(tmp_path: Path) -> None:
    rows = [{"_id": str(i), "title": "", "text": f"text {i}"} for i in range(20_000)]  # several Arrow batches
    write_beir(tmp_path / "many", corpus=json_lines(rows), qrels={"test": "q1\t19999\t1\n"})
    texts = load_task("many", tmp_path).documents["en"].texts
    assert (texts[0], texts[19_999], texts[-1], texts[8192]) == (
        "text 0",
        "text 19999",
        "text 19999",
        "text 8192",
    )
    assert list(texts[8190:8194]) == [f"text {i}" for i in range(8190, 8194)]
    assert list(texts) == [row["text"] for row in rows]
    with pytest.raises(IndexError):
        texts[20_000]


def test_any_rows_of_a_column_in_chunks_are_the_texts_there() -> None:
    texts = [f"text {i}" for i in range(1000)]
    column = pa.chunked_array([texts[:300], [], texts[300:700], texts[700:]], type=pa.string())
    rng = np.random.default_rng(0)
    for count in (0, 1, 400, 400, 5000):
        rows = rng.integers(-1, 1000, size=count)
        assert list(ArrowStrings(column, rows)) == [texts[row] if row >= 0 else None for row in rows]
    assert list(ArrowStrings(column, np.array([-1, -1]))) == [None, None]


def test_absent_documents_and_queries_are_counted(tmp_path: Path) -> None:
    qrels = QRELS + "q2\tlost\t1\nq1\tlost\t1\nghost\td1\t1\n"
    write_beir(tmp_path / "birds", qrels={"test": qrels})
    task = load_task("birds", tmp_path)
    assert task.qrels["en"]["q2"] == {"d2": 1, "lost": 1}  # as BEIR: it counts as never found
    assert "ghost" not in task.qrels["en"]
    assert task.notes == (
        "test.tsv judges 1 documents that the corpus lacks (2 judgements): "
        "they count as documents that cannot be found",
        "test.tsv names 1 queries that are not there: left out",
    )


def test_empty_texts_and_repeated_judgements_are_counted(tmp_path: Path) -> None:
    corpus = json_lines([*CORPUS, {"_id": "d5", "title": " ", "text": "\n"}])
    write_beir(tmp_path / "birds", corpus=corpus, qrels={"test": QRELS + "q1\td1\t2\n"})
    assert load_task("birds", tmp_path).notes == (
        "test.tsv repeats 1 judgements",
        "1 of 5 documents are empty",
    )


def test_a_first_line_with_a_number_is_a_judgement(tmp_path: Path) -> None:
    write_beir(tmp_path / "birds", qrels={"test": "q1\td1\t1\r\nq2\td2\t1\r\n"})
    assert load_task("birds", tmp_path).qrels["en"] == {"q1": {"d1": 1}, "q2": {"d2": 1}}


@pytest.mark.parametrize(
    ("corpus", "expected"),
    [
        (json_lines(CORPUS)[:-9], "corpus.jsonl:4: not valid JSON at column"),
        (
            '{"_id": "d1", "text": "a"}\n{"title": "b", "text": "c"}\n',
            "corpus.jsonl:2: the field _id is missing",
        ),
        ('{"_id": 7, "text": "a"}\n', "corpus.jsonl:1: the field _id must be a non-empty string, not 7"),
        ('{"_id": "d1"}\n', "corpus.jsonl:1: the field text is missing"),
        ('{"_id": "d1", "text": null}\n', "corpus.jsonl:1: the field text must be a string, not null"),
        (
            '{"_id": "d1", "text": "a", "title": 3}\n',
            "corpus.jsonl:1: the field title must be a string, not 3",
        ),
        ('["d1", "a"]\n', "corpus.jsonl:1: a JSON object is wanted, not list"),
        ("\n\n", "corpus.jsonl: holds no text"),
        (
            '{"_id": "d1", "text": "a"}\n{"_id": "d2", "text": "caf\\ud83d"}\n',
            "corpus.jsonl:2: the escape \\ud83d is half of a character",
        ),
        (json_lines([*CORPUS, CORPUS[1]]), "corpus.jsonl:5: the id 'd2' stands on line 2 already"),
    ],
)
def test_a_bad_corpus_is_refused_with_its_line(tmp_path: Path, corpus: str, expected: str) -> None:
    write_beir(tmp_path / "birds", corpus=corpus)
    found = mistakes(tmp_path)
    assert len(found) == 1
    assert expected in found[0]


def test_characters_written_as_two_escapes_are_whole(tmp_path: Path) -> None:
    corpus = json_lines(CORPUS) + '{"_id": "d9", "text": "\\ud83d\\ude00"}\n'
    write_beir(tmp_path / "birds", corpus=corpus)
    assert load_task("birds", tmp_path).documents["en"].texts[4] == "\U0001f600"


def test_a_half_downloaded_file_that_ends_with_a_line_shows_in_its_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = replace(DATASETS["nfcorpus"], name="birds", queries=2, documents=4)
    monkeypatch.setitem(DATASETS, "birds", row)
    write_beir(tmp_path / "birds", corpus=json_lines(CORPUS[:3]))
    assert load_task("birds", tmp_path).notes == ("3 documents, where 4 are published",)


def test_all_mistakes_of_a_file_are_listed_up_to_twenty(tmp_path: Path) -> None:
    write_beir(tmp_path / "birds", corpus='{"_id": "d1"}\n' * 3)
    assert [m.split(": ")[0][-14:] for m in mistakes(tmp_path)] == [f"corpus.jsonl:{n}" for n in (1, 2, 3)]
    write_beir(tmp_path / "more", corpus='{"_id": "d1"}\n' * 30)
    assert mistakes(tmp_path, "more")[-1] == "and 10 more mistakes of this kind"


def test_bytes_that_are_no_utf8_are_refused_with_their_place(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "birds")
    line = json.dumps({"_id": "d9", "text": "caf"}).encode()[:-2] + b'\xe9"}\n'
    with (folder / "corpus.jsonl").open("ab") as file:
        file.write(line)
    (found,) = mistakes(tmp_path)
    assert f"corpus.jsonl:5: byte {line.index(0xE9) + 1} of the line is not UTF-8 (0xe9)" in found


@pytest.mark.parametrize(
    ("qrels", "expected"),
    [
        (
            QRELS + "q1\td1\n",
            "test.tsv:5: 2 fields where query-id, corpus-id and score between tabs are wanted",
        ),
        (QRELS + "q1 d1 1\n", "test.tsv:5: 1 fields where"),
        (QRELS + "q3\td1\thigh\n", "test.tsv:5: the score 'high' is no whole number"),
        (QRELS + "q1\td1\t1\n", "test.tsv:5: query 'q1' and document 'd1' have the score 2 already"),
        (QRELS + "\td1\t1\n", "test.tsv:5: an id is empty"),
        ("query-id\tcorpus-id\tscore\n", "test.tsv: holds no judgement"),
        ("nobody\td1\t1\n", "none of the queries of test.tsv is there"),
    ],
)
def test_bad_judgements_are_refused_with_their_line(tmp_path: Path, qrels: str, expected: str) -> None:
    write_beir(tmp_path / "birds", qrels={"test": qrels})
    (found,) = mistakes(tmp_path)
    assert expected in found


def test_a_mended_file_is_read_anew(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "birds", corpus=json_lines(CORPUS)[:-9])
    mistakes(tmp_path)
    (folder / "corpus.jsonl").write_text(json_lines(CORPUS), encoding="utf-8")
    assert len(load_task("birds", tmp_path).documents["en"]) == 4


def test_a_file_is_parsed_once(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "birds")
    read_collection([folder / "corpus.jsonl"], _TEXTS, kind="beir")
    parsed = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "parsed").rglob("*.arrow")}
    read_collection([folder / "corpus.jsonl"], _TEXTS, kind="beir")
    assert {path: path.stat().st_mtime_ns for path in parsed} == parsed
    assert len(list((tmp_path / "cache" / "parsed").rglob("*.arrow"))) == len(parsed) == 1


def test_pairs_are_the_relevant_judgements_of_the_training_split(tmp_path: Path) -> None:
    train = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t1\nq2\td2\t1\nq2\td3\t0\nq3\td4\t1\nq3\tlost\t1\n"
    write_beir(tmp_path / "birds", qrels={"train": train, "test": QRELS})
    pairs = load_pairs("birds", tmp_path)
    assert list(pairs.pair_ids) == ["q1:d1", "q1:d2", "q2:d2", "q3:d4"]
    assert len(set(pairs.clusters[:3])) == 1  # q1 and q2 share d2: neither is a negative of the other
    assert pairs.clusters[3] not in pairs.clusters[:3]
    assert list(pairs.questions["en"]) == [QUERIES[i]["text"] for i in (0, 0, 1, 2)]
    assert pairs.passages["en"][3] == "Ostriches run."
    assert pairs.notes == ("1 judgements name an absent query or document: left out",)


def test_empty_texts_of_training_data_are_counted(tmp_path: Path) -> None:
    queries = json_lines([{"_id": "q1", "text": ""}, *QUERIES[1:]])
    write_beir(tmp_path / "birds", queries=queries, qrels={"train": QRELS})
    assert load_pairs("birds", tmp_path).notes == (f"1 of {len(QUERIES)} queries of all splits are empty",)
