"""What the intervals say, in sentences: an effect is named only where bounds that hold together for all arms
and sets leave zero out."""

from collections.abc import Mapping, Sequence
from typing import Any

from hybrid.data.levels import is_pool
from sweeps.tables import number


def statements(
    blocks: Sequence[Mapping[str, Any]],
    series: Sequence[Mapping[str, Any]],
    differences: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """One statement per primary series (its mean over sets where there are several) and for rank distance:
    how many trained arms lie above, below and around their reference, and the largest difference. Arms
    without bounds (one seed, a refused comparison) are counted apart."""
    untouched = {alias for block in blocks for alias in block["untouched"]}
    have_macro = {(s["group"], s["setting"], s["measure"]) for s in series if s["task"] == "macro"}
    found = []
    for one in series:
        alone = (one["group"], one["setting"], one["measure"]) not in have_macro
        if not (one["primary"] or one["measure"] == "rank_distance") or not (one["task"] == "macro" or alone):
            continue
        rows = [d for d in differences if d["series"] == one["id"] and d["arm"] not in untouched]
        kind = (one["group"], one["setting"], one["measure"])
        pools = [s["task"] for s in series if (s["group"], s["setting"], s["measure"]) == kind]
        if rows:
            found.append(_statement(one, rows, any(is_pool(task) for task in pools)))
    return found


def _statement(series: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], pool: bool) -> dict[str, Any]:
    lower_is_better = series["better"] == "lower"
    bounded = [row for row in rows if row["all_lower"] is not None]
    above = [row for row in bounded if row["all_lower"] > 0]
    below = [row for row in bounded if row["all_upper"] < 0]
    better, worse = (below, above) if lower_is_better else (above, below)
    around, unknown = len(bounded) - len(above) - len(below), len(rows) - len(bounded)
    largest = max((*above, *below), key=lambda row: abs(row["difference"]), default=None)
    if not bounded:
        kind = "unknown"
        text = "no bounds can be given, so nothing is said of a difference to the reference."
    elif largest is None:
        kind = "absent"
        many = f"the bounds of all {len(bounded)} arms{' that have any' if unknown else ''} hold"
        which = "its bounds hold" if len(bounded) == 1 else many
        text = f"no difference to the reference is seen: {which} zero."
    else:
        kind = "mixed" if better and worse else "better" if better else "worse"
        parts = [f"{len(arms)} {word}" for arms, word in ((worse, "worse"), (better, "better")) if arms] + (
            [f"{around} not distinguishable from it"] if around else []
        )
        parts += [f"{unknown} without bounds"] if unknown else []
        of = "of 1 arm against its" if len(rows) == 1 else f"of {len(rows)} arms against their"
        text = f"{of} reference, {_listed(parts)}. {_largest(series, largest)}"
    return {
        "series": series["id"],
        "title": series["title"],
        "kind": kind,
        "arms": len(rows),
        "better": [row["arm"] for row in better],
        "worse": [row["arm"] for row in worse],
        "around_zero": around,
        "without_bounds": unknown,
        "largest": largest,
        "pool": pool,
        "text": text + (" Measured on pools, which flatter tuned arms." if pool else ""),
    }


def _largest(series: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    scale = 100 if series["points"] else 1
    unit = "points" if series["points"] else "ranks"
    keys = ("difference", "all_lower", "all_upper")
    middle, low, high = (number(row[key] * scale, 1, signed=True) for key in keys)
    return f"The largest of these differences is {middle} {unit} [{low}, {high}], at {row['arm']}."


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
