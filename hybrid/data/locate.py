"""From a name to the folder that holds it: the data root, then the cache, then the official source."""

import difflib
import os
import re
from pathlib import Path
from typing import Literal

from hybrid.data import download
from hybrid.data.cache import build_once, cache_folder
from hybrid.data.catalog import DATASETS, DataSet, Source
from hybrid.data.layouts import LAYOUTS, Layout, recognise
from hybrid.errors import BadInput

Role = Literal["task", "train"]

_NAME = re.compile(r"(?P<set>[\w.+-]+(/[\w.+-]+)*)(:(?P<split>[\w.+-]+))?")


def locate(name: str, data_root: Path | None, *, role: Role, supply: bool = True) -> Source:
    """The data set `name` or its split `set:split`, for measuring or for training.

    It is looked for under `data_root` (by default the folder named by HYBRID_DATA_ROOT), then in the cache.
    With `supply`, a set that is in neither is generated or fetched into the cache; without, nothing is
    written. Raises BadInput for a name or a split that is not known and for files that are not there.
    """
    set_name, split = _parse(name)
    root = _root(data_root)
    row = DATASETS.get(set_name)
    folder = _present(set_name, root)
    if folder is None and row is None:
        raise BadInput(_unknown(set_name, root))
    if folder is None:
        assert row is not None
        folder = _supply(row, root, supply)
    layout_name = row.layout if row else recognise(folder)
    if layout_name is None:
        kinds = "; or ".join(layout.holds for layout in LAYOUTS.values())
        raise BadInput(f"{folder}: no data set of a known layout: a folder should hold {kinds}")
    layout = LAYOUTS[layout_name]
    dataset = row or DataSet(
        set_name,
        layout=layout_name,
        languages=("en",) if layout_name == "beir" else (),
        licence="unknown",
        home=str(folder),
        splits=layout.splits(folder),
        default_split=layout.task_split,
    )
    split = _split(name, split, dataset, layout, folder, role)
    if folder.is_dir():
        absent = [path for path in layout.files(folder, split) if not path.is_file()]
        if absent:
            raise BadInput([f"{path}: is not there ({name} is read from {layout.holds})" for path in absent])
    return Source(name, dataset, split, folder)


def check_names(names: list[str] | tuple[str, ...], *, role: Role, data_root: Path | None) -> list[str]:
    """Every mistake in a list of names, one sentence each. Nothing is read but folder listings."""
    mistakes: list[str] = []
    for name in names:
        try:
            locate(name, data_root, role=role, supply=False)
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


def _present(set_name: str, root: Path | None) -> Path | None:
    places = [root] if root is not None else []
    return next((p / set_name for p in [*places, cache_folder() / "data"] if (p / set_name).is_dir()), None)


def _supply(row: DataSet, root: Path | None, supply: bool) -> Path:
    """The folder in the cache of a set that is nowhere yet, generated or fetched if asked."""
    if row.synthetic:
        from hybrid.embedded.world import WORLD_VERSION, write_world

        world = cache_folder() / "embedded" / WORLD_VERSION
        return (build_once(world, write_world) if supply else world) / row.name
    if not download.reachable(row):
        raise BadInput(_absent(row, root))
    return download.fetch(row) if supply else cache_folder() / "data" / row.name


def _absent(row: DataSet, root: Path | None) -> str:
    """Where a set was looked for, and how to get it."""
    if root is None:
        looked = f"{row.name} is not in the cache, and no data root is given"
    elif root.is_dir():
        looked = f"{row.name} is not under the data root {root}"
    else:
        looked = f"{row.name} is not there: the data root {root} does not exist"
    holds = LAYOUTS[row.layout].holds
    give = f"give --data-root DIR with DIR/{row.name} holding {holds}"
    if not download.urls(row):
        return f"{looked}: {give} (from {row.home})"
    why = "HYBRID_OFFLINE is set" if download.offline() else "its source does not answer"
    return f"{looked}, and {why} ({row.archive or row.home}): {give}"


def _unknown(set_name: str, root: Path | None) -> str:
    near = difflib.get_close_matches(set_name, known_names(root), n=1)
    hint = f": did you mean {near[0]}?" if near else ""
    if root is None:
        place = "and no data root is given"
    elif root.is_dir():
        place = f"and no folder under the data root {root}"
    else:
        place = f"and the data root {root} does not exist"
    return f"{set_name!r} is no known data set {place}{hint or '; known are ' + ', '.join(_families())}"


def _families() -> list[str]:
    return list(dict.fromkeys(name.split("/")[0] for name in DATASETS))


def _split(
    name: str, split: str | None, dataset: DataSet, layout: Layout, folder: Path, role: Role
) -> str | None:
    """The split to read, its default by role; refused if the set does not have it."""
    if role == "task" and layout.read_task is None:
        raise BadInput(f"{name}: {dataset.name} is for training alone")
    if role == "train" and layout.read_pairs is None:
        raise BadInput(f"{name}: {dataset.name} is for evaluation alone")
    splits = layout.splits(folder) if folder.is_dir() else dataset.splits
    if split is None:
        split = layout.train_split if role == "train" else dataset.default_split
        if split is None:
            return None
    if split not in splits:
        near = difflib.get_close_matches(split, splits, n=1)
        hint = f"; did you mean {dataset.name}:{near[0]}?" if near else ""
        raise BadInput(
            f"{name}: {dataset.name} has no split {split!r}; it has {', '.join(splits) or 'none'}{hint}"
        )
    return split
