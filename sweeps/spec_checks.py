"""What the names in a sweep file mean: are they known, are the files there, do the sets keep apart?

Works on the values as written, so that a mistake elsewhere in the file hides none of these.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath
from typing import Any

from hybrid.backbones import added_pooling, resolve
from hybrid.data.catalog import DATASETS
from hybrid.data.levels import queries_of
from hybrid.data.locate import Role, check_names, locate
from hybrid.errors import BadInput
from hybrid.scores import LOWER_IS_BETTER, MEASURES, NEITHER_IS_BETTER
from sweeps.seen import knows_training, maybe_seen_by, origins, seen_by
from sweeps.spec_axes import default
from sweeps.spec_fields import did_you_mean
from sweeps.spec_source import Path, Source

Written = tuple[Path, str]

SELECTION: tuple[Path, ...] = (("evaluate", "select_on", "in_domain"), ("evaluate", "select_on", "zero_shot"))
REPORTING: tuple[Path, ...] = (("evaluate", "in_domain"), ("evaluate", "zero_shot"))


def check_meaning(source: Source, data_root: FilePath | None, *, files_later: bool = False) -> list[str]:
    """Adds to the source's mistakes; returns notes for the reader."""
    notes: list[str] = []
    backbones = _values_of("backbone", source)
    training = _values_of("data", source)
    tasks = [written for path in (*SELECTION, *REPORTING) for written in texts(source.value, path)]
    for path, name in backbones:
        try:
            backbone = resolve(name)
            remote_code = backbone.remote_code
            if remote_code and source.value.get("trust_remote_code") is not True:
                source.mistake(path, f"{name} runs code of its repository; allow it: trust_remote_code: true")
            elif remote_code:
                notes.append(f"{name} runs code of its repository: trust_remote_code")
            notes += added_pooling(backbone)
        except BadInput as error:
            for sentence in error.mistakes:
                source.lacks(path, sentence)
    roles: tuple[tuple[Sequence[Written], Role], ...] = ((training, "train"), (tasks, "task"))
    for written, role in roles:
        for name in dict.fromkeys(name for _, name in written):
            path = next(path for path, written_name in written if written_name == name)
            for sentence in check_names([name], role=role, data_root=data_root, probe=not files_later):
                source.lacks(path, sentence)
    _check_measures(source)
    notes += _check_groups(source, training, data_root)
    for _, name in backbones:
        for _, task in texts(source.value, REPORTING[1]):
            if seen := seen_by(task, [name]):
                notes.append(
                    f"{task} is zero-shot with respect to fine-tuning alone: {seen[0]} was itself trained on "
                    "that collection"
                )
            elif maybe_seen_by(task, [name]):
                notes.append(f"{task} may not be new to {name}: it was trained on text of that kind")
        if texts(source.value, REPORTING[1]) and not knows_training(name):
            notes.append(
                f"what {name} was trained on before is not known: no set can be said to be new to it"
            )
    return list(dict.fromkeys(notes))


def texts(value: Any, path: Path) -> list[Written]:
    """Every text at or below `path` in the values as written, with its own path."""
    for part in path:
        inside = isinstance(value, dict) and part in value
        if not inside:
            return []
        value = value[part]
    return list(_texts_below(value, path))


Share = tuple[str, str | None]
"""A data set and the split of it; None: all of it."""


def share_of(name: str, role: Role, data_root: FilePath | None) -> Share:
    try:
        asked = name.partition("@")[0]
        if role == "task" and asked.partition(":")[0] in DATASETS:  # any other folder's default is its own
            asked = queries_of(name)
        found = locate(asked, data_root, role=role, supply=False, probe=False)
    except BadInput:  # reported already
        base, _, split = name.partition("@")[0].partition(":")
        return base, split or None
    return found.dataset.name, found.split


def shares_queries(one: Share, other: Share) -> bool:
    """Whether two shares have queries in common: the same split, or a whole set and a split of it."""
    return one[0] == other[0] and (one[1] == other[1] or None in (one[1], other[1]))


def _texts_below(value: Any, path: Path) -> Iterator[Written]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _texts_below(item, (*path, i))


def _values_of(field: str, source: Source) -> list[Written]:
    """Every value of a training field, as an axis or fixed; its default where the file gives none."""
    axes = source.value.get("axes")
    found = texts(source.value, ("train", field))
    for part in ("grid", "zip", "include", "exclude"):
        below = axes.get(part) if isinstance(axes, dict) else None
        if isinstance(below, list):
            for i, entry in enumerate(below):
                if isinstance(entry, dict):
                    found += [(("axes", part, i, *path), text) for path, text in texts(entry, (field,))]
        else:
            found += texts(source.value, ("axes", part, field))
    if not found:
        standard = default(field)
        found = [(("train", field), name) for name in ([standard] if isinstance(standard, str) else standard)]
    return found


def _check_groups(source: Source, training: Sequence[Written], data_root: FilePath | None) -> list[str]:
    """Selection, reporting and training sets keep apart, unless the file allows it."""
    groups = {path: texts(source.value, path) for path in (*SELECTION, *REPORTING)}
    if not any(groups[path] for path in REPORTING) and "evaluate" in source.value:
        source.mistake(("evaluate",), "nothing to report on; list tasks under `in_domain` or `zero_shot`")
    for path, names in groups.items():
        for i, (place, name) in enumerate(names):
            if any(name == earlier for _, earlier in names[:i]):
                source.mistake(place, f"{name} is listed twice in {path[-1]}; remove one")
    tasks = {name: share_of(name, "task", data_root) for names in groups.values() for _, name in names}
    found: list[tuple[Path, str]] = []
    for selection in SELECTION:
        for place, name in groups[selection]:
            for reporting in REPORTING:
                found += [
                    (
                        place,
                        f"{name} chooses and {other} reports, but they share queries; use disjoint splits",
                    )
                    for _, other in groups[reporting]
                    if shares_queries(tasks[name], tasks[other])
                ]
    for trained in dict.fromkeys(name for _, name in training):
        for path in groups:
            found += [
                (
                    place,
                    f"{name} is measured and {trained} trained on, but they share text; use disjoint splits",
                )
                for place, name in groups[path]
                if shares_queries(tasks[name], share_of(trained, "train", data_root))
            ]
    for trained in dict.fromkeys(name for _, name in training):
        for path in (SELECTION[1], REPORTING[1]):
            found += [
                (place, f"{name} is no zero-shot task of a model trained on {trained}; train on another set")
                for place, name in groups[path]
                if origins(trained) & origins(name)
            ]
    for in_domain, zero_shot in zip((SELECTION[0], REPORTING[0]), (SELECTION[1], REPORTING[1]), strict=True):
        found += [
            (place, f"{name} stands under in_domain and under zero_shot; it can be only one of them")
            for place, name in groups[zero_shot]
            if name in [other for _, other in groups[in_domain]]
        ]
    evaluate = source.value.get("evaluate")
    if isinstance(evaluate, dict) and evaluate.get("allow_overlap") is True:
        return [f"overlap allowed: {sentence.rpartition(';')[0]}" for _, sentence in found]
    told = source.lacks if source.not_here else source.mistake  # splits of an unknown set are a guess
    for place, sentence in found:
        told(place, f"{sentence}, or say evaluate: {{allow_overlap: true}}")
    return []


def _check_measures(source: Source) -> None:
    for path in (("guardrail", "measure"), ("export", "maximise")):
        for place, name in texts(source.value, path):
            if name not in MEASURES:
                source.mistake(place, f"unknown measure {name}{did_you_mean(name, MEASURES)}")
            elif name in LOWER_IS_BETTER | NEITHER_IS_BETTER:
                better = [m for m in MEASURES if m not in LOWER_IS_BETTER | NEITHER_IS_BETTER]
                source.mistake(
                    place, f"{name} is no measure where more is better; use one of {', '.join(better)}"
                )
