"""mMARCO (arXiv 2108.13897): MS MARCO's passages and training queries in 14 languages, with the same ids.

In the layout of its repository, any of the languages:
    data/google/collections/<language>_collection.tsv           id, passage
    data/google/queries/train/<language>_queries.train.tsv      id, query
    qrels.train.tsv                                             MS MARCO's own judgements
"""

from pathlib import Path

import numpy as np

from hybrid.data.arrow import ArrowStrings
from hybrid.data.clusters import connected
from hybrid.data.collection import Collection, read_collection, tsv_texts
from hybrid.data.languages import MMARCO_LANGUAGES
from hybrid.data.qrels import read_qrels
from hybrid.data.records import ParallelPairs
from hybrid.data.source import Source
from hybrid.errors import BadInput


def recognises(folder: Path) -> bool:
    return (folder / "data" / "google" / "collections").is_dir()


def splits(source: Source) -> tuple[str, ...]:  # noqa: ARG001  all of it is for training
    return ()


def files(source: Source) -> list[Path]:
    there = [lang for lang in MMARCO_LANGUAGES if any(path.is_file() for path in _texts(source.folder, lang))]
    return [
        source.folder / "qrels.train.tsv",
        *(p for lang in there or ["en"] for p in _texts(source.folder, lang)),
    ]


def read_pairs(source: Source, passage: str) -> ParallelPairs:  # noqa: ARG001  passages have no parts
    """One pair for every judgement. A pair is left out of a language that lacks its query or its passage."""
    judgements, *texts = files(source)
    qrels, notes = read_qrels(judgements, trec=True)
    positives = [(q, d) for q, gains in qrels.items() for d, gain in gains.items() if gain > 0]
    wanted = sorted({q for q, _ in positives}), sorted({d for _, d in positives})
    questions, passages = {}, {}
    for language in (lang for lang in MMARCO_LANGUAGES if _texts(source.folder, lang)[0] in texts):
        queries, collection = (
            read_collection([path], tsv_texts, kind="tsv") for path in _texts(source.folder, language)[::-1]
        )
        query_rows = _rows(queries, wanted[0], [q for q, _ in positives])
        passage_rows = _rows(collection, wanted[1], [d for _, d in positives])
        notes += [
            f"{part.empty} of {len(part)} {what} in {language} are empty"
            for part, what in ((queries, "queries"), (collection, "passages"))
            if part.empty
        ]
        missing = (query_rows < 0) | (passage_rows < 0)
        if missing.all():
            raise BadInput(
                f"{judgements}: no judgement names a query and a passage of {MMARCO_LANGUAGES[language]}"
            )
        if missing.any():
            notes.append(f"{int(missing.sum())} judgements lack their query or passage in {language}")
        questions[language] = ArrowStrings(queries.table["text"], np.where(missing, -1, query_rows))
        passages[language] = ArrowStrings(collection.table["text"], np.where(missing, -1, passage_rows))
    groups = connected((("query", q), ("passage", d)) for q, d in positives)
    return ParallelPairs(
        name=source.name,
        pair_ids=[f"{q}:{d}" for q, d in positives],
        clusters=[groups["query", q][1] for q, _ in positives],
        questions=questions,
        passages=passages,
        digest="",
        notes=tuple(notes),
    )


def _texts(folder: Path, language: str) -> tuple[Path, Path]:
    """The collection and the training queries of a language."""
    name, google = MMARCO_LANGUAGES[language], folder / "data" / "google"
    return (
        google / "collections" / f"{name}_collection.tsv",
        google / "queries" / "train" / f"{name}_queries.train.tsv",
    )


def _rows(
    collection: Collection, wanted: list[str], ids: list[str]
) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Row of every id, -1 where it is not there."""
    rows = collection.rows_of(wanted)
    return np.array([rows.get(name, -1) for name in ids], dtype=np.int64)
