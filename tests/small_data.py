"""Tiny data sets in the layouts that users have, for tests that need files but not their size."""

import json
from pathlib import Path


def write_small_data(root: Path) -> Path:
    """`root` with `faq` (parallel questions: de, en), and `bugs` and `laws` (BEIR, train and test)."""
    for language in ("de", "en"):
        articles = [_article(language, title) for title in range(12)]
        _write(root / "faq" / f"{language}.json", json.dumps({"data": articles}))
    for name in ("bugs", "laws"):
        rows = range(6)
        corpus = [{"_id": f"d{i}", "title": "", "text": f"{name} document {i}"} for i in rows]
        queries = [{"_id": f"q{i}", "text": f"{name} query {i}"} for i in rows]
        _write(root / name / "corpus.jsonl", "".join(json.dumps(row) + "\n" for row in corpus))
        _write(root / name / "queries.jsonl", "".join(json.dumps(row) + "\n" for row in queries))
        for split, ids in (("train", (0, 1, 2)), ("test", (3, 4, 5))):
            judged = "".join(f"q{i}\td{i}\t1\n" for i in ids)
            _write(root / name / "qrels" / f"{split}.tsv", "query-id\tcorpus-id\tscore\n" + judged)
    return root


def _article(language: str, number: int) -> dict[str, object]:
    sentences = [f"{language} fact {number} {i}." for i in range(2)]
    context = " ".join(sentences)
    questions = [
        {
            "id": f"{number}-{i}",
            "question": f"{language} question {number} {i}?",
            "answers": [{"text": sentence, "answer_start": context.index(sentence)}],
        }
        for i, sentence in enumerate(sentences)
    ]
    breaks = [[context.index(sentence), context.index(sentence) + len(sentence)] for sentence in sentences]
    paragraph = {"context": context, "sentence_breaks": breaks, "sentences": sentences, "qas": questions}
    return {"title": f"article {number}", "paragraphs": [paragraph]}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
