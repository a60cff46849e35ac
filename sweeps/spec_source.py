"""YAML with line numbers: plain values, and where each was written.

A key written twice is a mistake, not the last one winning.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from hybrid.errors import BadInput
from hybrid.yaml12 import Yaml12Loader

Path = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top."""

_MOST_VALUES = 200_000  # aliases of aliases could otherwise grow without end


@dataclass
class Source:
    """The values of one file, the lines they stand on, and what is wrong with the writing itself."""

    file: str
    text: str
    value: Any
    lines: dict[Path, int]
    mistakes: list[str]
    not_here: set[str] = field(default_factory=set)  # those that another machine may not make

    def mistake(self, path: Path, sentence: str) -> None:
        self.mistakes.append(" ".join(f"{self.where(path)}: {sentence}".split()))  # names may hold line ends

    def lacks(self, path: Path, sentence: str) -> None:
        """A mistake on a machine without the files that the name stands for."""
        self.mistake(path, sentence)
        self.not_here.add(self.mistakes[-1])

    def where(self, path: Path) -> str:
        """`file:line: field`, of the nearest enclosing field that was written where `path` itself was not."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        line = self.lines.get(known, 1)
        place = f"{self.file}:{line}" if line else "--set"
        return f"{place}: {dotted(path)}" if path else place


def dotted(path: Path) -> str:
    """`("seeds", 1)` as `seeds[1]`, `("axes", "grid")` as `axes.grid`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_source(text: str, file: str) -> Source:
    """Parse one YAML document. Raises BadInput where it is no YAML or no mapping."""
    try:
        node = yaml.compose(text, Loader=Yaml12Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "is not text"
        raise BadInput(
            f"{file}:{line}: not YAML: {problem}; check indentation, brackets and quotes"
        ) from None
    source = Source(file, text, None, {}, [])
    if not isinstance(node, yaml.MappingNode):
        raise BadInput(
            f"{file}:1: a sweep file is a mapping that starts with `name:`, `axes:` and `evaluate:`"
        )
    source.value = _construct(node, (), source, ())
    return source


def _construct(node: yaml.Node, path: Path, source: Source, open_nodes: tuple[int, ...]) -> Any:
    source.lines.setdefault(path, node.start_mark.line + 1)
    if len(source.lines) > _MOST_VALUES:
        raise BadInput(
            f"{source.file}: more than {_MOST_VALUES} values; write ranges of an axis under `axes.grid`"
        )
    if id(node) in open_nodes:
        raise BadInput(f"{source.where(path)}: an alias that contains itself; write the value out")
    inside = (*open_nodes, id(node))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, source, inside)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*path, i), source, inside) for i, item in enumerate(node.value)]
    return _scalar(node, path, source)


def _mapping(
    node: yaml.MappingNode, path: Path, source: Source, open_nodes: tuple[int, ...]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if key_node.tag.endswith(":merge"):
            for base in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                content = _construct(base, path, source, open_nodes)
                merged = {**content, **merged} if isinstance(content, dict) else merged
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            source.mistakes.append(
                f"{source.file}:{line}: {dotted(path)}: a key is one word, not a list or mapping"
            )
            continue
        key = str(key_node.value)
        if key in values:
            first = source.lines[(*path, key)]
            twice = f"written twice (first on line {first}); keep one"
            source.mistakes.append(f"{source.file}:{line}: {dotted((*path, key))}: {twice}")
            continue
        source.lines[(*path, key)] = line
        values[key] = _construct(value_node, (*path, key), source, open_nodes)
    return {**merged, **values}


def _scalar(node: yaml.Node, path: Path, source: Source) -> Any:
    text, tag = node.value, node.tag.rpartition(":")[2]
    match tag:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int" if re.fullmatch(r"[-+]?[0-9]{1,400}", text):
            return int(text)
        case "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        case "str":
            return text
    source.mistake(path, f"cannot read {text[:40]!r} as {node.tag}; write numbers, true, false or text")
    return None


def apply_overrides(source: Source, overrides: Sequence[str]) -> None:
    """`--set a.b=value`: the value is read as YAML; a field that is not in the file is added."""
    for override in overrides:
        dotted_key, equals, text = override.partition("=")
        keys: Path = tuple(int(k) if k.isdigit() else k for k in dotted_key.strip().split("."))
        if not equals or not all(str(k) for k in keys):
            source.mistakes.append(
                f"--set {override}: write --set field=value, for example --set train.examples=200"
            )
            continue
        try:
            node = yaml.compose(text, Loader=Yaml12Loader)
        except yaml.YAMLError:
            source.mistakes.append(f"--set {override}: the value is not YAML; quote it for the shell")
            continue
        written = Source("--set", text, None, {}, source.mistakes)
        value = _construct(node, (), written, ()) if node is not None else None
        if not _assign(source.value, keys, value):
            source.mistakes.append(f"--set {override}: there is no such place in {source.file}")
            continue
        for path in [p for p in source.lines if p[: len(keys)] == keys]:
            del source.lines[path]
        source.lines[keys] = 0


def _assign(value: Any, keys: Path, new: Any) -> bool:
    """Put `new` at `keys`, making mappings on the way; False where the way is barred."""
    key, *rest = keys
    if isinstance(value, list):
        inside = isinstance(key, int) and key < len(value)
    else:
        inside = isinstance(value, dict) and isinstance(key, str)
    if not inside:
        return False
    if not rest:
        value[key] = new
        return True
    if isinstance(value, dict) and value.get(key) is None:
        value[key] = {}
    return _assign(value[key], tuple(rest), new)
