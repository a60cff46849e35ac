"""The layouts that data sets come in: one row and one reader each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hybrid.data import (
    beir,
    mkqa,
    mmarco,
    nano_beir,
    pair_files,
    parallel_qa,
    squad_translate,
    wikipedia_trec,
)
from hybrid.data.records import ParallelPairs, Task
from hybrid.data.source import Source


@dataclass(frozen=True)
class Layout:
    """How a folder is recognised and read. Recognising and listing read no contents."""

    recognises: Callable[[Path], bool]
    splits: Callable[[Source], tuple[str, ...]]
    files: Callable[[Source], list[Path]]  # what the split is read from
    read_task: Callable[[Source], Task] | None  # without its digest; None: for training alone
    read_pairs: Callable[[Source, str], ParallelPairs] | None  # given "sentence" or "paragraph"
    holds: str  # what a folder must hold, for messages
    task_split: str | None = None  # where neither name nor catalog says; None: the whole set
    train_split: str | None = None
    can_be_pooled: bool = False  # one collection whose unjudged documents may be many
    may_be_part: bool = False  # `files` alone says what must be there, in the cache, too, not the catalog


LAYOUTS: dict[str, Layout] = {
    "beir": Layout(
        beir.recognises,
        beir.splits,
        beir.files,
        beir.read_task,
        beir.read_pairs,
        holds="corpus.jsonl, queries.jsonl and qrels/<split>.tsv",
        task_split="test",
        train_split="train",
        can_be_pooled=True,
    ),
    "nano-beir": Layout(
        nano_beir.recognises,
        nano_beir.splits,
        nano_beir.files,
        nano_beir.read_task,
        None,
        holds="corpus, queries and qrels, a folder of Parquet files each",
        task_split="train",
    ),
    "squad-translate": Layout(
        squad_translate.recognises,
        squad_translate.splits,
        squad_translate.files,
        None,
        squad_translate.read_pairs,
        holds="train-v1.1.json and squad.translate.train.en-<lang>.json",
    ),
    "parallel-qa": Layout(
        parallel_qa.recognises,
        parallel_qa.splits,
        parallel_qa.files,
        parallel_qa.read_task,
        parallel_qa.read_pairs,
        holds="one <lang>.json a language, in XQuAD-R's schema",
    ),
    "miracl": Layout(
        wikipedia_trec.recognises,
        wikipedia_trec.splits,
        wikipedia_trec.files,
        wikipedia_trec.read_task,
        wikipedia_trec.read_pairs,
        holds="miracl-v1.0-<lang> and miracl-corpus-v1.0-<lang>",
        train_split="train",
        can_be_pooled=True,
    ),
    "mrtydi": Layout(
        wikipedia_trec.recognises,
        wikipedia_trec.splits,
        wikipedia_trec.files,
        wikipedia_trec.read_task,
        wikipedia_trec.read_pairs,
        holds="mrtydi-v1.1-<language>",
        train_split="train",
        can_be_pooled=True,
    ),
    "mmarco": Layout(
        mmarco.recognises,
        mmarco.splits,
        mmarco.files,
        None,
        mmarco.read_pairs,
        holds="data/google/{collections,queries/train}, and data/triples.train.ids.small.tsv or "
        "qrels.train.tsv",
        may_be_part=True,
    ),
    "mkqa": Layout(
        mkqa.recognises,
        mkqa.splits,
        mkqa.files,
        None,
        mkqa.read_pairs,
        holds="mkqa.jsonl.gz or mkqa.jsonl",
    ),
    "pairs": Layout(
        pair_files.recognises,
        pair_files.splits,
        pair_files.files,
        None,
        pair_files.read_pairs,
        holds="pairs.jsonl or pairs.parquet",
    ),
}


def recognise(folder: Path) -> str | None:
    """The name of the layout that a folder is in; None if it is in no known one."""
    return next((name for name, layout in LAYOUTS.items() if layout.recognises(folder)), None)
