"""What the embedded backbones are pretrained on: other articles, other abstracts, other chronicles.

All names of towns, rivers, persons, novels and ships in the articles are of the half that the evaluation
world does not use; whatever text the evaluation world holds is left out; no claim or request of the English
collections is ever seen. Questions appear as single lines of text, never beside their answers.
"""

from dataclasses import dataclass
from random import Random

from hybrid.embedded.articles import Article, make_articles
from hybrid.embedded.beir_layout import vocabulary
from hybrid.embedded.history import make_history
from hybrid.embedded.science import make_science
from hybrid.embedded.words import LANGUAGES
from hybrid.embedded.world import ARTICLES, SEED

WORLDS = 6
COLLECTIONS = 6


@dataclass(frozen=True)
class PretrainingText:
    lines: list[str]
    """Single sentences, questions and passages, one language each: for tokenizers and masked prediction."""
    passages: list[list[str]]
    """Groups of texts of one language each, to cut two pieces of one text from: the contrastive stage."""
    translations: list[dict[str, str]]
    """Parallel sentences: language -> text; for translation ranking."""


def evaluation_texts() -> set[str]:
    """Every sentence, question, document and query of the evaluation world."""
    texts: set[str] = set()
    for article in make_articles(ARTICLES, part=0, seed=SEED):
        for language in LANGUAGES:
            texts |= {sentence for passage in _passages(article, language) for sentence in passage}
            texts |= set(_questions(article, language))
    for collection in (make_science(SEED), make_history(SEED)):
        texts |= {row["text"] for row in (*collection.documents, *collection.queries)}
    return texts


def _passages(article: Article, language: str) -> list[list[str]]:
    return [[statement.sentence(language).text for statement in passage] for passage in article.paragraphs]


def _questions(article: Article, language: str) -> list[str]:
    return [
        question.text(article.paragraphs[question.place[0]][question.place[1]], language)
        for question in article.questions
    ]


def _glossaries() -> list[str]:
    """English reference texts that say in everyday words what abstracts and chronicles talk about."""
    science, history = vocabulary()["science"], vocabulary()["history"]
    lines = history["glossary"].strip().split("\n")
    for kind in ("treatment", "outcome", "population"):
        for row in science[kind].strip().split("\n"):
            technical, everyday = row.split(" | ")
            for template in science["glossary"].strip().split("\n"):
                line = template.format(technical=technical, everyday=everyday)
                lines.append(line[0].upper() + line[1:])
    return lines


def pretraining_text() -> PretrainingText:
    """The text of all stages, in a fixed order."""
    held_out = evaluation_texts()
    lines: list[str] = []
    groups: dict[str, list[str]] = {language: [] for language in LANGUAGES}
    translations: list[dict[str, str]] = []
    for world in range(WORLDS):
        for article in make_articles(ARTICLES, part=1, seed=f"pretraining {world}"):
            parallel = {language: _passages(article, language) for language in LANGUAGES}
            for language, passages in parallel.items():
                for passage in passages:
                    lines += [*passage, " ".join(passage)]
                    groups[language] += [*passage, " ".join(passage)]
                lines += _questions(article, language)
            for p, passage in enumerate(parallel["en"]):
                translations += [
                    {lang: parallel[lang][p][s] for lang in LANGUAGES} for s in range(len(passage))
                ]
    collections = [
        row["text"]
        for world in range(COLLECTIONS)
        for collection in (make_science(f"pretraining {world}"), make_history(f"pretraining {world}"))
        for row in collection.documents
    ]
    glossaries = _glossaries() * 4
    lines += collections + glossaries
    lines = [line for line in lines if line not in held_out]
    Random("embedded world: lines").shuffle(lines)
    others = [text for text in collections + glossaries if text not in held_out]
    return PretrainingText(lines, [*groups.values(), others], translations)
