"""Small data sets in public layouts, written by the tests that read them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CORPUS: tuple[dict[str, str], ...] = (
    {"_id": "d1", "title": "Bats", "text": "Bats are mammals that fly."},
    {"_id": "d2", "title": "", "text": "Penguins swim and do not fly."},
    {"_id": "d3", "title": "Émeus", "text": ""},
    {"_id": "d4", "text": "Ostriches run."},
)
QUERIES: tuple[dict[str, Any], ...] = (
    {"_id": "q1", "text": "Which mammal flies?", "metadata": {}},
    {"_id": "q2", "text": "Which bird swims?"},
    {"_id": "q3", "text": "Which bird runs?"},
)
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td2\t1\n"


def json_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_beir(
    folder: Path,
    *,
    corpus: str | None = None,
    queries: str | None = None,
    qrels: Mapping[str, str] | None = None,
) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(json_lines(CORPUS) if corpus is None else corpus, encoding="utf-8")
    (folder / "queries.jsonl").write_text(
        json_lines(QUERIES) if queries is None else queries, encoding="utf-8"
    )
    for split, lines in ({"test": QRELS} if qrels is None else qrels).items():
        (folder / "qrels" / f"{split}.tsv").write_text(lines, encoding="utf-8")
    return folder


def paragraph(sentences: Sequence[str], questions: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """One paragraph of XQuAD-R's schema from its sentences and (id, question, answer) triples."""
    breaks, start = [], 0
    for sentence in sentences:
        breaks.append([start, start + len(sentence)])
        start += len(sentence) + 1
    context = " ".join(sentences)
    qas = [
        {"id": name, "question": text, "answers": [{"text": answer, "answer_start": context.index(answer)}]}
        for name, text, answer in questions
    ]
    return {"context": context, "sentences": list(sentences), "sentence_breaks": breaks, "qas": qas}


def article(title: str, *paragraphs: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": title, "paragraphs": list(paragraphs)}


def write_language(folder: Path, language: str, *articles: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{language}.json"
    path.write_text(json.dumps({"version": "1.1", "data": articles}, ensure_ascii=False), encoding="utf-8")
    return path


def write_parallel(folder: Path, *, articles: int = 8) -> Path:
    """English and German, `articles` articles of two paragraphs with two questions each."""
    for language, bird, eats in (("en", "bird", "eats"), ("de", "Vogel", "frisst")):
        write_language(
            folder,
            language,
            *(
                article(
                    f"Article_{a}",
                    *(
                        paragraph(
                            [f"{bird} {a} {p} {eats} corn.", "Yes.", f"It nests {a} {p}."],
                            [
                                (f"q{a}.{p}.0", f"what {eats} {bird} {a} {p}?", "corn"),
                                (f"q{a}.{p}.1", f"{bird} {a} {p} nests?", f"nests {a}"),
                            ],
                        )
                        for p in range(2)
                    ),
                )
                for a in range(articles)
            ),
        )
    return folder
