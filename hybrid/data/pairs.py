"""Question-passage pairs to train on, by name; and the digests of data sets by name."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from hybrid.data.digests import Kind, pairs_digest, remember_digest, remembered_digest
from hybrid.data.download import unverified
from hybrid.data.layouts import LAYOUTS
from hybrid.data.locate import Role, locate
from hybrid.data.records import ParallelPairs
from hybrid.data.tasks import load_task

Passage = Literal["sentence", "paragraph"]


def load_pairs(name: str, data_root: Path | None = None, *, passage: Passage = "sentence") -> ParallelPairs:
    """The pairs of `name`, for example "xquad-r:train".

    A set without a split in its name is its train split, or the whole set for parallel questions. The
    passage is the sentence that answers, or its paragraph, where the set knows both.
    Raises BadInput for names and files that cannot be used.
    """
    source = locate(name, data_root, role="train")
    read = LAYOUTS[source.dataset.layout].read_pairs
    assert read is not None  # locate refuses it
    pairs = read(source, passage)
    digest = remembered_digest(source, "pairs", passage)
    if digest is None:
        digest = pairs_digest(pairs)
        remember_digest(source, "pairs", passage, digest)
    return replace(pairs, digest=digest, notes=(*unverified(source), *pairs.notes))


def data_digest(
    name: str,
    data_root: Path | None = None,
    *,
    kind: Kind,
    passage: Passage = "sentence",
    cached_only: bool,
) -> str | None:
    """Content digest of a task or of training pairs.

    With `cached_only` it takes milliseconds and reads no data: None if the digest was not computed before
    from the files as they are now.
    """
    role: Role = "task" if kind == "task" else "train"
    source = locate(name, data_root, role=role, supply=not cached_only, probe=not cached_only)
    digest = remembered_digest(source, kind, "" if kind == "task" else passage, cached_only=cached_only)
    if digest is not None or cached_only:
        return digest
    return (
        load_task(name, data_root).digest
        if kind == "task"
        else load_pairs(name, data_root, passage=passage).digest
    )
