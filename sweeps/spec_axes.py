"""Axes to arms: `grid` crossed with `zip`, less `exclude`, plus `include`."""

import math
from collections.abc import Mapping
from typing import Any

from hybrid.config import TrainConfig
from sweeps.spec_fields import DEFAULTS, FOLLOWS, TRAIN_FIELDS, check_train_field, did_you_mean
from sweeps.spec_source import Path, Source

Point = dict[str, Any]
MOST_ARMS = 100_000


class Axes:
    """Reads the `axes` section; what is wrong is added to the source's mistakes."""

    def __init__(self, source: Source, section: Any) -> None:
        self.source = source
        self.values: dict[str, list[Any]] = {}  # axis -> values in the order met
        self.swept: set[str] = set()  # axes of grid and zip: no fixed value beside them
        self.rows: list[Point] = [{}]
        self.include: list[tuple[Path, Point]] = []
        self.exclude: list[tuple[Path, Point]] = []
        before = len(source.mistakes)
        self._read(section)
        self.sound = len(source.mistakes) == before  # otherwise arms are missing that were meant

    def _read(self, section: Any) -> None:
        if not isinstance(section, dict):
            self.source.mistake(
                ("axes",), "must be a mapping with `grid`, for example {grid: {mono_ratio: [1.0, 0.5, 0.0]}}"
            )
            return
        for key in section:
            if key in TRAIN_FIELDS:
                self.source.mistake(
                    ("axes", key), f"stands beside `grid`; put it inside: axes: {{grid: {{{key}: …}}}}"
                )
            elif key not in ("grid", "zip", "include", "exclude"):
                parts = ("grid", "zip", "include", "exclude")
                self.source.mistake(("axes", key), f"unknown field{did_you_mean(key, parts)}")
        self._grid(section.get("grid"))
        self._zip(section.get("zip"))
        self.include = self._entries(section.get("include"), "include")
        self.exclude = self._entries(section.get("exclude"), "exclude")
        if not any(section.get(part) for part in ("grid", "zip", "include")):
            self.source.mistake(
                ("axes",), "there is no axis; list values under `grid`, for example mono_ratio: [1.0, 0.5]"
            )

    def points(self, fixed: Mapping[str, Any]) -> list[Point]:
        """One point per arm with a value for every axis; `fixed` fills axes that only `include` names."""
        rows = self.rows if self.swept else []
        for path, entry in self.exclude:
            if not any(_agrees(row, entry) for row in rows):
                self.source.mistake(
                    path, "excludes nothing: no arm of the grid agrees with it; mend or remove it"
                )
            rows = [row for row in rows if not _agrees(row, entry)]
        for _, entry in self.include:
            rows = [*rows, *({**row, **entry} for row in self.rows)]
        points: dict[tuple[Any, ...], Point] = {}
        for row in rows:
            for axis in (
                self.values.keys() - row.keys()
            ):  # named by `include` alone: the others have the fixed value
                row = {**row, axis: fixed.get(axis, default(axis))}
                self._met(axis, row[axis])
            point = {axis: row[axis] for axis in self.values}
            points.setdefault(tuple(point.values()), point)
        if not points and not self.source.mistakes:
            self.source.mistake(("axes",), "no arm is left; loosen `exclude`")
        return list(points.values())

    def _grid(self, grid: Any) -> None:
        if grid is None:
            return
        columns = self._columns(grid, ("axes", "grid"))
        count = math.prod(len(values) for values in columns.values())
        if count > MOST_ARMS:
            self.source.mistake(
                ("axes", "grid"), f"makes {count} arms, more than {MOST_ARMS}; shorten the lists"
            )
            return
        for axis, values in columns.items():
            self.rows = [{**row, axis: value} for row in self.rows for value in values]

    def _zip(self, zipped: Any) -> None:
        if zipped is None:
            return
        many = isinstance(zipped, list)
        for i, group in enumerate(zipped if many else [zipped]):
            path: Path = ("axes", "zip", i) if many else ("axes", "zip")
            columns = self._columns(group, path, distinct=False)
            lengths = {axis: len(values) for axis, values in columns.items()}
            if len(set(lengths.values())) > 1:
                shown = ", ".join(f"{axis} has {count}" for axis, count in lengths.items())
                self.source.mistake(
                    path, f"lists under `zip` go side by side and must be equally long: {shown}"
                )
            elif len(set(zip(*columns.values(), strict=True))) < max(lengths.values(), default=0):
                self.source.mistake(path, "the same combination stands there twice; remove one")
            elif len(self.rows) * max(lengths.values(), default=1) > MOST_ARMS:
                self.source.mistake(path, f"makes more than {MOST_ARMS} arms; shorten the lists")
            else:
                steps = [
                    dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
                ]
                self.rows = [{**row, **step} for row in self.rows for step in steps]

    def _columns(self, section: Any, path: Path, distinct: bool = True) -> dict[str, list[Any]]:
        """Axis -> its values, those that hold."""
        if not isinstance(section, dict):
            self.source.mistake(
                path, "must be a mapping of axis to list, for example {mono_ratio: [1.0, 0.5, 0.0]}"
            )
            return {}
        columns: dict[str, list[Any]] = {}
        for axis, values in section.items():
            place = (*path, axis)
            if not self._is_axis(axis, place):
                continue
            if axis in self.swept:
                self.source.mistake(place, "is an axis twice; keep it under one of `grid` and `zip`")
            elif not isinstance(values, list):
                self.source.mistake(
                    place, f"must be a list of values; write {axis}: [{'' if values is None else values}]"
                )
            elif not values:
                self.source.mistake(place, "is an empty axis; list at least one value or remove it")
            else:
                columns[axis] = self._values(axis, values, place, distinct)
            self.swept.add(axis)
        return {axis: values for axis, values in columns.items() if values}

    def _values(self, axis: str, values: list[Any], path: Path, distinct: bool) -> list[Any]:
        valid: list[Any] = []
        for i, written in enumerate(values):
            value, wrong = check_train_field(axis, written)
            for below, sentence in wrong:
                self.source.mistake((*path, i, *below), sentence)
            if wrong:
                continue
            if distinct and value in valid:
                self.source.mistake((*path, i), f"{written} is listed twice; each value of an axis once")
            else:
                valid.append(value)
                self._met(axis, value)
        return valid

    def _entries(self, entries: Any, part: str) -> list[tuple[Path, Point]]:
        if entries is None:
            return []
        if not isinstance(entries, list):
            self.source.mistake(
                ("axes", part), f"must be a list of arms, for example {part}: [{{mono_ratio: 0.9}}]"
            )
            return []
        valid: list[tuple[Path, Point]] = []
        for i, entry in enumerate(entries):
            path: Path = ("axes", part, i)
            if not isinstance(entry, dict) or not entry:
                self.source.mistake(
                    path, "must be a mapping of axis to one value, for example {mono_ratio: 0.9}"
                )
                continue
            point: Point = {}
            for axis, written in entry.items():
                if not self._is_axis(axis, (*path, axis)):
                    continue
                value, wrong = check_train_field(axis, written)
                for below, sentence in wrong:
                    self.source.mistake((*path, axis, *below), sentence)
                if not wrong:
                    point[axis] = value
                    if part == "include":
                        self._met(axis, value)
            if len(point) == len(entry):
                valid.append((path, point))
        return valid

    def _is_axis(self, axis: str, path: Path) -> bool:
        if axis in FOLLOWS:
            self.source.mistake(path, f"cannot be an axis: {FOLLOWS[axis]}")
        elif axis not in TRAIN_FIELDS:
            self.source.mistake(path, f"unknown axis{did_you_mean(axis, TRAIN_FIELDS)}")
        return axis in TRAIN_FIELDS

    def _met(self, axis: str, value: Any) -> None:
        met = self.values.setdefault(axis, [])
        if value not in met:
            met.append(value)


def default(field: str) -> Any:
    """What a field has where the file says nothing."""
    if field in DEFAULTS:
        return DEFAULTS[field]
    return TrainConfig.model_fields[field].default if field in TrainConfig.model_fields else None


def _agrees(row: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    return all(axis in row and row[axis] == value for axis, value in entry.items())
