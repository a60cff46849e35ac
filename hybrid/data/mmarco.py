"""mMARCO (arXiv 2108.13897): MS MARCO's passages and training queries in 14 languages, with the same ids.

In the layout of its repository, any of the languages:
    data/google/collections/<language>_collection.tsv           id, passage
    data/google/queries/train/<language>_queries.train.tsv      id, query
    data/triples.train.ids.small.tsv                            ids of a query, a relevant passage, a negative
    qrels.train.tsv                                             MS MARCO's own judgements
One of the last two may be absent. The judgements say what is relevant; without them the triples do. The
triples give each query hard negatives.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hybrid.data.arrow import ArrowStrings
from hybrid.data.clusters import connected
from hybrid.data.collection import Collection, read_collection, tsv_texts
from hybrid.data.hard_negatives import HardNegatives
from hybrid.data.languages import MMARCO_LANGUAGES
from hybrid.data.mmarco_triples import read_triples
from hybrid.data.qrels import read_qrels
from hybrid.data.records import ParallelPairs
from hybrid.data.source import Source
from hybrid.errors import BadInput

Ints = npt.NDArray[np.int64]

PUBLISHED = 8_841_823
"""Passages of MS MARCO, and so of every language."""

_JUDGEMENTS, _TRIPLES = Path("qrels.train.tsv"), Path("data") / "triples.train.ids.small.tsv"


def recognises(folder: Path) -> bool:
    return (folder / "data" / "google" / "collections").is_dir()


def splits(source: Source) -> tuple[str, ...]:  # noqa: ARG001  all of it is for training
    return ()


def files(source: Source) -> list[Path]:
    known = [source.folder / name for name in (_JUDGEMENTS, _TRIPLES) if (source.folder / name).is_file()]
    there = [lang for lang in MMARCO_LANGUAGES if any(path.is_file() for path in _texts(source.folder, lang))]
    return [
        *(known or [source.folder / _TRIPLES]),
        *(p for lang in there or ["en"] for p in _texts(source.folder, lang)),
    ]


def read_pairs(source: Source, passage: str) -> ParallelPairs:  # noqa: ARG001  passages have no parts
    """One pair for every relevant passage, left out of a language that lacks its query or its passage."""
    judgements, *texts = files(source)
    known = source.folder / _TRIPLES
    triples = read_triples(known) if known.is_file() else None
    notes: list[str] = []
    if judgements.name == _JUDGEMENTS.name:
        qrels, notes = read_qrels(judgements, trec=True)
        positives = [(q, d) for q, gains in qrels.items() for d, gain in gains.items() if gain > 0]
    else:
        assert triples is not None  # locate refuses a folder with neither
        columns = (triples[0][name].cast(pa.string()).to_pylist() for name in ("query", "passage"))
        positives = list(zip(*columns, strict=True))
    notes += _strangers(source.folder)
    wanted = sorted({q for q, _ in positives}), sorted({d for _, d in positives})
    questions, passages, collections = {}, {}, {}
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
        if len(collection) != PUBLISHED:
            notes.append(f"{len(collection)} passages in {language}, where {PUBLISHED} are published")
        missing = (query_rows < 0) | (passage_rows < 0)
        if missing.all():
            raise BadInput(
                f"{judgements}: no judgement names a query and a passage of {MMARCO_LANGUAGES[language]}"
            )
        if missing.any():
            notes.append(f"{int(missing.sum())} judgements lack their query or passage in {language}")
        questions[language] = ArrowStrings(queries.table["text"], np.where(missing, -1, query_rows))
        passages[language] = ArrowStrings(collection.table["text"], np.where(missing, -1, passage_rows))
        collections[language] = collection
    groups = connected((("query", q), ("passage", d)) for q, d in positives)
    negatives: Mapping[str, HardNegatives] = {}
    if triples is not None:
        negatives, told = _negatives(triples[1], positives, collections)
        notes += told
    return ParallelPairs(
        name=source.name,
        pair_ids=[f"{q}:{d}" for q, d in positives],
        clusters=[groups["query", q][1] for q, _ in positives],
        questions=questions,
        passages=passages,
        digest="",
        notes=tuple(notes),
        negatives=negatives,
    )


def _negatives(
    triples: pa.Table, positives: Sequence[tuple[str, str]], collections: Mapping[str, Collection]
) -> tuple[dict[str, HardNegatives], list[str]]:
    """The hard negatives of every pair, the same passages in every language; and notes.

    Left out are passages that are relevant to the query, and those that one of the languages lacks.
    """
    queries = pa.array(sorted({q for q, _ in positives}))
    pair_query = _places([q for q, _ in positives], queries)  # (pairs,)
    query = _places(triples["query"].cast(pa.string()), queries)  # (triples,), -1: has no pair
    passage_ids = pc.unique(triples["passage"]).cast(pa.string())
    passage = _places(triples["passage"].cast(pa.string()), passage_ids)  # (triples,)
    relevant = _places([d for _, d in positives], passage_ids)  # (pairs,), -1: is nobody's negative
    width = len(passage_ids)
    known = np.isin(query * width + passage, (pair_query * width + relevant)[relevant >= 0])
    rows_in = {language: one.places_of(passage_ids) for language, one in collections.items()}
    everywhere = np.all([rows >= 0 for rows in rows_in.values()], axis=0)  # (passages,)
    asked = query >= 0
    lacking = asked & ~everywhere[passage]
    kept = np.flatnonzero(asked & ~known & ~lacking)
    kept = kept[np.argsort(query[kept], kind="stable")]
    counts = np.bincount(query[kept], minlength=len(queries))  # (queries,)
    first = np.cumsum(counts) - counts
    of_pair = counts[pair_query]  # (pairs,) a query's negatives are those of each of its pairs
    starts = np.concatenate([[0], np.cumsum(of_pair)])
    flat = np.arange(starts[-1]) + np.repeat(first[pair_query] - starts[:-1], of_pair)
    used, rows = np.unique(passage[kept[flat]], return_inverse=True)
    notes = [
        f"{count} negatives of {_TRIPLES.name} {why}: left out"
        for count, why in (
            (int((~asked).sum()), "are of queries without a relevant passage"),
            (int((asked & known).sum()), "are relevant to their query"),
            (int(lacking.sum()), "are not there in every language"),
        )
        if count
    ]
    if not len(used):
        return {}, notes
    return {
        language: HardNegatives(
            ArrowStrings(one.table["text"], rows_in[language][used]), starts, rows.astype(np.int64)
        )
        for language, one in collections.items()
    }, notes


def _places(ids: "Sequence[str] | pa.ChunkedArray", among: pa.Array) -> Ints:
    """Of every id its place among others, -1 where it is not there."""
    found = pc.index_in(
        ids if isinstance(ids, pa.ChunkedArray) else pa.array(ids, pa.string()), value_set=among
    )
    places: Ints = pc.fill_null(found, -1).to_numpy().astype(np.int64)
    return places


def _strangers(folder: Path) -> list[str]:
    """A note on collections in languages that the set does not have."""
    known = {f"{name}_collection.tsv" for name in MMARCO_LANGUAGES.values()}
    there = sorted(
        path.name for path in (folder / "data" / "google" / "collections").glob("*_collection.tsv")
    )
    return [f"{name} is in no language of mMARCO: not read" for name in there if name not in known]


def _texts(folder: Path, language: str) -> tuple[Path, Path]:
    """The collection and the training queries of a language."""
    name, google = MMARCO_LANGUAGES[language], folder / "data" / "google"
    return (
        google / "collections" / f"{name}_collection.tsv",
        google / "queries" / "train" / f"{name}_queries.train.tsv",
    )


def _rows(collection: Collection, wanted: list[str], ids: list[str]) -> Ints:
    """Row of every id, -1 where it is not there."""
    rows = collection.rows_of(wanted)
    return np.array([rows.get(name, -1) for name in ids], dtype=np.int64)
