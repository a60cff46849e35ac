"""What every machine of a cluster is asked: does it see the store, does it hold the same data and backbones?

All that are there are asked before the first trial, those that come later by their first trial. What a
machine lacks and can fetch is fetched there and then, once for each cache, under a lock.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hybrid.backbones import backbone_digest, resolve
from hybrid.data.cache import content_hash
from hybrid.data.catalog import DATASETS
from hybrid.data.digests import Kind
from hybrid.data.download import told_of_fetching
from hybrid.data.layouts import LAYOUTS
from hybrid.data.levels import read_level
from hybrid.data.locate import Role, locate
from hybrid.data.pairs import Passage, data_digest
from hybrid.data.source import Source
from hybrid.errors import BadInput
from sweeps.lease import lease_token
from sweeps.plan import Plan, Trial
from sweeps.store import Store
from sweeps.trial import Progress

_STORE_SECONDS = 60.0
_LOST_SECONDS = 30.0  # until Ray has noticed that a machine is lost
_SAY_SECONDS = 30.0  # between lines about machines that are not ready yet
_asked: set[str | None] = set()  # runs that this process has been found fit for


@dataclass(frozen=True)
class Held:
    """A data set that trials read, as the machine that plans holds it."""

    name: str
    kind: Kind
    passage: Passage  # of pairs
    digest: str | None  # of its content; None: it has not been read
    folder: str
    files: tuple[tuple[str, str], ...]  # path in its folder, SHA-256


@dataclass(frozen=True)
class Expected:
    """What trials rely on, wherever they run."""

    store: Store
    sweep: str
    run: str | None  # token of the lease in the store; None: nobody holds it
    data_root: Path | None
    data: tuple[Held, ...]
    backbones: tuple[tuple[str, str], ...]  # name, digest


def expected(plan: Plan | None, trials: Sequence[Trial], store: Store, data_root: Path | None) -> Expected:
    """What these trials of the plan will read, as this machine holds it; without a plan, the store alone."""
    if plan is None:
        return Expected(store, "", None, data_root, (), ())
    wanted: dict[tuple[Kind, str, Passage], None] = {}
    for trial in trials:
        for task in plan.missing_tasks(trial):
            wanted["task", read_level(task).task, "sentence"] = None
        if (config := trial.train) is not None and plan.lacks_training(trial):
            wanted |= dict.fromkeys(("pairs", name, config.passage) for name in config.data)
            if config.stop_on is not None and config.stop_measure == "loss":
                wanted["pairs", config.stop_on, config.passage] = None
            elif config.stop_on is not None:
                wanted["task", config.stop_on, "sentence"] = None
    data = []
    for kind, name, passage in wanted:
        digest = plan.digests.get(f"{kind} {name} {passage}")
        data.append(Held(name, kind, passage, digest, *_files_here(name, kind, data_root)))
    backbones = {name: plan.digests.get(f"backbone {name}") for name in (trial.backbone for trial in trials)}
    known = tuple((name, digest) for name, digest in backbones.items() if digest is not None)
    return Expected(
        store, plan.sweep.name, lease_token(store, plan.sweep.name), data_root, tuple(data), known
    )


def check_nodes(
    nodes: Mapping[str, str], compute: Collection[str], wanted: Expected, say: Callable[[str], None]
) -> list[str]:
    """Ask every node (id -> name), all at once; one sentence for each thing that is wrong, and where.

    Data are asked for on those that `compute`: a head that only schedules reads none. One that is lost
    meanwhile is left out.
    """
    import ray

    folder = f"tmp/probe-{uuid.uuid4().hex}"
    wanted.store.put_bytes(f"{folder}/driver", b"probe")
    mistakes: dict[str, list[str]] = {}
    try:
        sees = {node: _on(node, _sees_store, wanted.store, folder, node) for node in nodes}
        sound = []
        for node, answer in sees.items():
            try:
                mistake = ray.get(answer, timeout=_STORE_SECONDS)
            except ray.exceptions.RayError as error:
                if _is_gone(node):
                    continue
                mistake = _no_answer(error)
            if mistake is None and not wanted.store.exists(f"{folder}/{node}"):
                mistake = f"wrote to another store than this machine's {wanted.store}"
            if mistake is None:
                sound.append(node)
            else:
                mistakes.setdefault(mistake, []).append(nodes[node])
    finally:
        wanted.store.delete(folder)
    waiting = {_on(node, lacking, wanted): node for node in sound if node in compute}
    while waiting:
        done, _ = ray.wait(list(waiting), timeout=_SAY_SECONDS)
        if not done:
            names = ", ".join(nodes[node] for node in waiting.values())
            say(f"waiting for {names}: data are looked for, and fetched where they are missing")
        for answer in done:
            node = waiting.pop(answer)
            try:
                found = ray.get(answer)
            except ray.exceptions.RayError as error:
                found = [] if _is_gone(node) else [_no_answer(error)]
            for mistake in found:
                mistakes.setdefault(mistake, []).append(nodes[node])
    return [f"{_named(where)}: {mistake}" for mistake, where in mistakes.items()]


class Unfit(Exception):  # noqa: N818 - it reads as what it is where it is raised
    """A machine lacks what trials need: its fault and not theirs."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = list(mistakes)
        super().__init__("\n".join(self.mistakes))


def lacking(wanted: Expected, on: Callable[[str], None] = lambda _: None) -> list[str]:
    """What this machine has not, or not the same, a sentence each; data it can fetch it fetches first.

    `on` is called with the name of each data set and backbone before it is looked at.
    """
    mistakes: list[str] = []
    for held in wanted.data:
        on(held.name)
        try:
            mistakes += _other_data(held, wanted.data_root)
        except BadInput as error:
            mistakes += error.mistakes
    for name, digest in wanted.backbones:
        on(name)
        try:
            if backbone_digest(resolve(name), remember=True) != digest:
                mistakes.append(
                    f"backbone {name!r}: its files differ from those planned with; "
                    "give every machine the same"
                )
        except BadInput as error:
            mistakes += error.mistakes
    return list(dict.fromkeys(mistakes))


def refuse_other_machine(wanted: Expected, tell: Callable[[Progress], None] = lambda _: None) -> None:
    """Once a process, by its first trial: Unfit for what `check_nodes` would find on this machine."""
    if wanted.run in _asked:
        return

    def received(url: str, size: int, total: int | None) -> None:
        tell(Progress(f"fetching {PurePosixPath(url).name}", size / total if total else 0.0))

    with told_of_fetching(received):
        mistakes = lacking(wanted, lambda name: tell(Progress(f"checking {name}", 0.0)))
    try:
        if wanted.run is not None and lease_token(wanted.store, wanted.sweep) != wanted.run:
            mistakes.insert(0, _another_store(wanted.store))
    except OSError as error:
        mistakes.insert(0, _no_store(wanted.store, error))
    if mistakes:
        raise Unfit([f"node {socket.gethostname()}: {mistake}" for mistake in mistakes])
    _asked.add(wanted.run)


def _on(node: str, work: Callable[..., Any], *arguments: Any) -> Any:
    """Run `work` on a node; an object reference to what it returns."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0)(work).options(scheduling_strategy=there).remote(*arguments)


def _sees_store(store: Store, folder: str, node: str) -> str | None:
    """Runs on a node: read what the driver wrote, and write something."""
    try:
        if not store.exists(f"{folder}/driver"):
            return _another_store(store)
        store.put_bytes(f"{folder}/{node}", b"probe")
    except OSError as error:
        return _no_store(store, error)
    return None


def _other_data(held: Held, data_root: Path | None) -> list[str]:
    name, set_name = held.name, held.name.partition(":")[0]
    try:
        source = _located(name, held.kind, data_root, supply=True)
    except BadInput:
        if set_name in DATASETS:  # then where to get it has been said
            raise
        root = data_root or os.environ.get("HYBRID_DATA_ROOT") or "given there (--data-root)"
        return [f"{set_name} is not there: copy {held.folder} to that machine, under its data root {root}"]
    if held.files == _hashes(source):
        return []
    with suppress(BadInput):  # it cannot even be read
        digest = data_digest(name, data_root, kind=held.kind, passage=held.passage, cached_only=False)
        if digest == held.digest:  # the same, written otherwise
            return []
    other = ", ".join(sorted({path for path, _ in set(held.files) ^ set(_hashes(source))}))
    return [
        f"{set_name}: what is in {source.folder} is not what the sweep was planned with ({other}); "
        "give every machine the same files, in its data root or its cache"
    ]


def _files_here(name: str, kind: Kind, data_root: Path | None) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Folder and files of a data set on this machine, which has read it."""
    source = _located(name, kind, data_root, supply=False)
    return str(source.folder), _hashes(source)


def _located(name: str, kind: Kind, data_root: Path | None, *, supply: bool) -> Source:
    role: Role = "task" if kind == "task" else "train"
    return locate(name, data_root, role=role, supply=supply, probe=False)


def _hashes(source: Source) -> tuple[tuple[str, str], ...]:
    files = LAYOUTS[source.dataset.layout].files(source)
    return tuple((str(path.relative_to(source.folder)), content_hash(path) or "") for path in sorted(files))


def _another_store(store: Store) -> str:
    return f"the store {store} is another one there; give a shared folder or an address (s3://…)"


def _is_gone(node: str) -> bool:
    """Whether a node that gave no answer was lost, which is nobody's mistake. Ray notices after seconds."""
    import ray

    waited_until = time.monotonic() + _LOST_SECONDS
    while any(one["NodeID"] == node and one["Alive"] for one in ray.nodes()):  # type: ignore[no-untyped-call]
        if time.monotonic() > waited_until:
            return False
        time.sleep(0.5)
    return True


def _no_store(store: Store, error: OSError) -> str:
    return f"the store {store} cannot be used there: {error}"


def _no_answer(error: Exception) -> str:
    return f"cannot run a task: {str(error).strip().splitlines()[-1]}"


def _named(nodes: Sequence[str]) -> str:
    shown = ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")
    return f"node{'s' if len(nodes) > 1 else ''} {shown}"
