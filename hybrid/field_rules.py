"""What must agree between training fields, beside each field's own type and range."""

from collections.abc import Mapping, Sequence
from typing import Any

from hybrid.config import TrainConfig

_COUNTS_ONLY_WITH = {
    "stop_measure": "stop_on",
    "stop_languages": "stop_on",
    "stop_every": "stop_on",
    "patience": "stop_on",
    "lora_rank": "adapter",
    "lora_alpha": "adapter",
    "lora_dropout": "adapter",
}
_EXAMPLE = {"stop_on": "stop_on: xquad-r:dev", "adapter": "adapter: lora"}


def contradictions(arms: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(field, what is wrong with it and the fix) for the training fields of one run or of a sweep's arms.

    A field that only counts beside another one is a mistake if no arm has that other one.
    """
    found: dict[tuple[str, str], None] = {}
    for fields in arms:
        weights, data = fields.get("weights"), fields.get("data") or ()
        if weights is not None and len(weights) != len(data):
            sentence = (
                f"{len(weights)} numbers for {len(data)} sets of `data`; give one for each, in their order"
            )
            found[("weights", sentence)] = None
    for field, master in _COUNTS_ONLY_WITH.items():
        given = any(_given(fields, field) for fields in arms)
        if given and not any(_given(fields, master) for fields in arms):
            found[(field, f"counts only with {master}; add {_EXAMPLE[master]} or remove it")] = None
    return list(found)


def _given(fields: Mapping[str, Any], field: str) -> bool:
    default = TrainConfig.model_fields[field].default
    return bool(fields.get(field, default) != default)
