"""Parallel articles with questions, in the schema of XQuAD-R.

An article has one subject (a town, a scholar, a museum, ...) and mentions a second of the same kind, so
that every sentence with an answer stands among sentences that share its subject or its wording.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

from hybrid.embedded.phrases import KINDS, Relation, Sentence, relations, render
from hybrid.embedded.words import Names, Word


@dataclass(frozen=True)
class Statement:
    """One fact of an article, with the template variant that states it."""

    relation: Relation
    words: dict[str, Word]
    variant: int

    def sentence(self, language: str) -> Sentence:
        return render(self.relation.statements[language][self.variant], language, self.words)


@dataclass(frozen=True)
class Question:
    """A question on one slot of a statement; `place` is (paragraph, sentence)."""

    id: str
    place: tuple[int, int]
    slot: str
    variant: int

    def text(self, statement: Statement, language: str) -> str:
        template = statement.relation.questions[self.slot][language][self.variant]
        return render(template, language, statement.words).text


@dataclass(frozen=True)
class Article:
    title: str
    paragraphs: list[list[Statement]]
    questions: list[Question]


def _statements(kind: str, count: int, names: Names, rng: Random) -> list[Statement]:
    subject = names.subject(kind)
    chosen = rng.sample(relations(kind), count)
    return [
        Statement(
            relation,
            {"e": subject, **{slot: names.slot(filler) for slot, filler in relation.slots.items()}},
            rng.randrange(len(relation.statements["en"])),
        )
        for relation in chosen
    ]


def make_articles(count: int, *, part: int, seed: str, questions: int = 10) -> list[Article]:
    """`count` articles of all kinds in turn; `part` 0 or 1 says which half of the invented names to use."""
    rng = Random(f"embedded world: articles {seed}")
    names = Names(part, rng)
    articles = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        main = _statements(kind, 7, names, rng)
        other = _statements(kind, 4, names, rng)
        paragraphs = [main[:4], [*main[4:], other[0]], other[1:]]
        rng.shuffle(paragraphs[1])
        slots = [
            ((p, s), slot)
            for p, paragraph in enumerate(paragraphs)
            for s, statement in enumerate(paragraph)
            for slot in statement.relation.slots
        ]
        asked = sorted(rng.sample(slots, questions + number % 2))
        title = main[0].words["e"].text("en").replace('"', "").replace(" ", "_")
        articles.append(
            Article(
                title[0].upper() + title[1:],
                paragraphs,
                [
                    Question(f"{number:03d}-{order:02d}", place, slot, rng.randrange(2))
                    for order, (place, slot) in enumerate(asked)
                ],
            )
        )
    return articles


def as_xquad_r(articles: list[Article], language: str) -> dict[str, Any]:
    """The articles in one language, in XQuAD-R's schema; ids and titles are the same in every language."""
    return {
        "data": [
            {
                "paragraphs": [
                    _paragraph(article, number, statements, language)
                    for number, statements in enumerate(article.paragraphs)
                ],
                "title": article.title,
            }
            for article in articles
        ],
        "version": "1.1",
    }


def _paragraph(article: Article, number: int, statements: list[Statement], language: str) -> dict[str, Any]:
    sentences = [statement.sentence(language) for statement in statements]
    breaks, start = [], 0
    for sentence in sentences:
        breaks.append([start, start + len(sentence.text)])
        start += len(sentence.text) + 1
    questions = []
    for question in article.questions:
        if question.place[0] != number:
            continue
        index = question.place[1]
        begin, end = sentences[index].spans[question.slot]
        answer = {"answer_start": breaks[index][0] + begin, "text": sentences[index].text[begin:end]}
        questions.append(
            {"answers": [answer], "id": question.id, "question": question.text(statements[index], language)}
        )
    return {
        "context": " ".join(sentence.text for sentence in sentences),
        "qas": questions,
        "sentence_breaks": breaks,
        "sentences": [sentence.text for sentence in sentences],
    }
