"""Text files line by line; what cannot be read is refused with its file, line and column."""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hybrid.errors import BadInput

_HALF = re.compile(r"\\u[dD][89a-fA-F]")

MOST_MISTAKES = 20
"""Mistakes of one file that are listed before the rest is left off."""


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, line without its end) of a UTF-8 file, gzip-compressed if its name ends in .gz.

    Raises BadInput for bytes that are not UTF-8 and for a compressed file that ends too early.
    """
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise BadInput(
                        f"{path}:{number}: byte {error.start + 1} of the line is not UTF-8 "
                        f"(0x{line[error.start]:02x}): convert the file to UTF-8"
                    ) from None
                yield number, text.rstrip("\r\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(
            f"{path}: the compressed file is damaged after line {number} ({error}): fetch it again"
        ) from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a JSON Lines file; blank lines are passed over."""
    for number, line in text_lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise BadInput(
                f"{path}:{number}: not valid JSON at column {error.colno} ({error.msg}): "
                "the file is damaged or only half there"
            ) from None
        if not isinstance(value, dict):
            raise BadInput(f"{path}:{number}: a JSON object is wanted, not {type(value).__name__}")
        _refuse_half_characters(f"{path}:{number}", line, value)
        yield number, value


def json_file(path: Path) -> Any:
    """The value of a JSON file."""
    text = "\n".join(line for _, line in text_lines(path))
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(
            f"{path}:{error.lineno}: not valid JSON at column {error.colno} ({error.msg}): "
            "the file is damaged or only half there"
        ) from None
    _refuse_half_characters(str(path), text, value)
    return value


def _refuse_half_characters(where: str, text: str, value: Any) -> None:
    """Raise BadInput for escapes such as \\ud83d without their other half: such a text is no Unicode."""
    if _HALF.search(text) is None:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"\\u{ord(str(error.object)[error.start]):04x}"
        raise BadInput(
            f"{where}: the escape {half} is half of a character, its other half is missing: write it out"
        ) from None


def refuse(mistakes: list[str]) -> None:
    """Raise BadInput if there is a mistake, listing the first of many."""
    if len(mistakes) > MOST_MISTAKES:
        left = len(mistakes) - MOST_MISTAKES
        mistakes = [*mistakes[:MOST_MISTAKES], f"and {left} more mistakes of this kind"]
    if mistakes:
        raise BadInput(mistakes)
