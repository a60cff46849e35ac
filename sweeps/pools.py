"""Pools of a sweep: chosen once, before any trial, by BM25 and every untouched backbone; shared by all arms.

A pool is kept in this machine's cache and in the store, where other machines take it from, so that all
measure on the same documents. Its content digest is part of the keys of the scores that it gives.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid.config import EvalConfig
from hybrid.data.cache import locked
from hybrid.data.document_pools import Pool, pool_path, write_pool
from hybrid.data.levels import is_pool, read_level
from sweeps.digests import Digests
from sweeps.spec import Sweep
from sweeps.store import Store

if TYPE_CHECKING:
    from hybrid.data.records import Task
    from sweeps.plan import Trial

_TASKS_KEPT = 8  # per process


def prepare_pools(
    sweep: Sweep,
    digests: Digests,
    backbones: Sequence[str],
    data_root: Path | None,
    store: Store | None,
    say: Callable[[str], None],
) -> None:
    """Make every pool of the sweep that neither this machine nor the store has, and put it into both."""
    pools = {name: digests.pool_key(name) for name in sweep.evaluate.tasks if is_pool(name)}
    if store is not None and pools:
        store.check_writable()
    for name, key in pools.items():
        if key is None:  # a digest is unknown, which has been said
            continue
        path = pool_path(key)
        with locked(path):
            if not path.is_file() and (store is None or not _taken(key, store, path)):
                write_pool(path, _build(name, sweep, backbones, data_root, say))
        if store is not None and not store.exists(_stored(key)):
            store.put_bytes(_stored(key), path.read_bytes())


def read_task(trial: "Trial", name: str, store: Store, data_root: Path | None) -> "Task":
    """A task of a trial, at its level; read once in a process."""
    key = trial.pools.get(name)
    path = None
    if key is not None:
        path = pool_path(key)
        with locked(path):
            if not path.is_file():
                _taken(key, store, path)
    return _read_task(name, data_root, path)


@lru_cache(maxsize=_TASKS_KEPT)
def _read_task(name: str, data_root: Path | None, pool: Path | None) -> "Task":
    from hybrid.data.tasks import load_task

    return load_task(name, data_root, pool=pool)


def _build(
    name: str, sweep: Sweep, backbones: Sequence[str], data_root: Path | None, say: Callable[[str], None]
) -> Pool:
    import torch

    from hybrid.data.tasks import load_task
    from hybrid.document_pool import build_pool
    from hybrid.encoder import Encoder, hardware_precision

    level = read_level(name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    lengths = sweep.evaluate.lengths
    config = EvalConfig(
        max_query_length=lengths.query,
        max_document_length=lengths.document,
        precision=hardware_precision(device),  # which documents are hard is not a score
    )
    load = partial(Encoder.load, device=device, trust_remote_code=sweep.trust_remote_code)
    encoders = {backbone: partial(load, backbone) for backbone in backbones}
    task = load_task(level.task, data_root)
    return build_pool(task, level.depth or 0, encoders, config, name=name, say=say)


def _taken(key: str, store: Store, path: Path) -> bool:
    """Copy a pool from the store to `path`, if it is there."""
    if not store.exists(_stored(key)):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_name(f".{path.name}.taken")
    partial_path.write_bytes(store.get_bytes(_stored(key)))
    partial_path.replace(path)
    return True


def _stored(key: str) -> str:
    return f"pools/{key}.parquet"
