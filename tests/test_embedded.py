"""The embedded world."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hybrid.embedded.phrases import KINDS, relations, render
from hybrid.embedded.words import (
    LANGUAGES,
    Names,
    Random,
    city,
    decline_russian,
    museum,
    number,
    person,
    same,
)
from hybrid.embedded.world import WORLD_VERSION, write_world

EMBEDDED = Path(__file__).parents[1] / "hybrid" / "embedded"
COLLECTIONS = ("embedded-science", "embedded-history")
DIGESTS = {"2": "c130e298118065cd8b38"}
"""WORLD_VERSION -> digest of all files: text that changes needs a new version, or caches hold the old one."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    return folder


@pytest.fixture(scope="module")
def articles(root: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        language: json.loads((root / "embedded-qa" / f"{language}.json").read_text(encoding="utf-8"))["data"]
        for language in LANGUAGES
    }


def _paragraphs(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [paragraph for article in data for paragraph in article["paragraphs"]]


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.*")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _qrels(path: Path) -> dict[str, dict[str, int]]:
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    assert head == "query-id\tcorpus-id\tscore"
    judged: dict[str, dict[str, int]] = {}
    for line in lines:
        query, document, gain = line.split("\t")
        judged.setdefault(query, {})[document] = int(gain)
    return judged


def test_the_written_bytes_are_those_of_the_version(root: Path) -> None:
    assert {WORLD_VERSION: _digest(root)}.items() <= DIGESTS.items()


def test_the_bytes_do_not_depend_on_the_process_and_need_no_torch(root: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hybrid.embedded.world import write_world;"
        "write_world(Path(sys.argv[1])); print('torch' in sys.modules)"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": "C"}
        command = [sys.executable, "-c", code, str(tmp_path / seed)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        assert done.stdout.strip() == "False"
        assert _digest(tmp_path / seed) == _digest(root)


def test_schema_is_that_of_xquad_r(root: Path) -> None:
    for language in LANGUAGES:
        whole = json.loads((root / "embedded-qa" / f"{language}.json").read_text(encoding="utf-8"))
        assert set(whole) == {"data", "version"}
        for article in whole["data"]:
            assert set(article) == {"paragraphs", "title"}
        for paragraph in _paragraphs(whole["data"]):
            assert set(paragraph) == {"context", "qas", "sentence_breaks", "sentences"}
            for question in paragraph["qas"]:
                assert set(question) == {"answers", "id", "question"}
                assert [set(answer) for answer in question["answers"]] == [{"answer_start", "text"}]


def test_every_answer_lies_in_exactly_one_sentence(articles: dict[str, list[dict[str, Any]]]) -> None:
    for data in articles.values():
        for paragraph in _paragraphs(data):
            context, breaks = paragraph["context"], paragraph["sentence_breaks"]
            assert [context[start:end] for start, end in breaks] == paragraph["sentences"]
            assert context == " ".join(paragraph["sentences"])
            for question in paragraph["qas"]:
                (answer,) = question["answers"]
                start, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
                assert answer["text"]
                assert context[start:end] == answer["text"]
                assert sum(first <= start and end <= last for first, last in breaks) == 1


def test_questions_are_parallel(articles: dict[str, list[dict[str, Any]]]) -> None:
    def places(data: list[dict[str, Any]]) -> list[Any]:
        """Title, paragraph, sentence and id of each question, in order."""
        return [
            (article["title"], number, question["id"], _gold(paragraph, question))
            for article in data
            for number, paragraph in enumerate(article["paragraphs"])
            for question in paragraph["qas"]
        ]

    english = places(articles["en"])
    assert len({place[2] for place in english}) == len(english)
    for language in LANGUAGES:
        assert places(articles[language]) == english


def _gold(paragraph: dict[str, Any], question: dict[str, Any]) -> int:
    start = question["answers"][0]["answer_start"]
    return next(i for i, (first, last) in enumerate(paragraph["sentence_breaks"]) if first <= start < last)


def test_size_and_uniqueness(articles: dict[str, list[dict[str, Any]]]) -> None:
    for data in articles.values():
        questions = [question["question"] for p in _paragraphs(data) for question in p["qas"]]
        sentences = [sentence for p in _paragraphs(data) for sentence in p["sentences"]]
        assert len({article["title"] for article in data}) == len(data) == 63
        assert 600 <= len(questions) <= 700
        assert len(set(questions)) == len(questions)
        assert len(set(sentences)) == len(sentences)
        assert all(len(p["sentences"]) >= 3 for p in _paragraphs(data))
        assert all(len(article["paragraphs"]) == 3 for article in data)


def test_a_question_names_one_subject_and_relation_only() -> None:
    """No fact is stated twice: (subject, relation) never repeats, so one sentence answers each question."""
    from hybrid.embedded.articles import make_articles
    from hybrid.embedded.world import ARTICLES, SEED

    facts = [
        (statement.words["e"].text("en"), statement.relation.name)
        for article in make_articles(ARTICLES, part=0, seed=SEED)
        for paragraph in article.paragraphs
        for statement in paragraph
    ]
    assert len(set(facts)) == len(facts)


def test_sentences_share_words_with_the_gold_one(articles: dict[str, list[dict[str, Any]]]) -> None:
    """For most questions the right sentence is not simply the one with the most words in common."""
    sentences = [sentence for p in _paragraphs(articles["en"]) for sentence in p["sentences"]]
    words = [set(re.findall(r"\w+", sentence.lower())) for sentence in sentences]
    tied, total = 0, 0
    for paragraph in _paragraphs(articles["en"]):
        for question in paragraph["qas"]:
            asked = set(re.findall(r"\w+", question["question"].lower()))
            gold = words[sentences.index(paragraph["sentences"][_gold(paragraph, question)])]
            overlap = len(asked & gold)
            tied += sum(len(asked & other) >= overlap for other in words) > 1
            total += 1
    assert 0.25 < tied / total < 0.95


def test_text_is_well_formed(articles: dict[str, list[dict[str, Any]]]) -> None:
    flawed = {
        "en": r"[{}|]|  |\ba [aeiou]",
        "de": r"[{}|]|  |\b(in|an|von|zu|bei) dem [A-Z]|\bin das [A-Z]",
        "es": r"[{}|]|  |\b(de|a) el \b",
        "ru": r"[{}|A-Za-z]|  ",
    }
    for language, data in articles.items():
        for paragraph in _paragraphs(data):
            for text in [*paragraph["sentences"], *(question["question"] for question in paragraph["qas"])]:
                assert not re.search(flawed[language], text), text
                assert text[0] == "¿" or text[0].isupper(), text
                assert text[-1] in ".?", text


@pytest.mark.parametrize("kind", KINDS)
def test_templates_are_parallel(kind: str) -> None:
    names = Names(0, Random(1))
    for relation in relations(kind):
        words = {"e": names.subject(kind), **{slot: names.slot(of) for slot, of in relation.slots.items()}}
        for language in LANGUAGES:
            assert len(relation.statements[language]) == 2
            for template in relation.statements[language]:
                sentence = render(template, language, words)
                assert set(relation.slots) <= set(sentence.spans), template
            for slot, questions in relation.questions.items():
                assert len(questions[language]) == 2, (relation.name, slot)
                rendered = [render(template, language, words) for template in questions[language]]
                assert rendered[0].text != rendered[1].text
                assert all("e" in question.spans and slot not in question.spans for question in rendered)


def test_inflection() -> None:
    clara = person(same("Clara"), same("Holtmann"), "f")
    assert clara.text("de") == "Clara Holtmann"
    assert decline_russian("Клара", animate=True)["acc"] == "Клару"
    assert decline_russian("Мартин", animate=True)["acc"] == "Мартина"
    town = city("Marenwik", "Маренвик")
    glass = museum(
        Names(0, Random(1)).slot("topic"),
        town,
    )
    assert town.text("ru", "prep") == "Маренвике"
    assert render("In {e.dat} und von {e.dat}.", "de", {"e": glass}).text.startswith("Im ")
    assert " vom " in render("Es kommt von {e.dat}.", "de", {"e": glass}).text
    assert render("Cerca de {e}.", "es", {"e": glass}).text.startswith("Cerca del Museo")
    assert [number(12400).text(language) for language in LANGUAGES] == [
        "12,400",
        "12.400",
        "12 400",
        "12 400",
    ]


@pytest.mark.parametrize("name", COLLECTIONS)
def test_collections_are_in_beir_layout(root: Path, name: str) -> None:
    documents = _rows(root / name / "corpus.jsonl")
    queries = {row["_id"]: row["text"] for row in _rows(root / name / "queries.jsonl")}
    judged = {split: _qrels(root / name / "qrels" / f"{split}.tsv") for split in ("train", "test")}
    ids = {row["_id"] for row in documents}
    assert 300 <= len(documents) == len(ids) <= 500
    assert all(set(row) == {"_id", "title", "text", "metadata"} for row in documents)
    assert {split: len(queries_of) for split, queries_of in judged.items()} == {"train": 60, "test": 100}
    assert not judged["train"].keys() & judged["test"].keys()
    assert not {queries[q] for q in judged["train"]} & {queries[q] for q in judged["test"]}
    assert judged["train"].keys() | judged["test"].keys() == queries.keys()
    assert {document for gains in judged["test"].values() for document in gains} <= ids
    assert any(len(gains) > 1 for gains in judged["test"].values())
    if name == "embedded-history":
        assert {gain for gains in judged["test"].values() for gain in gains.values()} == {1, 2}


def test_halves_share_no_name() -> None:
    halves = [Names(part, Random(3)) for part in (0, 1)]
    for kind in KINDS:
        if kind in ("museum", "scientist"):
            continue  # a museum's town, a scholar's surname: covered by the two pools below
        names = [{half.subject(kind).text("en") for _ in range(25)} for half in halves]
        assert not names[0] & names[1], kind
