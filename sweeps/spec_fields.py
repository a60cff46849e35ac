"""Values against types: what pydantic objects to, said in sentences with the fix."""

import difflib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hybrid.config import TrainConfig
from sweeps.spec_source import Path

FOLLOWS = {
    "seed": "seeds are replicates, not a setting; list them under `seeds`",
    "steps": "give `examples` (query-passage pairs) or `updates`; steps follow from them and the batch size",
    "device": "the device follows from `gpu` under `resources`",
}
"""TrainConfig fields that the plan resolves, and what to write instead."""

TRAIN_FIELDS = (*(name for name in TrainConfig.model_fields if name not in FOLLOWS), "examples", "updates")
"""What may stand under `train` or be an axis."""

DEFAULTS: dict[str, Any] = {
    "backbone": "embedded-xlmr",
    "data": ("embedded-qa:train",),
    "mono_ratio": 0.5,
    "batch_size": 32,
    "examples": 6400,
}
"""For fields that TrainConfig itself leaves open; a default taken from here is shown by the plan."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`; did you mean a?` or, where nothing is close, `; choose from a, b, c`."""
    names = list(valid)
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; choose from {', '.join(names)}"


_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


@cache
def _adapter(field: str) -> TypeAdapter[Any]:
    if field in ("examples", "updates"):
        return TypeAdapter(Annotated[int, Field(ge=1)], config=_STRICT)
    if field == "precision":
        return TypeAdapter(Literal["fp32", "bf16", "auto"], config=_STRICT)
    if field == "data":
        return TypeAdapter(Annotated[tuple[str, ...], Field(min_length=1)], config=_STRICT)
    info = TrainConfig.model_fields[field]
    annotated: Any = Annotated[info.annotation, Field(), *info.metadata]
    return TypeAdapter(annotated, config=_STRICT)


def as_written(value: Any) -> str:
    """A value as a sweep file spells it; `sweeps.axis_words` has it in words."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(as_written, value))}]"
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def check_train_field(field: str, value: Any) -> tuple[Any, list[tuple[Path, str]]]:
    """The value as TrainConfig would hold it, or what is wrong with it: (path below the field, sentence)."""
    return check(_adapter(field), value)


def check(kind: Any, value: Any) -> tuple[Any, list[tuple[Path, str]]]:
    """`value` as `kind`, a type or TypeAdapter, or what is wrong with it: (path within, sentence)."""
    if isinstance(kind, TypeAdapter):
        adapter = kind
    elif isinstance(kind, type) and issubclass(kind, BaseModel):  # strict of itself
        adapter = TypeAdapter(kind)
    else:
        adapter = TypeAdapter(kind, config=_STRICT)
    try:  # by way of JSON, where strict pydantic takes lists for tuples but still no text for numbers
        return adapter.validate_json(json.dumps(value)), []
    except ValidationError as errors:
        return None, [_sentence(error, kind) for error in errors.errors(include_url=False)]


def _sentence(error: Mapping[str, Any], kind: Any) -> tuple[Path, str]:
    path: Path = tuple(error["loc"])
    got, limits = error["input"], error.get("ctx", {})
    shown = _shown(got)
    match error["type"]:
        case "extra_forbidden":
            return path, f"unknown field{did_you_mean(str(path[-1]), _fields_at(kind, path[:-1]))}"
        case "missing":
            return path, "is missing; add it"
        case "literal_error":
            return path, f"must be {limits['expected']}, not {shown}"
        case "int_type" | "int_from_float":
            return path, f"must be a whole number, not {shown}"
        case "float_type":
            return path, f"must be a number, not {shown}"
        case "finite_number":
            return path, f"must be a finite number, not {shown}"
        case "bool_type":
            return path, f"must be true or false, not {shown}"
        case "string_type":
            return path, f"must be text, not {shown}; put it in quotes if it is meant as text"
        case "string_too_short":
            return path, "is empty; write a name or leave the field out"
        case "string_too_long":
            return path, f"is longer than {limits['max_length']} characters"
        case "string_pattern_mismatch":
            return path, f"{shown} is no name; use letters, digits, `-`, `_` and `.`, a letter or digit first"
        case "tuple_type" | "list_type":
            return (
                path,
                f"must be a list, not {shown}; write [{got if isinstance(got, str | int | float) else ''}]",
            )
        case "too_short":
            return path, "is empty; list at least one value"
        case "dict_type" | "model_type" | "model_attributes_type":
            return path, f"must be a mapping of fields, not {shown}"
        case "greater_than":
            return path, f"must be greater than {limits['gt']:g}, not {shown}"
        case "greater_than_equal":
            return path, f"must be at least {limits['ge']:g}, not {shown}"
        case "less_than":
            return path, f"must be less than {limits['lt']:g}, not {shown}"
        case "less_than_equal":
            return path, f"must be at most {limits['le']:g}, not {shown}"
    return path, f"{error['msg'][0].lower()}{error['msg'][1:]}, not {shown}"


def _shown(value: Any) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case str():
            return f"the text {value[:60]!r}"
        case list():
            return "a list"
        case dict():
            return "a mapping"
    return str(value)


def _fields_at(kind: Any, path: Path) -> list[str]:
    """Field names of the section that `path` leads to inside section `kind`."""
    for part in path:
        if isinstance(part, str) and hasattr(kind, "model_fields") and part in kind.model_fields:
            kind = kind.model_fields[part].annotation
        elif getattr(kind, "__args__", None):
            kind = kind.__args__[-1] if kind.__args__[-1] is not ... else kind.__args__[0]
    return list(getattr(kind, "model_fields", ()))
