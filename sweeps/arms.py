"""Arms: the points of a sweep with short names and the reference each is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHORT = {
    "mono_ratio": "m",
    "batch_size": "b",
    "learning_rate": "lr",
    "temperature": "t",
    "weight_decay": "wd",
    "warmup": "warm",
    "clip_norm": "clip",
    "chunk_size": "chunk",
    "max_query_length": "ql",
    "max_passage_length": "pl",
    "threads": "th",
    "examples": "ex",
    "updates": "up",
}
"""What stands before a number in an arm's name; axes whose values are words show the word alone."""

_FIRST = ("mono_ratio", "backbone", "batch_size")


@dataclass(frozen=True)
class Arm:
    """One point of the swept axes, or a backbone left untouched."""

    alias: str  # short, unique in the sweep, from the axes that vary: "m0.5 xlmr b32"
    axes: Mapping[str, Any]  # untouched: the backbone alone
    reference: str | None  # alias of its reference arm, its own if it is one; None: untouched
    untouched: bool
    backbone: str


def name_arms(points: Sequence[Mapping[str, Any]], reference: Mapping[str, Any], backbone: str) -> list[Arm]:
    """The arms of these points, then each of their backbones untouched.

    Every point gives the same axes. `reference` names the axis values of reference arms; `backbone` counts
    where it is no axis, or where there is no point yet. No reference among them: None.
    """
    aliases = _aliases(points)
    by_point = {_identity(point): alias for point, alias in zip(points, aliases, strict=True)}
    arms = [
        Arm(
            alias=alias,
            axes=point,
            reference=by_point.get(_identity({**point, **reference})),
            untouched=False,
            backbone=point.get("backbone", backbone),
        )
        for point, alias in zip(points, aliases, strict=True)
    ]
    backbones = list(dict.fromkeys(arm.backbone for arm in arms)) or [backbone]
    short = _shorten(backbones)
    for name in backbones:
        alias = f"untouched {short[name]}" if len(backbones) > 1 else "untouched"
        arms.append(Arm(alias, {"backbone": name}, None, True, name))
    return arms


def _aliases(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """One name per point, from the axes that vary (from all, if none does)."""
    values = {
        axis: list(dict.fromkeys(point[axis] for point in points)) for axis in (points[0] if points else ())
    }
    varying = [axis for axis, met in values.items() if len(met) > 1] or list(values)
    order = [axis for axis in _FIRST if axis in varying] + [axis for axis in varying if axis not in _FIRST]
    words = {axis: _words(axis, values[axis]) for axis in order}
    aliases = [" ".join(words[axis][point[axis]] for axis in order) for point in points]
    if len(set(aliases)) < len(aliases):  # words of two axes look alike
        aliases = [" ".join(f"{axis}={words[axis][point[axis]]}" for axis in order) for point in points]
    return aliases


def _words(axis: str, values: Sequence[Any]) -> dict[Any, str]:
    if all(isinstance(value, str) for value in values):
        return _shorten(values)
    words = {value: _word(axis, value) for value in values}
    return words if len(set(words.values())) == len(words) else {value: f"{axis}={value}" for value in values}


def _word(axis: str, value: Any) -> str:
    if isinstance(value, bool):
        return axis if value else f"not-{axis}"
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    if value is None:
        return "all" if axis == "languages" else f"{SHORT.get(axis, axis)}-off"
    if isinstance(value, float):
        return SHORT.get(axis, axis) + repr(value).removesuffix(".0").replace("e-0", "e-")
    return f"{SHORT.get(axis, axis)}{value}"


def _shorten(names: Sequence[str]) -> dict[str, str]:
    """Names without the words they all begin with: embedded-xlmr, embedded-labse → xlmr, labse."""
    if len(names) == 1:
        return {names[0]: names[0].rstrip("/").rpartition("/")[2]}
    first, last_name = min(names), max(names)  # what these two share, all share
    same = next((i for i, (a, b) in enumerate(zip(first, last_name, strict=False)) if a != b), len(first))
    cut = 1 + max(first[:same].rfind(mark) for mark in "-/_:")
    short = {name: name[cut:] or name for name in names}
    last = {name: words.rstrip("/").rpartition("/")[2] for name, words in short.items()}
    return last if len(set(last.values())) == len(names) and all(last.values()) else short


def _identity(point: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(point.items(), key=lambda item: item[0]))
