"""XQuAD-R's layout: gold sentences, ids shared by languages, splits by article."""

import json
from pathlib import Path

import pytest
from data_files import article, paragraph, write_language, write_parallel

from hybrid.data.article_splits import XQUAD_R, by_hash, choose
from hybrid.data.pairs import load_pairs
from hybrid.data.tasks import load_task
from hybrid.errors import BadInput


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYBRID_OFFLINE", "1")
    monkeypatch.delenv("HYBRID_DATA_ROOT", raising=False)


def mistakes(root: Path, name: str = "qa") -> tuple[str, ...]:
    with pytest.raises(BadInput) as raised:
        load_task(name, root)
    return raised.value.mistakes


def test_every_sentence_is_a_candidate_and_the_one_with_the_answer_is_relevant(tmp_path: Path) -> None:
    write_parallel(tmp_path / "qa", articles=3)
    task = load_task("qa", tmp_path)
    assert task.settings == ("mono", "cross", "multi")
    assert set(task.queries) == set(task.documents) == {"en", "de"}
    assert len(task.documents["de"]) == 3 * 2 * 3
    assert list(task.queries["en"].ids) == list(task.queries["de"].ids)
    place = list(task.queries["en"].ids).index("q1.0.1")  # third paragraph, third sentence
    for language in ("en", "de"):
        assert task.qrels[language]["q1.0.1"] == {"en:2:2": 1, "de:2:2": 1}
        assert task.queries[language].clusters is not None
        assert task.queries[language].clusters[place] == "2"
        texts = dict(zip(task.documents[language].ids, task.documents[language].texts, strict=True))
        assert texts[f"{language}:2:2"] == "It nests 1 0."
        assert sum(text == "Yes." for text in texts.values()) == 6  # the same text, six documents


def test_an_answer_that_crosses_a_break_belongs_to_the_sentence_it_starts_in(tmp_path: Path) -> None:
    crossing = paragraph(["First one", "second here.", "Third."], [("q", "What?", "one second")])
    between = paragraph(["Abc.", "Def."], [("r", "Which?", " Def")])  # starts in the gap before a sentence
    write_language(tmp_path / "qa", "en", article("A", crossing, between))
    task = load_task("qa", tmp_path)
    assert task.qrels["en"] == {"q": {"en:0:0": 1}, "r": {"en:1:1": 1}}
    assert task.settings == ("mono",)
    assert task.notes == (
        "answers that run on into the next sentence (the one they start in is relevant), "
        "in the whole files: en 1",
    )


def test_questions_missing_in_a_language_leave_the_rest_parallel(tmp_path: Path) -> None:
    one = paragraph(["Alpha.", "Beta."], [("q1", "a?", "Alpha"), ("q2", "b?", "Beta")])
    two = paragraph(["Gamma."], [("q3", "c?", "Gamma")])
    alone = paragraph(["Delta."], [("q4", "d?", "Delta")])
    write_language(tmp_path / "qa", "en", article("E", one, two))
    # in German the paragraphs stand in another order, q1 is missing and q4 is added
    german = paragraph(["Beta!", "Nichts."], [("q2", "b?", "Beta")])
    write_language(tmp_path / "qa", "de", article("Y", alone), article("Z", two, german))
    task = load_task("qa", tmp_path)
    assert sorted(task.queries["de"].ids) == ["q2", "q3", "q4"]
    relevant_in = {query: sorted(doc[:2] for doc in docs) for query, docs in task.qrels["en"].items()}
    assert relevant_in == {"q1": ["en"], "q2": ["de", "en"], "q3": ["de", "en"]}
    clusters = {}
    for language in ("de", "en"):
        of_language = task.queries[language].clusters
        assert of_language is not None
        for query, cluster in zip(task.queries[language].ids, of_language, strict=True):
            assert clusters.setdefault(query, cluster) == cluster
    assert clusters["q1"] == clusters["q2"] != clusters["q3"]
    pairs = load_pairs("qa", tmp_path)
    missing = dict(zip(pairs.pair_ids, pairs.questions["de"], strict=True))
    assert missing["q1"] is None
    assert missing["q2"] == "b?"
    assert dict(zip(pairs.pair_ids, pairs.passages["de"], strict=True))["q2"] == "Beta!"
    assert pairs.passages["de"][list(pairs.pair_ids).index("q1")] is None


def test_paragraphs_that_one_language_joins_keep_unique_document_ids(tmp_path: Path) -> None:
    joined = paragraph(["One.", "Two."], [("q1", "a?", "One"), ("q2", "b?", "Two")])
    apart = (paragraph(["Eins."], [("q1", "a?", "Eins")]), paragraph(["Zwei."], [("q2", "b?", "Zwei")]))
    write_language(tmp_path / "qa", "en", article("E", joined))
    write_language(tmp_path / "qa", "de", article("D", *apart))
    task = load_task("qa", tmp_path)
    assert list(task.documents["de"].ids) == ["de:0:0", "de:0:1"]
    assert task.qrels["en"]["q2"] == {"en:0:1": 1, "de:0:1": 1}


def test_splits_are_disjoint_by_article_cover_everything_and_keep_ids(tmp_path: Path) -> None:
    write_parallel(tmp_path / "qa", articles=16)
    whole = load_task("qa", tmp_path)
    parts = {split: load_task(f"qa:{split}", tmp_path) for split in ("train", "dev", "test")}
    assert [len(part.queries["en"]) // 4 for part in parts.values()] == [10, 2, 4]
    for side in ("queries", "documents"):
        ids = [name for part in parts.values() for name in getattr(part, side)["de"].ids]
        assert sorted(ids) == sorted(getattr(whole, side)["de"].ids)
    for part in parts.values():
        candidates = set(part.documents["en"].ids) | set(part.documents["de"].ids)
        assert all(set(documents) <= candidates for documents in part.qrels["de"].values())
        assert part.qrels["en"].items() <= whole.qrels["en"].items()


def test_the_passage_is_the_gold_sentence_or_the_paragraph(tmp_path: Path) -> None:
    write_parallel(tmp_path / "qa", articles=3)
    sentences = load_pairs("qa", tmp_path)
    paragraphs = load_pairs("qa", tmp_path, passage="paragraph")
    assert sentences.languages == ("de", "en")
    assert sentences.passages["en"][1] == "It nests 0 0."
    assert paragraphs.passages["en"][1] == "bird 0 0 eats corn. Yes. It nests 0 0."
    assert sentences.passages["de"][0] == "Vogel 0 0 frisst corn."
    assert list(sentences.clusters[:4]) == ["0", "0", "1", "1"]
    assert sentences.digest != paragraphs.digest


def test_the_fixed_lists_are_disjoint_and_of_the_stated_sizes() -> None:
    assert [len(XQUAD_R[split]) for split in ("train", "dev", "test")] == [30, 6, 12]
    assert len({title for titles in XQUAD_R.values() for title in titles}) == 48


def test_splits_by_hash_do_not_hang_on_the_order() -> None:
    titles = [f"Title {i}" for i in range(24)]
    split = by_hash(titles)
    assert by_hash(titles[::-1]) == split
    assert [sum(s == name for s in split.values()) for name in ("train", "dev", "test")] == [15, 3, 6]
    assert sorted(by_hash(["a", "b", "c"]).values()) == ["dev", "test", "train"]


def test_choosing_gives_the_same_lists_again_and_balances_questions() -> None:
    questions = {f"Title {i}": 5 + i % 13 for i in range(48)}
    chosen = choose(questions, seed=3, draws=2000)
    assert chosen == choose(dict(reversed(questions.items())), seed=3, draws=2000)
    total = sum(questions.values())
    for split, share in zip(("train", "dev", "test"), (30, 6, 12), strict=True):
        assert abs(sum(questions[t] for t in chosen[split]) - share * total / 48) < 3


def good() -> dict[str, object]:
    return paragraph(["Alpha one.", "Beta two."], [("q1", "what?", "one")])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"context": None}, "article 'A', paragraph 1: the field context must be a non-empty string"),
        ({"sentences": None}, "article 'A', paragraph 1: the field sentences must be a list"),
        ({"sentence_breaks": [[0, 10]]}, "paragraph 1: 1 sentence_breaks for 2 sentences"),
        ({"sentence_breaks": [[0, 10], [11]]}, "sentence_breaks must be pairs of whole numbers"),
        ({"sentence_breaks": [[0, 10], [11, 99]]}, "must ascend within the 20 characters of context"),
        ({"sentences": ["Alpha one.", 4]}, "sentences must be strings"),
        ({"qas": 3}, "the field qas must be a list"),
        ({"qas": [{"question": "?"}]}, "a question's field id must be a non-empty string"),
        ({"qas": [{"id": "q", "question": 1, "answers": []}]}, "question 'q': the field question must be"),
        ({"qas": [{"id": "q", "question": "?", "answers": []}]}, "question 'q': the field answers must be"),
        (
            {"qas": [{"id": "q", "question": "?", "answers": [{"text": "x", "answer_start": 20}]}]},
            "question 'q': answer_start 20 is outside the 20 characters of its context",
        ),
        (
            {"qas": [{"id": "q", "question": "?", "answers": [{"text": "x", "answer_start": "3"}]}]},
            "question 'q': an answer needs a string text and a whole number answer_start",
        ),
    ],
)
def test_what_breaks_the_schema_is_refused_with_its_place(
    tmp_path: Path, changes: dict[str, object], expected: str
) -> None:
    path = write_language(tmp_path / "qa", "en", article("A", {**good(), **changes}))
    found = mistakes(tmp_path)
    assert expected in found[0]
    assert found[0].startswith(str(path))


def test_a_repeated_question_id_is_refused(tmp_path: Path) -> None:
    write_language(tmp_path / "qa", "en", article("A", good(), good()))
    assert "paragraph 2, question 'q1': the id stands on another question" in mistakes(tmp_path)[0]


def test_a_truncated_file_is_refused_with_line_and_column(tmp_path: Path) -> None:
    path = write_language(tmp_path / "qa", "en", article("A", good()))
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1)[:-40])
    (found,) = mistakes(tmp_path)
    lines = path.read_text().count("\n") + 1
    assert found.startswith(f"{path}:{lines}: not valid JSON at column")


def test_mistakes_of_several_files_come_together(tmp_path: Path) -> None:
    write_language(tmp_path / "qa", "en", article("A", good()))
    write_language(tmp_path / "qa", "de", article("A", {**good(), "qas": 3}))
    write_language(tmp_path / "qa", "fr", article("A", {**good(), "context": 3}))
    write_language(tmp_path / "qa", "xx", article("A", good()))
    found = mistakes(tmp_path)
    assert [Path(m.split(":")[0]).name for m in found] == ["de.json", "fr.json", "xx.json"]
    assert "'xx' is no language code" in found[-1]
