"""Tasks to measure on, by name."""

from dataclasses import replace
from pathlib import Path

from hybrid.data.digests import remember_digest, remembered_digest, task_digest
from hybrid.data.layouts import LAYOUTS
from hybrid.data.locate import locate
from hybrid.data.records import Task


def load_task(name: str, data_root: Path | None = None) -> Task:
    """The task `name`, for example "scifact", "scifact:train" or "xquad-r:test".

    A set without a split in its name is its test split, or the whole set for parallel questions.
    Raises BadInput for names and files that cannot be used.
    """
    source = locate(name, data_root, role="task")
    read = LAYOUTS[source.dataset.layout].read_task
    assert read is not None  # locate refuses it
    task = read(source)
    digest = remembered_digest(source, "task", "")
    if digest is None:
        digest = task_digest(task)
        remember_digest(source, "task", "", digest)
    return replace(task, digest=digest)
