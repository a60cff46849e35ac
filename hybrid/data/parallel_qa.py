"""XQuAD-R's layout: one <lang>.json a language, SQuAD's schema with sentence breaks.

Questions with one id are translations of each other. Candidates are the sentences of all paragraphs; the
relevant one is the sentence that holds the first character of the answer (an answer may run on into the
next sentence). Paragraphs that share a question id are one paragraph in several languages, numbered in
the order in which they are met; documents are `lang:paragraph:sentence`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hybrid.data.arrow import ArrowStrings
from hybrid.data.article_splits import SPLITS, split_of_titles
from hybrid.data.clusters import connected
from hybrid.data.languages import is_language
from hybrid.data.records import ParallelPairs, Task, Texts
from hybrid.data.source import Source
from hybrid.data.squad_json import ParsedFile, parse_file
from hybrid.errors import BadInput

Rows = npt.NDArray[np.int64]


def recognises(folder: Path) -> bool:
    return any(is_language(path.stem) for path in folder.glob("*.json"))


def splits(source: Source) -> tuple[str, ...]:  # noqa: ARG001  any set can be split by article
    return SPLITS


def files(source: Source) -> list[Path]:
    return sorted(source.folder.glob("*.json")) or [source.folder / "en.json"]


@dataclass(frozen=True)
class Language:
    """One language's file, cut to the articles of a split, its paragraphs numbered as in all languages."""

    file: ParsedFile
    paragraph_of: Mapping[int, int]  # paragraph in the file -> its number in all languages
    sentences: Rows  # rows of file.sentences
    sentence_ids: list[str]  # aligned with `sentences`
    questions: Rows  # rows of file.questions
    relevant: list[str]  # document id, aligned with `questions`
    clusters: list[str]  # paragraph number, aligned with `questions`
    titles: list[str]  # of the article, aligned with `questions`

    @property
    def question_ids(self) -> list[str]:
        return list(ArrowStrings(self.file.questions["id"], self.questions))


def read_task(source: Source) -> Task:
    """Every question of the split in every language, over all sentences of the split's paragraphs."""
    languages, notes = _languages(_parse_all(files(source)), source)
    relevant: dict[str, dict[str, int]] = {}
    for part in languages.values():
        for question, document in zip(part.question_ids, part.relevant, strict=True):
            relevant.setdefault(question, {})[document] = 1
    queries, documents = {}, {}
    for language, part in languages.items():
        texts = ArrowStrings(part.file.questions["question"], part.questions)
        queries[language] = Texts(part.question_ids, texts, part.clusters, part.titles)
        documents[language] = Texts(
            part.sentence_ids, ArrowStrings(part.file.sentences["text"], part.sentences)
        )
    return Task(
        name=source.name,
        settings=("mono", "cross", "multi") if len(languages) > 1 else ("mono",),
        queries=queries,
        documents=documents,
        qrels={lang: {question: relevant[question] for question in queries[lang].ids} for lang in languages},
        digest="",
        synthetic=source.dataset.synthetic,
        notes=notes,
    )


def read_pairs(source: Source, passage: str) -> ParallelPairs:
    """One pair for every question id: the question and its gold sentence, or paragraph, in each language."""
    return pairs_of(_parse_all(files(source)), source, passage)


def pairs_of(parsed: Mapping[str, ParsedFile], source: Source, passage: str) -> ParallelPairs:
    """The pairs of the split `source.split` of files in several languages."""
    languages, notes = _languages(parsed, source)
    place: dict[str, int] = {}
    clusters: list[str] = []
    articles: list[str] = []
    for part in languages.values():
        for question, cluster, title in zip(part.question_ids, part.clusters, part.titles, strict=True):
            if place.setdefault(question, len(place)) == len(clusters):
                clusters.append(cluster)
                articles.append(title)
    if "en" in languages:  # an article's title is the English one where there is one
        for question, title in zip(languages["en"].question_ids, languages["en"].titles, strict=True):
            articles[place[question]] = title
    questions, passages = {}, {}
    for language, part in languages.items():
        rows = np.full(len(place), -1, dtype=np.int64)
        rows[[place[question] for question in part.question_ids]] = part.questions
        column, passage_rows = part.file.passages(passage)
        questions[language] = ArrowStrings(part.file.questions["question"], rows)
        passages[language] = ArrowStrings(column, np.where(rows < 0, -1, passage_rows[rows]))
    return ParallelPairs(
        name=source.name,
        pair_ids=list(place),
        clusters=clusters,
        questions=questions,
        passages=passages,
        digest="",
        synthetic=source.dataset.synthetic,
        notes=notes,
        articles=articles,
    )


def _languages(
    parsed: Mapping[str, ParsedFile], source: Source
) -> tuple[dict[str, Language], tuple[str, ...]]:
    paragraphs = _number_paragraphs(parsed)
    wanted = _paragraphs_of_split(source, parsed, paragraphs)
    languages = {
        language: _cut(language, file, paragraphs[language], wanted) for language, file in parsed.items()
    }
    if not any(len(part.questions) for part in languages.values()):
        raise BadInput(f"{source.folder}: the split {source.split!r} holds no question")
    met = list(dict.fromkeys(what for file in parsed.values() for what in file.oddities))
    notes = [
        f"{what}, in the whole files: "
        + ", ".join(f"{lang} {file.oddities[what]}" for lang, file in parsed.items() if what in file.oddities)
        for what in met
    ]
    missing = [lang for lang in source.dataset.languages if lang not in parsed]
    if missing:
        notes.append(f"{source.dataset.name} is there without {', '.join(missing)}")
    return languages, tuple(notes)


def _parse_all(paths: list[Path]) -> dict[str, ParsedFile]:
    mistakes: list[str] = []
    parsed: dict[str, ParsedFile] = {}
    for path in paths:
        if not is_language(path.stem):
            mistakes.append(
                f"{path}: {path.stem!r} is no language code of ISO 639-1: rename the file or take it away"
            )
            continue
        try:
            parsed[path.stem] = parse_file(path)
        except BadInput as error:
            mistakes += error.mistakes
    if mistakes:
        raise BadInput(mistakes)
    return parsed


def _number_paragraphs(parsed: Mapping[str, ParsedFile]) -> dict[str, dict[int, int]]:
    """Language -> paragraph in its file -> number shared by all paragraphs that a question id connects."""
    edges: list[tuple[tuple[str, int | str], tuple[str, int | str]]] = []
    for language, file in parsed.items():
        edges += [((language, p), (language, p)) for p in range(len(file.paragraphs))]
    for language, file in parsed.items():
        columns = file.questions["id"].to_pylist(), file.questions["paragraph"].to_pylist()
        edges += [((language, p), ("", question)) for question, p in zip(*columns, strict=True)]
    groups = connected(edges)
    numbers: dict[object, int] = {}
    return {
        language: {
            p: numbers.setdefault(groups[language, p], len(numbers)) for p in range(len(file.paragraphs))
        }
        for language, file in parsed.items()
    }


def _paragraphs_of_split(
    source: Source, parsed: Mapping[str, ParsedFile], paragraphs: Mapping[str, Mapping[int, int]]
) -> set[int]:
    """Numbers of the paragraphs of the split. Articles that share a paragraph are one article, named by the
    English title where there is one."""
    everything = {number for numbers in paragraphs.values() for number in numbers.values()}
    if source.split is None:
        return everything
    edges, titles = [], {}
    for language in sorted(parsed, key=lambda language: (language != "en", language)):
        columns = (parsed[language].paragraphs[name].to_pylist() for name in ("article", "title"))
        for paragraph, (article, title) in enumerate(zip(*columns, strict=True)):
            edges.append((("article", language, article), ("paragraph", "", paragraphs[language][paragraph])))
            titles["article", language, article] = title
    groups = connected(edges)
    splits = split_of_titles(source.dataset.name, [titles[first] for first in set(groups.values())])
    return {
        number for number in everything if splits[titles[groups["paragraph", "", number]]] == source.split
    }


def _cut(language: str, file: ParsedFile, paragraph_of: Mapping[int, int], wanted: set[int]) -> Language:
    numbers = np.array([paragraph_of[p] for p in range(len(file.paragraphs))], dtype=np.int64)
    inside = np.isin(numbers, np.fromiter(wanted, dtype=np.int64, count=len(wanted)))
    sentence_numbers = numbers[_ints(file.sentences["paragraph"])]
    ids, used = [], dict[int, int]()
    for number in sentence_numbers.tolist():
        index = used.get(number, 0)
        used[number] = index + 1
        ids.append(f"{language}:{number}:{index}")
    question_paragraphs = _ints(file.questions["paragraph"])
    sentences = np.flatnonzero(inside[_ints(file.sentences["paragraph"])])
    questions = np.flatnonzero(inside[question_paragraphs])
    gold = _ints(file.questions["sentence"])
    titles = file.paragraphs["title"].to_pylist()
    return Language(
        file,
        paragraph_of,
        sentences=sentences,
        sentence_ids=[ids[row] for row in sentences],
        questions=questions,
        relevant=[ids[gold[row]] for row in questions],
        clusters=[str(numbers[question_paragraphs[row]]) for row in questions],
        titles=[titles[question_paragraphs[row]] for row in questions],
    )


def _ints(column: pa.ChunkedArray) -> Rows:
    return np.asarray(column.to_numpy(), dtype=np.int64)
