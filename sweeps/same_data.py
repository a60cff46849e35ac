"""What a trial reads has to be what its keys are made of: another machine may hold other files of that name,
and files change between plan and trial. Scores under a key that is not theirs could never be told apart."""

import socket
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from hybrid.backbones import backbone_digest, resolve
from hybrid.config import score_key
from hybrid.errors import BadInput
from sweeps.plan import Trial

if TYPE_CHECKING:
    from hybrid.data.records import ParallelPairs, Task


def refuse_other_training(trial: Trial, pairs: Sequence["ParallelPairs"]) -> None:
    """Raises BadInput for each training set, and the backbone, unlike those that were planned with."""
    assert trial.train is not None
    read: Mapping[str, str] = dict(zip(trial.train.data, (one.digest for one in pairs), strict=True))
    read = {**read, trial.backbone: _backbone_digest(trial.backbone)}
    other = [name for name, digest in read.items() if trial.digests.get(name, digest) != digest]
    if other:
        raise BadInput(map(_unlike, other))


def refuse_other_task(trial: Trial, name: str, task: "Task") -> None:
    """Raises BadInput if a task as read is not the one that its score key names."""
    if score_key(trial.evaluate, task=name, task_digest=task.digest) != trial.scores[name]:
        raise BadInput(_unlike(name))


@lru_cache(maxsize=8)
def _backbone_digest(name: str) -> str:
    return backbone_digest(resolve(name))


def _unlike(name: str) -> str:
    return (
        f"{name}: what {socket.gethostname()} read is not what the sweep was planned with; "
        "give every machine the same files, or run again if they were changed"
    )
