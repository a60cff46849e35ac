"""What training and evaluation share, against counting by hand and by brute force."""

import random
from pathlib import Path

import pytest
from data_files import QRELS, article, json_lines, paragraph, write_beir, write_language, write_parallel

from hybrid.data.overlap import SEQUENCE, contamination, letters, overlap
from hybrid.data.pairs import load_pairs
from hybrid.data.records import ParallelPairs, Task, Texts
from hybrid.data.shared_queries import count_shared, shared_queries


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYBRID_OFFLINE", "1")
    monkeypatch.delenv("HYBRID_DATA_ROOT", raising=False)


def trained(questions: list[str | None], passages: list[str | None]) -> ParallelPairs:
    ids = [str(i) for i in range(len(questions))]
    return ParallelPairs("train", ids, ids, {"en": questions}, {"en": passages}, digest="")


def measured(queries: list[str], documents: list[str]) -> Task:
    """Query i is relevant to document i; further documents to none."""
    names = [f"d{i}" for i in range(len(documents))]
    ids = [f"q{i}" for i in range(len(queries))]
    return Task(
        "test",
        ("beir",),
        {"en": Texts(ids, queries)},
        {"en": Texts(names, documents)},
        {"en": {query: {document: 1} for query, document in zip(ids, names, strict=False)}},
        digest="",
    )


def test_texts_are_compared_by_letters_and_digits() -> None:
    assert letters("  Ｗhat's (the) – ﬁrst?\n") == "whatsthefirst"
    found = overlap(
        trained(["What is THIS?", None], ["A passage, of words.", None]),
        measured(["what is this", "other", ""], ["a passage of words", "not it", "irrelevant"]),
        one_origin=False,
    )
    assert (found.same_id, found.same_query, found.same_document, found.shared_sequence) == (0, 1, 1, 0)
    assert (found.queries, found.relevant) == (3, 3)
    assert found.examples == ("q0", "d0")
    assert found.found


def test_documents_that_answer_no_query_do_not_matter() -> None:
    found = overlap(
        trained(["a?"], ["shared text"]), measured(["b?"], ["other", "shared text"]), one_origin=False
    )
    assert not found.found
    assert str(found) == "train and test share nothing"


def test_ids_count_only_for_sets_of_one_origin() -> None:
    task = measured(["b?"], ["other"])
    pairs = ParallelPairs(
        "train", ["q0:d7", "q9"], ["a", "b"], {"en": ["x", "y"]}, {"en": ["u", "v"]}, digest=""
    )
    assert overlap(pairs, task, one_origin=True).same_id == 1
    assert overlap(pairs, task, one_origin=False).same_id == 0


def test_shared_sequences_are_those_brute_force_finds() -> None:
    generator = random.Random(4)

    def noise(length: int) -> str:
        return "".join(generator.choice("abcdeü語ก") for _ in range(length))

    passages = [noise(generator.randint(0, 300)) for _ in range(60)]
    documents = []
    for row in range(60):
        source = passages[generator.randrange(60)]
        start = generator.randrange(max(1, len(source) - 60))
        piece = source[start : start + generator.choice((SEQUENCE - 1, SEQUENCE, SEQUENCE + 9))]
        documents.append(noise(row) + piece + noise(7))
    found = overlap(trained(["?"] * 60, list(passages)), measured(["!"] * 60, documents), one_origin=False)
    windows = {text[i : i + SEQUENCE] for text in passages for i in range(len(text) - SEQUENCE + 1)}
    expected = sum(
        any(text[i : i + SEQUENCE] in windows for i in range(len(text) - SEQUENCE + 1)) for text in documents
    )
    assert 0 < expected < 60
    assert found.shared_sequence == expected


def test_splits_of_a_set_share_nothing_and_the_whole_shares_all(tmp_path: Path) -> None:
    write_parallel(tmp_path / "qa", articles=16)
    apart = contamination("qa:train", "qa:test", tmp_path)
    assert apart is not None
    assert apart.same_id == apart.same_query == apart.same_article == 0
    whole = contamination("qa", "qa:test", tmp_path)
    assert whole is not None
    assert whole.same_id == whole.same_article == whole.queries == 16


def test_an_article_in_common_is_found_by_its_title_and_need_not_be_acknowledged(tmp_path: Path) -> None:
    one = article("The_Normans", paragraph(["Rollo came.", "He stayed."], [("q1", "who came?", "Rollo")]))
    other = paragraph(["Normandy lies north."], [("a7", "what lies north?", "Normandy")])
    write_language(tmp_path / "one", "en", one)
    write_language(tmp_path / "one", "de", {**one, "title": "Die Normannen"})
    write_language(tmp_path / "two", "en", article("the Normans", other), article("Bats", paragraph(
        ["Bats fly."], [("a8", "what flies?", "Bats")])))  # fmt: skip
    assert load_pairs("one", tmp_path).articles == ["The_Normans"], "the English title"
    found = contamination("one", "two", tmp_path)
    assert found is not None
    assert str(found) == "one and two share 1 of 2 queries by article (for example a7)"
    assert found.found
    assert not found.whole_texts
    untitled = overlap(trained(["a?"], ["b"]), measured(["c?"], ["d"]), one_origin=True)
    assert untitled.same_article == 0


def test_it_is_computed_once_and_known_only_for_the_files_as_they_are(tmp_path: Path) -> None:
    write_beir(tmp_path / "birds", qrels={"train": QRELS, "test": QRELS})
    assert contamination("birds", "birds:test", tmp_path, cached_only=True) is None
    found = contamination("birds", "birds:test", tmp_path)
    assert found is not None
    assert found.same_query == 2
    assert contamination("birds", "birds:test", tmp_path, cached_only=True) == found
    (tmp_path / "birds" / "queries.jsonl").write_text(
        json_lines([{"_id": "q1", "text": "new?"}, {"_id": "q2", "text": "newer?"}])
    )
    assert contamination("birds", "birds:test", tmp_path, cached_only=True) is None


def test_a_copy_under_another_name_asks_the_same_questions(tmp_path: Path) -> None:
    write_beir(tmp_path / "birds")
    renamed = [{"_id": "x1", "text": "WHICH mammal  flies"}, {"_id": "x2", "text": "Which bird swims?!"}]
    write_beir(tmp_path / "mine", queries=json_lines(renamed), qrels={"test": "x1\td1\t1\nx2\td2\t1\n"})
    assert shared_queries("mine", "birds", tmp_path, cached_only=True) is None
    found = shared_queries("mine", "birds", tmp_path)
    assert found is not None
    assert str(found) == "mine chooses and birds reports: they share 2 of 2 queries by text"
    assert found.same
    assert shared_queries("mine", "birds", tmp_path, cached_only=True) == found
    (tmp_path / "mine" / "queries.jsonl").write_text(json_lines([{"_id": "x1", "text": "Other?"}]))
    assert shared_queries("mine", "birds", tmp_path, cached_only=True) is None


def test_splits_ask_other_questions_and_pairs_are_compared_too(tmp_path: Path) -> None:
    write_parallel(tmp_path / "qa", articles=16)
    apart = shared_queries("qa:dev", "qa:test", tmp_path)
    assert apart is not None
    assert (apart.shared, apart.same) == (0, False)
    lines = [
        {"id": str(n), "lang": "de", "question": f"was frisst Vogel {n} 0?", "passage": "Korn"}
        for n in range(16)
    ]
    lines = [{**line, "question": f"what frisst Vogel {line['id']} 0?"} for line in lines]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pairs.jsonl").write_text(json_lines(lines))
    found = shared_queries("mine", "qa:test", tmp_path, role="train")
    assert found is not None
    assert (found.shared, found.queries) == (4, 16), "one of each paragraph of the four test articles"


def test_a_few_questions_in_common_are_counted_and_no_copy() -> None:
    many = [f"what is number {i}?" for i in range(100)]
    found = count_shared(
        measured(["What is number 5", *(f"who is {i}?" for i in range(99))], many), measured(many, many)
    )
    assert (found.shared, found.queries, found.share, found.same) == (1, 100, 0.01, False)
    part = count_shared(measured(many[:3], many), measured(many, many))
    assert (part.shared, part.share, part.same) == (3, 1.0, True), (
        "all of the set that chooses is in the other"
    )
