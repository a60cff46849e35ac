"""What training fields mean together, and what early stopping may look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from hybrid.data.locate import Role, check_names
from hybrid.field_rules import contradictions
from sweeps.spec_checks import REPORTING, share_of, shares_queries, texts
from sweeps.spec_source import Path, Source


def check_training(
    source: Source,
    train: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
    data_root: FilePath | None,
    *,
    files_later: bool = False,
) -> None:
    """Adds to the source's mistakes what stands against the arms' training fields taken together."""
    arms = [{**train, **point} for point in points]
    for field, sentence in contradictions(arms):
        source.mistake(_place(source, field), sentence)
    measures = {arm.get("stop_measure") for arm in arms}
    trained = dict.fromkeys(name for arm in arms for name in arm.get("data") or ())
    for name in dict.fromkeys(arm["stop_on"] for arm in arms if arm.get("stop_on")):
        roles: list[Role] = []
        if "loss" in measures:
            roles.append("train")
        if measures - {"loss"}:
            roles.append("task")
        place = _place(source, "stop_on")
        mistakes = [
            sentence
            for role in roles
            for sentence in check_names([name], role=role, data_root=data_root, probe=not files_later)
        ]
        for sentence in dict.fromkeys(mistakes):
            source.lacks(place, sentence)
        if mistakes:
            continue
        looked_at = share_of(name, roles[0], data_root)
        told = source.lacks if source.not_here else source.mistake  # splits of an unknown set are a guess
        for path in REPORTING:
            for _, reported in texts(source.value, path):
                if shares_queries(looked_at, share_of(reported, "task", data_root)):
                    told(
                        place,
                        f"training would stop by {name}, which shares queries with {reported}, a reporting "
                        f"set; name a selection set such as another split",
                    )
        for other in trained:
            if shares_queries(looked_at, share_of(other, "train", data_root)):
                told(place, f"training would stop by {name}, which it trains on as {other}; name another set")


def _place(source: Source, field: str) -> Path:
    """Where the file gives a training field: under `train`, else as an axis."""
    written = source.value.get("train")
    if isinstance(written, dict) and field in written:
        return ("train", field)
    axes = source.value.get("axes")
    for part in ("grid", "zip"):
        if isinstance(axes, dict) and isinstance(axes.get(part), dict) and field in axes[part]:
            return ("axes", part, field)
    return ("axes",)
