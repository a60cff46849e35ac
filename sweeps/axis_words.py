"""Values of axes and fields in words, as tables, figures and sentences show them."""

from collections.abc import Mapping
from typing import Any

_NOT_GIVEN = {"languages": "all", "language_pairs": "all", "weights": "by size"}


def value_words(axis: str, value: Any) -> str:
    """`en + de` of several, `all` where no languages are named, numbers without needless digits."""
    if value is None:
        return _NOT_GIVEN.get(axis, "none")
    if isinstance(value, list | tuple):
        return " + ".join(str(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def axes_words(axes: Mapping[str, Any]) -> str:
    """`mono_ratio 0.5, batch_size 32`; empty where there is no axis."""
    return ", ".join(f"{axis} {value_words(axis, value)}" for axis, value in axes.items())
