"""The file of one training run: YAML with `train:`, a TrainConfig, and an optional `provenance:`."""

import difflib
import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hybrid.config import TrainConfig
from hybrid.errors import BadInput
from hybrid.yaml12 import Yaml12Loader

_SECTIONS = ("train", "provenance")


def read_config(path: Path) -> tuple[TrainConfig, dict[str, Any]]:
    """The configuration and the provenance in `path`.

    Raises BadInput with every mistake, each naming file, line and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    try:
        node = yaml.compose(text, Loader=Yaml12Loader)
        value = yaml.load(text, Loader=Yaml12Loader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or error
        raise BadInput(f"{path}:{mark.line + 1 if mark else 1}: is no YAML: {problem}.") from None
    lines = _lines(node)
    if isinstance(value, dict) and "axes" in value:
        raise BadInput(f"{path}: is a sweep file; run it with: sweeps run {path}")
    if not isinstance(value, dict) or not isinstance(value.get("train"), dict):
        raise BadInput(
            f"{path}:{lines.get(('train',), 1)}: train: is to hold the fields of one training run."
        )
    mistakes = [
        f"{path}:{lines[(str(key),)]}: {key}: unknown; the sections are {' and '.join(_SECTIONS)}."
        for key in value
        if key not in _SECTIONS
    ]
    provenance = value.get("provenance") or {}
    if not isinstance(provenance, dict):
        mistakes.append(f"{path}:{lines[('provenance',)]}: provenance: is to be a mapping.")
    try:
        config = TrainConfig.model_validate_json(json.dumps(value["train"], default=str))
    except ValidationError as error:
        for one in error.errors():
            field = str(one["loc"][0]) if one["loc"] else ""
            line = lines.get(("train", field), lines[("train",)])
            mistakes.append(f"{path}:{line}: train.{field}: {_sentence(field, one['type'], one['msg'])}")
        raise BadInput(mistakes) from None
    if mistakes:
        raise BadInput(mistakes)
    return config, provenance


def write_config(path: Path, config: TrainConfig, provenance: dict[str, Any]) -> None:
    """What `read_config` reads, every field written out."""
    content: dict[str, Any] = {"train": config.model_dump(mode="json")}
    if provenance:
        content["provenance"] = provenance
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _sentence(field: str, kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing."
    if kind == "extra_forbidden":
        names = list(TrainConfig.model_fields)
        close = difflib.get_close_matches(field, names, n=1)
        return (
            f"unknown; did you mean {close[0]}?" if close else f"unknown; the fields are {', '.join(names)}."
        )
    return f"{message[0].lower()}{message[1:]}."


def _lines(node: yaml.Node | None) -> dict[tuple[str, ...], int]:
    """Line of every key of the file and of its sections."""
    lines: dict[tuple[str, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(str(key.value),)] = key.start_mark.line + 1
            if isinstance(value, yaml.MappingNode):
                for inner, _ in value.value:
                    lines[(str(key.value), str(inner.value))] = inner.start_mark.line + 1
    return lines
