"""Statement and question templates, and how they become sentences.

A template holds slots: `{name}` (default form), `{name.gen}` (a named form), `{name:m|f}` (one of two
texts by the gender of the word in the slot) and `{name:other}` (the form of `name` that agrees with the
gender of `other`). `e` is the subject of the article.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from hybrid.embedded.words import LANGUAGES, Word

KINDS = ("city", "scientist", "museum", "company", "ship", "river", "novel")
_SLOT = re.compile(r"\{(\w+)(?:\.(\w+)|:([^}]+))?\}")
_SPANISH_CONTRACTIONS = ("de ", "a ")
_GERMAN_CONTRACTIONS = {
    "in dem ": "im ",
    "an dem ": "am ",
    "von dem ": "vom ",
    "zu dem ": "zum ",
    "bei dem ": "beim ",
    "in das ": "ins ",
    "an das ": "ans ",
}


@dataclass(frozen=True)
class Relation:
    """One type of statement about a kind of subject, with the questions it answers."""

    name: str
    slots: dict[str, str]  # slot -> kind of word
    statements: dict[str, list[str]]  # language -> variants, translations of each other by position
    questions: dict[str, dict[str, list[str]]]  # slot -> language -> variants


@dataclass(frozen=True)
class Sentence:
    """A rendered template and where the text of each slot stands in it (start, end)."""

    text: str
    spans: dict[str, tuple[int, int]]


@cache
def relations(kind: str) -> tuple[Relation, ...]:
    """The relations of a kind of subject, read from templates/<kind>.yaml."""
    path = Path(__file__).parent / "templates" / f"{kind}.yaml"
    found = []
    for name, entry in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        statements: dict[str, list[str]] = {language: [] for language in LANGUAGES}
        questions: dict[str, dict[str, list[str]]] = {
            slot: {language: [] for language in LANGUAGES} for slot in entry["slots"]
        }
        for language in LANGUAGES:
            for line in entry[language].strip().split("\n"):
                slot, mark, question = line.partition("? ")
                if mark and slot in questions:
                    questions[slot][language].append(question)
                else:
                    statements[language].append(line)
        found.append(Relation(name, entry["slots"], statements, questions))
    return tuple(found)


def render(template: str, language: str, words: Mapping[str, Word]) -> Sentence:
    """Fill the slots of a template, contract articles as the language does, start with a capital."""
    out, spans, position = "", {}, 0
    for match in _SLOT.finditer(template):
        out += template[position : match.start()]
        position = match.end()
        name, form, choice = match.groups()
        word = words[name]
        if choice is None:
            text = word.text(language, form or "")
        elif "|" in choice:
            text = choice.split("|")[word.gender == "f"]
        else:
            text = word.text(language, words[choice].gender)
        out, text = _contract(out, text, language)
        if not out:
            text = text[0].upper() + text[1:]
        if choice is None or "|" not in choice:
            spans[name] = (len(out), len(out) + len(text))
        out += text
    return Sentence(out + template[position:], spans)


def _contract(before: str, text: str, language: str) -> tuple[str, str]:
    """de + el -> del, in + dem -> im: the article moves into the preposition."""
    last_word = before[before[:-1].rfind(" ") + 1 :]
    if language == "es" and text.startswith("el ") and last_word.lower() in _SPANISH_CONTRACTIONS:
        return before[:-1] + "l ", text[3:]
    if language == "de" and text[:4] in ("dem ", "das "):
        joined = _GERMAN_CONTRACTIONS.get(last_word.lower() + text[:4])
        if joined:
            start = before[: len(before) - len(last_word)]
            return start + (joined.capitalize() if last_word[0].isupper() else joined), text[4:]
    return before, text
