"""Tasks to measure on, by name."""

from dataclasses import replace
from pathlib import Path

from hybrid.data.cache import content_hash
from hybrid.data.digests import remember_digest, remembered_digest, task_digest
from hybrid.data.document_pools import cut, read_pool
from hybrid.data.download import unverified
from hybrid.data.layouts import LAYOUTS
from hybrid.data.levels import read_level
from hybrid.data.locate import locate
from hybrid.data.records import Task
from hybrid.data.source import Source
from hybrid.errors import BadInput


def load_task(name: str, data_root: Path | None = None, *, pool: Path | None = None) -> Task:
    """The task `name`, for example "scifact", "scifact:train", "xquad-r:test" or "scifact@nano".

    A set without a split in its name is its test split, or the whole set for parallel questions. At level
    `pool` it is cut to the documents that the file `pool` names.
    Raises BadInput for names and files that cannot be used.
    """
    levelled = read_level(name)
    if levelled.level == "pool":
        whole = load_task(levelled.task, data_root)
        found = read_pool(pool) if pool is not None else None
        if found is None:
            raise BadInput(
                f"{name}: a pool is made of the backbones of a sweep, by `sweeps prepare` or `sweeps run`; "
                f"measure {levelled.task} or {levelled.task}@nano here"
            )
        return cut(whole, found, name)
    source = locate(name, data_root, role="task")
    read = LAYOUTS[source.dataset.layout].read_task
    assert read is not None  # locate refuses it
    task = read(source)
    digest = remembered_digest(source, "task", "")
    if digest is None:
        digest = task_digest(task)
        remember_digest(source, "task", "", digest)
    return replace(task, digest=digest, notes=(*unverified(source), *_unexpected(source, task), *task.notes))


def _unexpected(source: Source, task: Task) -> list[str]:
    """What differs from the catalog's record: other bytes than those seen, other counts than published."""
    dataset = source.dataset
    notes = []
    for path in LAYOUTS[dataset.layout].files(source):
        name = str(path.relative_to(source.folder))
        if name in dataset.sha256 and content_hash(path) != dataset.sha256[name]:
            notes.append(f"{name} is not the file that the catalog knows by its SHA-256")
    if source.split == dataset.default_split:
        for what, published, side in (
            ("queries", dataset.queries, task.queries),
            ("documents", dataset.documents, task.documents),
        ):
            count = sum(len(texts) for texts in side.values())
            if published is not None and count != published:
                notes.append(f"{count} {what}, where {published} are published")
    return notes
