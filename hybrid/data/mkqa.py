"""MKQA (arXiv 2007.15207): 10,000 questions of Natural Questions in 26 languages, with short answers.

One JSON object a line: example_id, queries {lang: text}, answers {lang: [{type, text, ...}]}. The passage
of a question is the text of its first answer; questions without such a text are left out and counted.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Any

from hybrid.data.languages import is_language
from hybrid.data.lines import json_lines, refuse
from hybrid.data.parallel_rows import Pairs, Row, parallel_pairs
from hybrid.data.records import ParallelPairs
from hybrid.data.source import Source
from hybrid.errors import BadInput


def recognises(folder: Path) -> bool:
    return any(path.is_file() for path in _names(folder))


def splits(source: Source) -> tuple[str, ...]:  # noqa: ARG001  all of it is for training
    return ()


def files(source: Source) -> list[Path]:
    return [next((path for path in _names(source.folder) if path.is_file()), _names(source.folder)[0])]


def read_pairs(source: Source, passage: str) -> ParallelPairs:  # noqa: ARG001  answers have no parts
    (path,) = files(source)
    return parallel_pairs(path, _parse, kind="mkqa", name=source.name)


def _parse(path: Path) -> Generator[Row, None, Pairs]:
    ids: list[str] = []
    seen: set[str] = set()
    mistakes: list[str] = []
    unanswered = 0
    for number, value in json_lines(path):
        asked, answered = value.get("queries"), value.get("answers")
        if not isinstance(asked, dict) or not isinstance(answered, dict) or "example_id" not in value:
            mistakes.append(f"{path}:{number}: the fields example_id, queries and answers are wanted")
            continue
        name = str(value["example_id"])
        if name in seen:
            mistakes.append(f"{path}:{number}: the example_id {value['example_id']!r} stands there already")
            continue
        seen.add(name)
        unknown = [lang for lang in asked if not is_language(lang)]
        if unknown:
            mistakes.append(f"{path}:{number}: {unknown[0]!r} is no language code of ISO 639-1")
            continue
        complete = {
            lang: (text, answer)
            for lang, text in asked.items()
            if isinstance(text, str) and (answer := _first_text(answered.get(lang)))
        }
        if not complete:
            unanswered += 1
            continue
        for language, (question, answer) in complete.items():
            yield len(ids), language, question, answer, []
        ids.append(name)
    refuse(mistakes)
    if not ids:
        raise BadInput(f"{path}: holds no question with an answer")
    notes = (f"{unanswered} questions have no short answer: left out",) if unanswered else ()
    return Pairs(ids, ids, notes)


def _first_text(answers: Any) -> str | None:
    """The text of the first answer that has one."""
    if not isinstance(answers, list):
        return None
    texts = (answer.get("text") for answer in answers if isinstance(answer, dict))
    return next((text for text in texts if isinstance(text, str) and text.strip()), None)


def _names(folder: Path) -> tuple[Path, Path]:
    return folder / "mkqa.jsonl.gz", folder / "mkqa.jsonl"
