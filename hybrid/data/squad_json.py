"""One JSON file in SQuAD's schema with XQuAD-R's sentence breaks, parsed into Arrow tables in the cache."""

import hashlib
import json
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hybrid.data.arrow import open_table, write_rows
from hybrid.data.cache import build_once, cache_folder, content_hash, read_json
from hybrid.data.lines import json_file, refuse
from hybrid.errors import BadInput

_VERSION = 1  # of what parsing makes of a file

_PARAGRAPHS = pa.schema([("article", pa.int32()), ("title", pa.string()), ("context", pa.string())])
_SENTENCES = pa.schema([("paragraph", pa.int32()), ("text", pa.string())])
_QUESTIONS = pa.schema(
    [
        ("id", pa.string()),
        ("question", pa.string()),
        ("paragraph", pa.int32()),
        ("sentence", pa.int32()),  # row of the sentences table
    ]
)


@dataclass(frozen=True)
class ParsedFile:
    """One language, memory-mapped. Paragraphs and sentences are numbered by their rows."""

    paragraphs: pa.Table  # article, title, context
    sentences: pa.Table  # paragraph, text
    questions: pa.Table  # id, question, paragraph, sentence
    oddities: dict[str, int]  # what was met, in words -> how often

    def passages(self, passage: str) -> tuple[pa.ChunkedArray, npt.NDArray[np.int64]]:
        """The column that holds the passages, and for every question its row there."""
        if passage == "paragraph":
            return self.paragraphs["context"], self.questions["paragraph"].to_numpy().astype(np.int64)
        return self.sentences["text"], self.questions["sentence"].to_numpy().astype(np.int64)


def parse_file(path: Path, *, sentences: bool = True) -> ParsedFile:
    """One language's file. Without `sentences` it is plain SQuAD: every paragraph counts as one sentence, and
    answers are not looked at. Raises BadInput naming the file, article, paragraph, question and field.
    """
    name = f"squad {_VERSION} {sentences} {content_hash(path)}"
    folder = cache_folder() / "parsed" / hashlib.sha256(name.encode()).hexdigest()[:20]
    build_once(folder, lambda unfinished: _parse(path, sentences, unfinished))
    facts = read_json(folder / "facts.json")
    if not isinstance(facts, dict):
        raise BadInput(f"{folder}: the cache is damaged: delete this folder")
    return ParsedFile(
        open_table(folder / "paragraphs.arrow"),
        open_table(folder / "sentences.arrow"),
        open_table(folder / "questions.arrow"),
        facts["oddities"],
    )


@dataclass
class _Rows:
    """What one file holds, gathered while it is walked."""

    split: bool  # into sentences
    paragraphs: list[tuple[int, str, str]] = field(default_factory=list)
    sentences: list[tuple[int, str]] = field(default_factory=list)
    questions: list[tuple[str, str, int, int]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    mistakes: list[str] = field(default_factory=list)
    empty_questions: int = 0
    empty_sentences: int = 0
    crossing: int = 0  # answers that run over a sentence break
    elsewhere: int = 0  # answers whose text is not what stands at answer_start

    def oddities(self) -> dict[str, int]:
        counts = {
            "empty questions": self.empty_questions,
            "empty sentences": self.empty_sentences,
            "answers that run on into the next sentence (the one they start in is relevant)": self.crossing,
            "answers unlike the text at their answer_start": self.elsewhere,
        }
        return {what: count for what, count in counts.items() if count}


def _parse(path: Path, sentences: bool, folder: Path) -> None:
    rows = _Rows(sentences)
    articles = _list(json_file(path), "data", str(path), rows)
    for number, article in enumerate(articles):
        where = f"{path}: article {number + 1}"
        title = article.get("title") if isinstance(article, dict) else None
        if not isinstance(title, str):
            rows.mistakes.append(f"{where}: the field title must be a string")
            continue
        for index, paragraph in enumerate(_list(article, "paragraphs", where, rows)):
            _read_paragraph(
                paragraph, number, title, f"{path}: article {title!r}, paragraph {index + 1}", rows
            )
    refuse(rows.mistakes)
    if not rows.questions:
        raise BadInput(f"{path}: holds no question")
    write_rows(folder / "paragraphs.arrow", _PARAGRAPHS, rows.paragraphs)
    write_rows(folder / "sentences.arrow", _SENTENCES, rows.sentences)
    write_rows(folder / "questions.arrow", _QUESTIONS, rows.questions)
    (folder / "facts.json").write_text(json.dumps({"oddities": rows.oddities()}))


def _read_paragraph(paragraph: Any, article: int, title: str, where: str, rows: _Rows) -> None:
    context = paragraph.get("context") if isinstance(paragraph, dict) else None
    if not isinstance(context, str) or not context:
        rows.mistakes.append(f"{where}: the field context must be a non-empty string")
        return
    sentences = _list(paragraph, "sentences", where, rows) if rows.split else [context]
    breaks = _list(paragraph, "sentence_breaks", where, rows) if rows.split else [[0, len(context)]]
    if not sentences:
        return
    if len(breaks) != len(sentences):
        rows.mistakes.append(f"{where}: {len(breaks)} sentence_breaks for {len(sentences)} sentences")
        return
    try:
        starts = [int(start) for start, _ in breaks]
        ends = [int(end) for _, end in breaks]
    except (TypeError, ValueError):
        rows.mistakes.append(f"{where}: sentence_breaks must be pairs of whole numbers")
        return
    if any(not isinstance(sentence, str) for sentence in sentences):
        rows.mistakes.append(f"{where}: sentences must be strings")
        return
    if sorted(starts) != starts or sorted(ends) != ends or starts[0] < 0 or ends[-1] > len(context):
        rows.mistakes.append(
            f"{where}: sentence_breaks must ascend within the {len(context)} characters of context"
        )
        return
    number, first_sentence = len(rows.paragraphs), len(rows.sentences)
    rows.paragraphs.append((article, title, context))
    rows.sentences += [(number, sentence) for sentence in sentences]
    rows.empty_sentences += sum(not sentence.strip() for sentence in sentences)
    for question in _list(paragraph, "qas", where, rows):
        asked = _read_question(question, context, where, rows)
        if asked is None:
            continue
        name, text, start, end = asked
        # the first sentence that ends after the answer's start
        index = min(bisect_right(ends, start), len(ends) - 1)
        rows.crossing += end > ends[index]
        rows.questions.append((name, text, number, first_sentence + index))


def _read_question(question: Any, context: str, where: str, rows: _Rows) -> tuple[str, str, int, int] | None:
    """(id, text, first character of the answer, character after its last), or None with the mistake noted."""
    name = question.get("id") if isinstance(question, dict) else None
    if not isinstance(name, str) or not name:
        rows.mistakes.append(f"{where}: a question's field id must be a non-empty string")
        return None
    where = f"{where}, question {name!r}"
    if name in rows.seen:
        rows.mistakes.append(f"{where}: the id stands on another question of this file already")
        return None
    rows.seen.add(name)
    text = question.get("question")
    answers = question.get("answers")
    if not isinstance(text, str):
        rows.mistakes.append(f"{where}: the field question must be a string")
        return None
    if not rows.split:
        rows.empty_questions += not text.strip()
        return name, text, 0, 0
    if not isinstance(answers, list) or not answers or not isinstance(answers[0], dict):
        rows.mistakes.append(f"{where}: the field answers must be a list with at least one answer")
        return None
    start, answer = answers[0].get("answer_start"), answers[0].get("text")
    if not isinstance(start, int) or not isinstance(answer, str):
        rows.mistakes.append(f"{where}: an answer needs a string text and a whole number answer_start")
        return None
    if not 0 <= start < len(context):
        rows.mistakes.append(
            f"{where}: answer_start {start} is outside the {len(context)} characters of its context"
        )
        return None
    rows.empty_questions += not text.strip()
    rows.elsewhere += context[start : start + len(answer)] != answer
    return name, text, start, start + len(answer)


def _list(value: Any, name: str, where: str, rows: _Rows) -> list[Any]:
    found = value.get(name) if isinstance(value, dict) else None
    if isinstance(found, list):
        return found
    rows.mistakes.append(f"{where}: the field {name} must be a list")
    return []
