"""From a name to the folder that holds it: the data root, then the cache, then the official source."""

import difflib
import hashlib
import os
import re
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from hybrid.data import download
from hybrid.data.cache import build_once, cache_folder
from hybrid.data.catalog import DATASETS
from hybrid.data.layouts import LAYOUTS, recognise
from hybrid.data.levels import read_level
from hybrid.data.source import DataSet, Source
from hybrid.errors import BadInput

Role = Literal["task", "train"]

_NAME = re.compile(r"(?P<set>[\w.+-]+(/[\w.+-]+)*)(:(?P<split>[\w.+-]+))?")


def locate(
    name: str, data_root: Path | None, *, role: Role, supply: bool = True, probe: bool = True
) -> Source:
    """The data set `name` or its split `set:split`, for measuring or for training; a task's also at a level.

    It is looked for under `data_root` (by default the folder named by HYBRID_DATA_ROOT), then in the cache.
    With `supply`, a set that is in neither is generated or fetched into the cache; without, nothing is
    written. Without `probe`, too, no server is asked whether it could send what is not here. Raises BadInput
    for a name or a split that is not known and for files that are not there.
    """
    levelled = read_level(name)
    if role == "train" and "@" in name:
        raise BadInput(f"{name}: a level is for measuring; train on {name.partition('@')[0]}")
    set_name, split = _parse(levelled.task)
    root = _root(data_root)
    row = DATASETS.get(set_name)
    place = row.folder if row else set_name
    folder = next((base / place for base in _bases(root) if (base / place).is_dir()), None)
    if folder is None and row is None:
        raise BadInput(_unknown(set_name, root))
    source = Source(
        name, row or _described(set_name, folder), None, folder or cache_folder() / "data" / place
    )
    source = replace(source, split=_split(source, split, role))
    if levelled.level == "pool" and not LAYOUTS[source.dataset.layout].can_be_pooled:
        raise BadInput(f"{name}: a pool is of one large collection; measure {levelled.task} in full")
    layout = LAYOUTS[source.dataset.layout]
    files = layout.files
    absent = [path for path in files(source) if not path.is_file()]
    from_root = folder is not None and root is not None and folder.is_relative_to(root)
    if (
        not from_root and row is not None and not layout.may_be_part
    ):  # fetching may have been cut off after some of its files
        absent += [path for path in (source.folder / name for name in row.files) if not path.is_file()]
    if not absent:
        return source
    if from_root:
        holds = layout.holds
        raise BadInput([f"{path}: is not there ({name} is read from {holds})" for path in absent])
    source = replace(source, folder=_supply(source.dataset, root, supply, probe))
    if supply and not all(path.is_file() for path in files(source)):
        raise BadInput(f"{name}: what was fetched into {source.folder} lacks some of its files")
    return source


def check_names(
    names: list[str] | tuple[str, ...], *, role: Role, data_root: Path | None, probe: bool = True
) -> list[str]:
    """Every mistake in a list of names, one sentence each. Nothing is read but folder listings."""
    mistakes: list[str] = []
    for name in names:
        try:
            locate(name, data_root, role=role, supply=False, probe=probe)
        except BadInput as error:
            mistakes += error.mistakes
    return list(dict.fromkeys(mistakes))


def known_names(data_root: Path | None) -> list[str]:
    """Names of the catalog and of the folders under the data root that are data sets."""
    root = _root(data_root)
    found = set(DATASETS)
    if root is not None and root.is_dir():
        found |= {path.name for path in root.iterdir() if path.is_dir() and recognise(path)}
    return sorted(found)


def _parse(name: str) -> tuple[str, str | None]:
    match = _NAME.fullmatch(name)
    if match is None or any(part.strip(".") == "" for part in match["set"].split("/")):
        raise BadInput(
            f"{name!r} is no name of a data set: names are like scifact, scifact:train or cqadupstack/gis, "
            "folders under the data root"
        )
    return match["set"], match["split"]


def _root(data_root: Path | None) -> Path | None:
    named = os.environ.get("HYBRID_DATA_ROOT")
    root = data_root or (Path(named) if named else None)
    return None if root is None else root.expanduser().absolute()


def _bases(root: Path | None) -> list[Path]:
    """Folders in which folders of data sets are looked for."""
    return [*([root] if root is not None else []), cache_folder() / "data"]


def _described(set_name: str, folder: Path | None) -> DataSet:
    """A record for a folder that is not in the catalog."""
    assert folder is not None  # without a record, a name is known by its folder alone
    layout = recognise(folder)
    if layout is None:
        kinds = "; or ".join(layout.holds for layout in LAYOUTS.values())
        raise BadInput(f"{folder}: no data set of a known layout: a folder should hold {kinds}")
    return DataSet(
        set_name,
        layout=layout,
        languages=("en",) if layout in ("beir", "nano-beir") else (),
        licence="unknown",
        home=str(folder),
        splits=(),
        default_split=LAYOUTS[layout].task_split,
    )


def _supply(row: DataSet, root: Path | None, supply: bool, probe: bool) -> Path:
    """The folder in the cache of a set that is nowhere yet, generated or fetched if asked."""
    if row.synthetic:
        from hybrid.embedded.world import write_world

        world = cache_folder() / "embedded" / _world_key()
        return (build_once(world, write_world) if supply else world) / row.name
    if (supply or probe) and not download.reachable(row):
        raise BadInput(_absent(row, root))
    folder = cache_folder() / "data" / row.folder
    if supply and row.gigabytes is not None:
        part = " (a folder there with some of its languages is read as it is)"
        sys.stderr.write(
            f"{row.name}: {row.gigabytes} GB are fetched from {row.home} into {folder}"
            f"{part if LAYOUTS[row.layout].may_be_part else ''}\n"
        )
    return download.fetch(row) if supply else folder


@lru_cache(maxsize=1)
def _world_key() -> str:
    """Version of the embedded world: of its own, and of the files that generate it."""
    from hybrid.embedded import world

    folder = Path(world.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for kind in ("*.py", "*.yaml") for path in folder.rglob(kind)):
        digest.update(path.read_bytes())
    return f"{world.WORLD_VERSION}-{digest.hexdigest()[:12]}"


def _absent(row: DataSet, root: Path | None) -> str:
    """Where a set was looked for, and how to get it."""
    if root is None:
        looked = f"{row.name} is not in the cache, and no data root is given"
    elif root.is_dir():
        looked = f"{row.name} is not under the data root {root}"
    else:
        looked = f"{row.name} is not there: the data root {root} does not exist"
    holds = LAYOUTS[row.layout].holds
    give = f"give --data-root DIR with DIR/{row.folder} holding {holds}"
    if not download.urls(row):
        return f"{looked}: {give} (from {row.home})"
    why = "HYBRID_OFFLINE is set" if download.offline() else "its source does not answer"
    return f"{looked}, and {why} ({row.archive or row.home}): {give}"


def _unknown(set_name: str, root: Path | None) -> str:
    near = difflib.get_close_matches(set_name, known_names(root), n=1)
    hint = f": did you mean {near[0]}?" if near else ""
    if root is None:
        place = "and no data root is given (--data-root DIR, for folders of your own)"
    elif root.is_dir():
        place = f"and no folder under the data root {root}"
    else:
        place = f"and the data root {root} does not exist"
    return f"{set_name!r} is no known data set {place}{hint or '; known are ' + ', '.join(_families())}"


def _families() -> list[str]:
    return list(dict.fromkeys(row.folder.split("/")[0] for row in DATASETS.values()))


def _split(source: Source, split: str | None, role: Role) -> str | None:
    """The split to read, its default by role; refused if the set does not have it."""
    name, dataset, layout = source.name, source.dataset, LAYOUTS[source.dataset.layout]
    if role == "task" and layout.read_task is None:
        raise BadInput(f"{name} is for training alone: it cannot be measured on")
    if role == "train" and layout.read_pairs is None:
        raise BadInput(f"{name} is for evaluation alone: it cannot be trained on")
    if split is None:
        split = layout.train_split if role == "train" else dataset.default_split
        if split is None:
            return None
    splits = layout.splits(source) if source.folder.is_dir() else dataset.splits
    if split not in splits:
        near = difflib.get_close_matches(split, splits, n=1)
        hint = f"; did you mean {dataset.name}:{near[0]}?" if near else ""
        raise BadInput(
            f"{name}: {dataset.name} has no split {split!r}; it has {', '.join(splits) or 'no splits'}{hint}"
        )
    return split
