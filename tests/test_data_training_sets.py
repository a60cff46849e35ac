"""The public training and multilingual sets in their own layouts, on small files of the same formats."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_files import json_lines

from hybrid.data import download, mmarco, mmarco_triples
from hybrid.data.arrow import ArrowStrings
from hybrid.data.catalog import DATASETS
from hybrid.data.digests import pairs_digest, task_digest
from hybrid.data.hard_negatives import HardNegatives
from hybrid.data.locate import check_names
from hybrid.data.pairs import load_pairs
from hybrid.data.records import Texts
from hybrid.data.source import DataSet
from hybrid.data.tasks import load_task
from hybrid.errors import BadInput


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYBRID_OFFLINE", "1")
    monkeypatch.delenv("HYBRID_DATA_ROOT", raising=False)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def pairs_mistakes(root: Path, name: str) -> tuple[str, ...]:
    with pytest.raises(BadInput) as raised:
        load_pairs(name, root)
    return raised.value.mistakes


def write_miracl(root: Path, language: str) -> Path:
    named = root / "miracl" / f"miracl-v1.0-{language}"
    for split in ("train", "dev"):
        write(
            named / "topics" / f"topics.{named.name}-{split}.tsv", f"1#0\t{split} one?\n2#0\t{split} two?\n"
        )
        qrels = "1#0\tQ0\t7#0\t1\n1#0\tQ0\t7#1\t0\n2#0\tQ0\t8#0\t1\n"
        write(named / "qrels" / f"qrels.{named.name}-{split}.tsv", qrels)
    corpus = root / "miracl" / f"miracl-corpus-v1.0-{language}"
    shards = [
        [
            {"docid": "7#0", "title": "Seven", "text": "first"},
            {"docid": "7#1", "title": "Seven", "text": "more"},
        ],
        [{"docid": "8#0", "title": "Eight", "text": "second"}],
    ]
    for number, rows in enumerate(shards):
        write(corpus / f"docs-{number}.jsonl.gz", json_lines(rows))
    return corpus


def test_miracl_is_one_task_a_language(tmp_path: Path) -> None:
    write_miracl(tmp_path, "sw")
    task = load_task("miracl-sw", tmp_path)
    assert task.settings == ("beir",)
    assert dict(zip(task.queries["sw"].ids, task.queries["sw"].texts, strict=True)) == {
        "1#0": "dev one?",
        "2#0": "dev two?",
    }
    assert list(task.documents["sw"].texts) == ["Seven first", "Seven more", "Eight second"]
    assert task.qrels["sw"] == {"1#0": {"7#0": 1, "7#1": 0}, "2#0": {"8#0": 1}}
    assert not task.drop_self_hits
    pairs = load_pairs("miracl-sw", tmp_path)
    assert list(pairs.questions["sw"]) == ["train one?", "train two?"]
    assert list(pairs.passages["sw"]) == ["Seven first", "Eight second"]


def test_an_id_in_two_shards_and_a_half_shard_are_refused(tmp_path: Path) -> None:
    corpus = write_miracl(tmp_path, "sw")
    write(corpus / "docs-2.jsonl.gz", json_lines([{"docid": "7#1", "title": "", "text": "again"}]))
    with pytest.raises(
        BadInput, match=r"docs-2.jsonl.gz:1: the id '7#1' stands on line 2 of docs-0.jsonl.gz already"
    ):
        load_task("miracl-sw", tmp_path)
    whole = gzip.compress(
        json_lines([{"docid": f"9#{i}", "title": "", "text": "x" * 99} for i in range(99)]).encode()
    )
    (corpus / "docs-2.jsonl.gz").write_bytes(whole[:-30])
    with pytest.raises(BadInput, match=r"docs-2.jsonl.gz: the compressed file is damaged after line \d+"):
        load_task("miracl-sw", tmp_path)


def test_a_corpus_without_some_of_its_published_files_is_noted(tmp_path: Path) -> None:
    write_miracl(tmp_path, "ko")  # of three files the first two
    assert load_task("miracl-ko", tmp_path).notes == (
        "2 queries, where 213 are published",
        "3 documents, where 1486752 are published",
        "1 of the 3 files of the corpus are not there: docs-2.jsonl.gz",
    )
    assert "1 of the 3 files" in load_pairs("miracl-ko", tmp_path).notes[0]


def test_files_of_a_language_that_is_not_there_are_named(tmp_path: Path) -> None:
    write_miracl(tmp_path, "sw")
    found = check_names(["miracl-te"], role="task", data_root=tmp_path)
    assert len(found) == 3
    assert found[0].startswith(str(tmp_path / "miracl" / "miracl-v1.0-te" / "topics"))


def test_mr_tydi(tmp_path: Path) -> None:
    inside = tmp_path / "mrtydi" / "mrtydi-v1.1-swahili"
    for split in ("train", "test"):
        write(inside / f"topic.{split}.tsv", f"1\t{split} one?\n")
        write(inside / f"qrels.{split}.txt", "1 Q0 7#0 1\n")
    write(inside / "collection" / "docs.jsonl.gz", json_lines([{"id": "7#0", "contents": "Seven\n\nfirst"}]))
    assert list(load_task("mrtydi-sw", tmp_path).documents["sw"].texts) == ["Seven\n\nfirst"]
    assert list(load_pairs("mrtydi-sw", tmp_path).questions["sw"]) == ["train one?"]


@pytest.fixture
def three_passages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if MS MARCO had the three passages that `write_mmarco` writes."""
    monkeypatch.setattr(mmarco, "PUBLISHED", 3)


def write_mmarco(root: Path) -> Path:
    folder = root / "mmarco"
    write(folder / "qrels.train.tsv", "10\t0\t0\t1\n11\t0\t2\t1\n12\t0\t2\t1\n")
    for name, query in (("english", "what"), ("german", "was")):
        google = folder / "data" / "google"
        write(
            google / "collections" / f"{name}_collection.tsv", "".join(f"{i}\t{name} {i}\n" for i in range(3))
        )
        write(
            google / "queries" / "train" / f"{name}_queries.train.tsv",
            "".join(f"{i}\t{query} {i}\n" for i in (12, 11, 10)),
        )
    return folder


def test_mmarco_is_parallel_by_its_ids(tmp_path: Path) -> None:
    write_mmarco(tmp_path)
    pairs = load_pairs("mmarco", tmp_path)
    assert pairs.languages == ("de", "en")
    assert list(pairs.pair_ids) == ["10:0", "11:2", "12:2"]
    assert list(pairs.questions["de"]) == ["was 10", "was 11", "was 12"]
    assert list(pairs.passages["en"]) == ["english 0", "english 2", "english 2"]
    assert pairs.clusters[1] == pairs.clusters[2] != pairs.clusters[0]


@pytest.mark.usefixtures("three_passages")
def test_a_collection_in_a_language_nobody_knows_is_noted(tmp_path: Path) -> None:
    folder = write_mmarco(tmp_path)
    write(folder / "data" / "google" / "collections" / "klingon_collection.tsv", "0\tnull\n")
    pairs = load_pairs("mmarco", tmp_path)
    assert pairs.languages == ("de", "en")
    assert pairs.notes == ("klingon_collection.tsv is in no language of mMARCO: not read",)


def test_mmarco_in_the_cache_may_be_some_of_its_languages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYBRID_OFFLINE", "1")
    folder = write_mmarco(tmp_path / "cache" / "data")
    assert load_pairs("mmarco").languages == ("de", "en")
    assert check_names(["mmarco"], role="train", data_root=None) == []
    write(folder / "data" / "google" / "queries" / "train" / "arabic_queries.train.tsv", "10\tx\n")
    (mistake,) = check_names(["mmarco"], role="train", data_root=None)
    assert mistake.startswith("mmarco is not in the cache"), "cut off: queries are fetched before collections"
    names = list(DATASETS["mmarco"].files)
    queries = [place for place, name in enumerate(names) if "queries" in name]
    assert max(queries) < min(place for place, name in enumerate(names) if "collection" in name)
    said: list[str] = []

    def fetch(row: DataSet) -> Path:
        said.append(capsys.readouterr().err)
        return folder.parent / row.folder

    monkeypatch.setattr(download, "reachable", lambda row: row.name == "mmarco")
    monkeypatch.setattr(download, "fetch", fetch)
    with pytest.raises(BadInput, match="lacks some of its files"):
        load_pairs("mmarco")
    assert said[0].startswith("mmarco: 58 GB are fetched from https://"), "before it is"


@pytest.mark.usefixtures("three_passages")
def test_mmarco_without_a_translation_leaves_the_pair_out_of_that_language(tmp_path: Path) -> None:
    folder = write_mmarco(tmp_path)
    write(folder / "data" / "google" / "collections" / "german_collection.tsv", "0\tdeutsch\n")
    pairs = load_pairs("mmarco", tmp_path)
    assert list(pairs.passages["de"]) == ["deutsch", None, None]
    assert list(pairs.questions["de"]) == ["was 10", None, None]
    assert pairs.notes == (
        "1 passages in de, where 3 are published",
        "2 judgements lack their query or passage in de",
    )


@pytest.mark.usefixtures("three_passages")
def test_mmarco_s_triples_give_hard_negatives_with_the_same_passages_in_every_language(
    tmp_path: Path,
) -> None:
    folder = write_mmarco(tmp_path)
    before = load_pairs("mmarco", tmp_path)
    assert before.negatives == {}
    write(
        folder / "data" / "triples.train.ids.small.tsv",
        "10\t0\t2\n10\t0\t1\n10\t0\t2\n11\t2\t1\n12\t2\t2\n12\t2\t7\n99\t0\t1\n",
    )
    pairs = load_pairs("mmarco", tmp_path)
    assert list(pairs.pair_ids) == list(before.pair_ids)
    assert list(pairs.questions["de"]) == list(before.questions["de"])
    for language, name in (("en", "english"), ("de", "german")):
        assert list(pairs.negatives[language]) == [[f"{name} 2", f"{name} 1"], [f"{name} 1"], []]
        assert isinstance(pairs.negatives[language], HardNegatives)
        assert isinstance(pairs.negatives[language].texts, ArrowStrings), "memory-mapped"
        assert len(pairs.negatives[language].texts) == 2, "a passage of many queries is held once"
    assert pairs.notes == (
        "1 negatives of triples.train.ids.small.tsv are of queries without a relevant passage: left out",
        "1 negatives of triples.train.ids.small.tsv are relevant to their query: left out",
        "1 negatives of triples.train.ids.small.tsv are not there in every language: left out",
    )
    assert pairs.digest != before.digest


def test_mmarco_s_own_files_suffice_the_triples_say_what_is_relevant(tmp_path: Path) -> None:
    folder = write_mmarco(tmp_path)
    (folder / "qrels.train.tsv").unlink()
    (mistake,) = pairs_mistakes(tmp_path, "mmarco")
    assert mistake.startswith(f"{folder}/data/triples.train.ids.small.tsv: is not there")
    write(folder / "data" / "triples.train.ids.small.tsv", "12\t2\t0\n10\t0\t1\n12\t2\t1\n12\t1\t0\n")
    pairs = load_pairs("mmarco", tmp_path)
    assert list(pairs.pair_ids) == ["12:2", "12:1", "10:0"]
    assert list(pairs.passages["de"]) == ["german 2", "german 1", "german 0"]
    assert list(pairs.negatives["de"]) == [["german 0"], ["german 0"], ["german 1"]]


def test_of_a_query_s_negatives_the_first_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmarco_triples, "NEGATIVES", 2)
    path = write(tmp_path / "triples.tsv", "".join(f"{q}\t0\t{p}\n" for p in (5, 5, 3, 4, 3) for q in (2, 1)))
    positives, negatives = mmarco_triples.read_triples(path)
    assert positives.to_pylist() == [{"query": 2, "passage": 0}, {"query": 1, "passage": 0}]
    assert [tuple(row.values()) for row in negatives.to_pylist()] == [(2, 5), (2, 3), (1, 5), (1, 3)]


@pytest.mark.parametrize("line", ["1\t2", "1\t2\tthree", "1 2 3", "1\t2\t3\t4"])
def test_bad_triples_are_refused_with_their_line(tmp_path: Path, line: str) -> None:
    folder = write_mmarco(tmp_path)
    path = write(folder / "data" / "triples.train.ids.small.tsv", f"10\t0\t1\n{line}\n")
    assert pairs_mistakes(tmp_path, "mmarco") == (
        f"{path}:2: three ids, whole numbers with tabs between, are wanted",
    )


def test_a_line_without_a_tab_is_refused(tmp_path: Path) -> None:
    folder = write_mmarco(tmp_path)
    path = write(folder / "data" / "google" / "collections" / "german_collection.tsv", "0\teins\n1 zwei\n")
    assert pairs_mistakes(tmp_path, "mmarco") == (f"{path}:2: an id, a tab and a text are wanted",)


def squad(context: str, question: str, name: str) -> str:
    qas = [{"id": name, "question": question, "answers": [{"text": "x", "answer_start": 0}]}]
    return json.dumps({"data": [{"title": "T", "paragraphs": [{"context": context, "qas": qas}]}]})


def test_squad_translate_train_pairs_questions_with_paragraphs(tmp_path: Path) -> None:
    folder = tmp_path / "squad-translate-train"
    write(folder / "train-v1.1.json", squad("A paragraph. Of two.", "What?", "q1"))
    write(folder / "squad.translate.train.en-de.json", squad("Ein Absatz. Zwei Sätze.", "Was?", "q1"))
    for passage in ("sentence", "paragraph"):
        pairs = load_pairs("squad-translate-train", tmp_path, passage=passage)  # type: ignore[arg-type]
        assert pairs.languages == ("de", "en")
        assert list(pairs.pair_ids) == ["q1"]
        assert list(pairs.passages["de"]) == ["Ein Absatz. Zwei Sätze."]
    assert "is there without ar, el, es" in pairs.notes[0]
    (found,) = check_names(["squad-translate-train"], role="task", data_root=tmp_path)
    assert found == "squad-translate-train is for training alone: it cannot be measured on"


def test_mkqa_pairs_questions_with_short_answers(tmp_path: Path) -> None:
    answers = {"en": [{"type": "entity", "text": "Rome"}], "de": [{"type": "entity", "text": "Rom"}]}
    rows = [
        {"example_id": 5, "queries": {"en": "capital?", "de": "Hauptstadt?"}, "answers": answers},
        {
            "example_id": 6,
            "queries": {"en": "why?"},
            "answers": {"en": [{"type": "long_answer", "text": None}]},
        },
        {"example_id": 7, "queries": {"en": "who?"}, "answers": {"en": [{"text": " "}, {"text": "Ann"}]}},
    ]
    write(tmp_path / "mkqa" / "mkqa.jsonl.gz", json_lines(rows))
    pairs = load_pairs("mkqa", tmp_path)
    assert list(pairs.pair_ids) == ["5", "7"]
    assert list(pairs.passages["en"]) == ["Rome", "Ann"]
    assert list(pairs.questions["de"]) == ["Hauptstadt?", None]
    assert pairs.notes == ("1 questions have no short answer: left out",)
    write(tmp_path / "mkqa" / "mkqa.jsonl.gz", json_lines([{"example_id": 5}]))
    assert (
        "mkqa.jsonl.gz:1: the fields example_id, queries and answers" in pairs_mistakes(tmp_path, "mkqa")[0]
    )
    write(
        tmp_path / "mkqa" / "mkqa.jsonl.gz",
        json_lines([rows[0], rows[0], {**rows[2], "queries": {"qq": "?"}}]),
    )
    found = pairs_mistakes(tmp_path, "mkqa")
    assert "mkqa.jsonl.gz:2: the example_id 5 stands there already" in found[0]
    assert "mkqa.jsonl.gz:3: 'qq' is no language code of ISO 639-1" in found[1]


def test_a_translation_into_a_language_nobody_knows_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "squad-translate-train"
    write(folder / "train-v1.1.json", squad("A paragraph.", "What?", "q1"))
    path = write(folder / "squad.translate.train.en-qq.json", squad("Ein Absatz.", "Was?", "q1"))
    (found,) = pairs_mistakes(tmp_path, "squad-translate-train")
    assert found.startswith(f"{path}: 'qq' is no language code of ISO 639-1")


@pytest.mark.usefixtures("three_passages")
def test_empty_queries_and_passages_of_mmarco_are_counted(tmp_path: Path) -> None:
    folder = write_mmarco(tmp_path)
    google = folder / "data" / "google"
    write(google / "collections" / "german_collection.tsv", "0\t\n1\teins\n2\tzwei\n")
    assert load_pairs("mmarco", tmp_path).notes == ("1 of 3 passages in de are empty",)


OWN = [
    {"id": "a", "lang": "en", "question": "what?", "passage": "one", "passage_id": "p1"},
    {"id": "a", "lang": "fr", "question": "quoi ?", "passage": "un", "passage_id": "p1"},
    {"id": "b", "lang": "en", "question": "who?", "passage": "one", "passage_id": "p1"},
    {"id": "c", "lang": "en", "question": "when?", "passage": "three", "passage_id": None},
]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_user_s_own_pairs(tmp_path: Path, form: str) -> None:
    if form == "jsonl":
        write(tmp_path / "mine" / "pairs.jsonl", json_lines(OWN))
    else:
        (tmp_path / "mine").mkdir()
        pq.write_table(pa.Table.from_pylist(OWN), tmp_path / "mine" / "pairs.parquet")
    pairs = load_pairs("mine", tmp_path)
    assert pairs.languages == ("en", "fr")
    assert list(pairs.pair_ids) == ["a", "b", "c"]
    assert list(pairs.questions["fr"]) == ["quoi ?", None, None]
    assert pairs.clusters[0] == pairs.clusters[1] != pairs.clusters[2]
    assert isinstance(pairs.questions["fr"], ArrowStrings), "memory-mapped"
    as_lists = {lang: list(texts) for lang, texts in pairs.passages.items()}
    assert pairs.digest == pairs_digest(replace(pairs, passages=as_lists))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"lang": "xx"}, "pairs.jsonl:1: 'xx' is no language code of ISO 639-1"),
        ({"question": 5}, "pairs.jsonl:1: the field question must be a string"),
        ({"passage_id": 5}, "pairs.jsonl:1: the field passage_id must be a string"),
        ({"lang": "fr"}, "pairs.jsonl:2: the pair 'a' stands in fr already"),
        ({"id": ""}, "pairs.jsonl:1: the field id is empty"),
    ],
)
def test_bad_pairs_are_refused_with_their_line(
    tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    write(tmp_path / "mine" / "pairs.jsonl", json_lines([{**OWN[0], **change}, *OWN[1:]]))
    assert expected in pairs_mistakes(tmp_path, "mine")[0]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_hard_negatives_of_a_user_s_own_pairs(tmp_path: Path, form: str) -> None:
    rows = [
        {"id": "a", "lang": "en", "question": "q", "passage": "p", "negatives": ["no", "nor"]},
        {"id": "a", "lang": "de", "question": "f", "passage": "t", "negatives": ["nein", "nicht"]},
        {"id": "b", "lang": "en", "question": "q2", "passage": "p2", "negatives": None},
    ]
    path = tmp_path / "own" / f"pairs.{form}"
    if form == "jsonl":
        write(path, json_lines(rows))
    else:
        path.parent.mkdir()
        pq.write_table(pa.Table.from_pylist(rows), path)
    pairs = load_pairs("own", tmp_path)
    expected = {"en": [["no", "nor"], []], "de": [["nein", "nicht"], []]}
    assert {language: list(texts) for language, texts in pairs.negatives.items()} == expected
    assert [pairs.negatives["de"][0], pairs.negatives["de"][1]] == expected["de"]
    assert list(pairs.negatives["en"].texts) == ["no", "nor"], "of its language alone"  # type: ignore[attr-defined]
    assert pairs.digest == pairs_digest(replace(pairs, negatives=expected)), "as of lists"
    rows[1]["negatives"] = ["nein"]
    write(tmp_path / "uneven" / "pairs.jsonl", json_lines(rows))
    (mistake,) = pairs_mistakes(tmp_path, "uneven")
    assert mistake.endswith("pairs.jsonl:2: the pair 'a' has 1 negatives in de and 2 in en; "
                            "give the same passages in each")  # fmt: skip


def test_a_negative_of_many_of_a_user_s_pairs_is_held_once(tmp_path: Path) -> None:
    lists = {"en": [["x", "y"], ["y", "x", "z"], [], ["z", "same"]],
             "de": [["u", "v"], ["v", "same", "u"], [], ["w", "same"]]}  # fmt: skip
    rows = [
        {"id": str(i), "lang": lang, "question": f"q{i}", "passage": f"p{i}", "negatives": of_pair}
        for i in range(4)
        for lang, of_pair in ((lang, lists[lang][i]) for lang in lists)
    ]
    write(tmp_path / "own" / "pairs.jsonl", json_lines(rows))
    pairs = load_pairs("own", tmp_path)
    held = {language: list(negatives.texts) for language, negatives in pairs.negatives.items()}  # type: ignore[attr-defined]
    assert held == {"en": ["x", "y", "z", "same"], "de": ["u", "v", "same", "w"]}
    assert {language: list(negatives) for language, negatives in pairs.negatives.items()} == lists
    assert pairs.digest == pairs_digest(replace(pairs, negatives=lists))


def test_documents_judged_irrelevant_are_hard_negatives(tmp_path: Path) -> None:
    write_miracl(tmp_path, "sw")
    pairs = load_pairs("miracl-sw:train", tmp_path)
    assert pairs.pair_ids == ["1#0:7#0", "2#0:8#0"]
    assert [list(texts) for texts in pairs.negatives["sw"]] == [["Seven more"], []]


def test_bad_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / "pairs.parquet"
    pq.write_table(pa.table({"id": ["a"], "lang": ["en"]}), path)
    assert pairs_mistakes(tmp_path, "mine") == (f"{path}: the columns question, passage are missing",)
    path.write_bytes(path.read_bytes()[:-10])
    assert pairs_mistakes(tmp_path, "mine")[0].startswith(f"{path}: not a whole Parquet file")


NANO = {
    "corpus": {"_id": ["d1", "d2"], "text": ["one", "two"]},
    "queries": {"_id": ["q1", "q2"], "text": ["first?", "second?"]},
    "qrels": {"query-id": ["q1", "q1", "q2"], "corpus-id": ["d1", "d2", "d2"]},
}


def write_nano(folder: Path, **changes: dict[str, list[object]]) -> Path:
    for part, columns in {**NANO, **changes}.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), folder / part / "train-00000-of-00001.parquet")
    return folder


def test_bad_nano_beir_is_refused_or_counted(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, dict[str, list[object]]], str]] = [
        (
            {"corpus": {"_id": ["d1", "d1"], "text": ["a", "b"]}},
            ".parquet:2: the id 'd1' stands on line 1 already",
        ),
        (
            {"corpus": {"_id": ["d1", None], "text": ["a", "b"]}},
            "the column _id is missing or has rows without",
        ),
        ({"queries": {"_id": ["q1"]}}, "the column text is missing"),
        ({"qrels": {"query-id": [], "corpus-id": []}}, "qrels: holds no judgement"),
    ]
    for number, (changes, sentence) in enumerate(cases):
        write_nano(tmp_path / str(number) / "nano-scifact", **changes)
        with pytest.raises(BadInput) as raised:
            load_task("scifact@nano", tmp_path / str(number))
        assert sentence in raised.value.mistakes[0]
    path = write_nano(tmp_path / "nano-scifact") / "corpus" / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BadInput, match="not a whole Parquet file"):
        load_task("scifact@nano", tmp_path)
    write_nano(
        tmp_path / "nano-scifact",
        corpus={"_id": ["d1", "d2"], "text": ["one", " "]},
        qrels={"query-id": ["q1", "q9"], "corpus-id": ["d7", "d1"]},
    )
    notes = load_task("scifact@nano", tmp_path).notes
    assert [note.split(" that ")[0].split(":")[0] for note in notes] == [
        "qrels judges 1 documents", "qrels names 1 queries", "1 of 2 documents are empty",
    ]  # fmt: skip


def test_nano_beir_is_memory_mapped_and_its_digest_is_of_what_it_holds(tmp_path: Path) -> None:
    write_nano(tmp_path / "nano-scifact", corpus={"_id": ["d1", "d2"], "text": [" one ", "two"]})
    task = load_task("nano-scifact", tmp_path)
    assert isinstance(task.documents["en"].texts, ArrowStrings)
    assert list(task.documents["en"].texts) == [" one ", "two"]
    plain = {"en": Texts(["d1", "d2"], [" one ", "two"])}
    assert task.digest == task_digest(replace(task, documents=plain))


def test_nano_beir_reads_parquet_and_drops_self_hits_as_its_parent_does(tmp_path: Path) -> None:
    write_nano(tmp_path / "nano-arguana")
    task = load_task("nano-arguana", tmp_path)
    assert load_task("arguana@nano", tmp_path).qrels == task.qrels
    assert task.qrels["en"] == {"q1": {"d1": 1, "d2": 1}, "q2": {"d2": 1}}
    assert task.drop_self_hits
    assert "arguana" in DATASETS["nano-arguana"].provenance


def test_the_catalog_says_what_shares_a_source() -> None:
    def share(one: str, other: str) -> bool:
        return bool(DATASETS[one].provenance & DATASETS[other].provenance)

    assert share("mmarco", "msmarco")
    assert share("mkqa", "nq")
    assert share("squad-translate-train", "xquad-r")
    assert share("miracl-sw", "mrtydi-sw")
    assert share("climate-fever-pool", "climate-fever")
    assert not share("xquad-r", "scifact")
