"""SQuAD v1.1 and its machine translations from XTREME (arXiv 2003.11080), parallel by question id.

train-v1.1.json (English) and squad.translate.train.en-<lang>.json, any of them. They have no sentence
boundaries: the passage is the paragraph, whatever is asked for.
"""

import re
from pathlib import Path

from hybrid.data.languages import is_language
from hybrid.data.parallel_qa import pairs_of
from hybrid.data.records import ParallelPairs
from hybrid.data.source import Source
from hybrid.data.squad_json import ParsedFile, parse_file
from hybrid.errors import BadInput

_ENGLISH = "train-v1.1.json"
_TRANSLATED = re.compile(r"squad\.translate\.train\.en-([A-Za-z-]+)\.json")


def recognises(folder: Path) -> bool:
    return any(_TRANSLATED.fullmatch(path.name) for path in folder.glob("*.json"))


def splits(source: Source) -> tuple[str, ...]:  # noqa: ARG001  all of it is for training
    return ()


def files(source: Source) -> list[Path]:
    there = sorted(path for path in source.folder.glob("*.json") if _language(path))
    return there or [source.folder / _ENGLISH]


def read_pairs(source: Source, passage: str) -> ParallelPairs:  # noqa: ARG001  there are no sentences
    mistakes: list[str] = []
    parsed: dict[str, ParsedFile] = {}
    for path in files(source):
        language = _language(path) or ""
        if not is_language(language):
            mistakes.append(
                f"{path}: {language!r} is no language code of ISO 639-1: rename the file or take it away"
            )
            continue
        try:
            parsed[language] = parse_file(path, sentences=False)
        except BadInput as error:
            mistakes += error.mistakes
    if mistakes:
        raise BadInput(mistakes)
    return pairs_of(dict(sorted(parsed.items())), source, "paragraph")


def _language(path: Path) -> str | None:
    """The language a file's name tells, known or not; None: it is no file of this layout."""
    if path.name == _ENGLISH:
        return "en"
    match = _TRANSLATED.fullmatch(path.name)
    return match[1] if match else None
