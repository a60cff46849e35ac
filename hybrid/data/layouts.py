"""The layouts that data sets come in: one row and one reader each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hybrid.data import beir, parallel_qa
from hybrid.data.catalog import Source
from hybrid.data.records import ParallelPairs, Task


@dataclass(frozen=True)
class Layout:
    """How a folder is recognised and read. Recognising and listing read no contents."""

    recognises: Callable[[Path], bool]
    splits: Callable[[Path], tuple[str, ...]]
    files: Callable[[Path, str | None], list[Path]]  # what a split is read from
    read_task: Callable[[Source], Task] | None  # without its digest; None: for training alone
    read_pairs: Callable[[Source, str], ParallelPairs] | None  # given "sentence" or "paragraph"
    task_split: str | None  # where the name has no split and the catalog has no record; None: the whole set
    train_split: str | None
    holds: str  # what a folder must hold, for messages


LAYOUTS: dict[str, Layout] = {
    "beir": Layout(
        beir.recognises,
        beir.splits,
        beir.files,
        beir.read_task,
        beir.read_pairs,
        task_split="test",
        train_split="train",
        holds="corpus.jsonl, queries.jsonl and qrels/<split>.tsv",
    ),
    "parallel-qa": Layout(
        parallel_qa.recognises,
        parallel_qa.splits,
        parallel_qa.files,
        parallel_qa.read_task,
        parallel_qa.read_pairs,
        task_split=None,
        train_split=None,
        holds="one <lang>.json a language, in XQuAD-R's schema",
    ),
}


def recognise(folder: Path) -> str | None:
    """The name of the layout that a folder is in; None if it is in no known one."""
    return next((name for name, layout in LAYOUTS.items() if layout.recognises(folder)), None)
