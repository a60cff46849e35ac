"""MKQA (arXiv 2007.15207): 10,000 questions of Natural Questions in 26 languages, with short answers.

One JSON object a line: example_id, queries {lang: text}, answers {lang: [{type, text, ...}]}. The passage
of a question is the text of its first answer; questions without such a text are left out and counted.
"""

from pathlib import Path
from typing import Any

from hybrid.data.languages import is_language
from hybrid.data.lines import json_lines, refuse
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
    questions: dict[str, list[str | None]] = {}
    passages: dict[str, list[str | None]] = {}
    ids: list[str] = []
    seen: set[str] = set()
    mistakes: list[str] = []
    unanswered = 0
    for number, value in json_lines(path):
        asked, answered = value.get("queries"), value.get("answers")
        if not isinstance(asked, dict) or not isinstance(answered, dict) or "example_id" not in value:
            mistakes.append(f"{path}:{number}: the fields example_id, queries and answers are wanted")
            continue
        if str(value["example_id"]) in seen:
            mistakes.append(f"{path}:{number}: the example_id {value['example_id']!r} stands there already")
            continue
        seen.add(str(value["example_id"]))
        unknown = [lang for lang in asked if not is_language(lang)]
        if unknown:
            mistakes.append(f"{path}:{number}: {unknown[0]!r} is no language code of ISO 639-1")
            continue
        pair = {lang: (text, _first_text(answered.get(lang))) for lang, text in asked.items()}
        complete = {lang: both for lang, both in pair.items() if isinstance(both[0], str) and both[1]}
        if not complete:
            unanswered += 1
            continue
        for language in complete.keys() - questions.keys():
            questions[language], passages[language] = [None] * len(ids), [None] * len(ids)
        ids.append(str(value["example_id"]))
        for language in questions:
            question, answer = complete.get(language, (None, None))
            questions[language].append(question)
            passages[language].append(answer)
    refuse(mistakes)
    if not ids:
        raise BadInput(f"{path}: holds no question with an answer")
    order = sorted(questions)
    return ParallelPairs(
        name=source.name,
        pair_ids=ids,
        clusters=ids,
        questions={lang: questions[lang] for lang in order},
        passages={lang: passages[lang] for lang in order},
        digest="",
        notes=(f"{unanswered} questions have no short answer: left out",) if unanswered else (),
    )


def _first_text(answers: Any) -> str | None:
    """The text of the first answer that has one."""
    if not isinstance(answers, list):
        return None
    texts = (answer.get("text") for answer in answers if isinstance(answer, dict))
    return next((text for text in texts if isinstance(text, str) and text.strip()), None)


def _names(folder: Path) -> tuple[Path, Path]:
    return folder / "mkqa.jsonl.gz", folder / "mkqa.jsonl"
