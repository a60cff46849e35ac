"""Tables on how things were measured: the bias of pools, and languages that a tokenizer cannot see."""

from collections.abc import Iterable, Mapping
from typing import Any

from hybrid.scores import LOWER_IS_BETTER, MEASURES
from sweeps.series import SETTING_WORDS
from sweeps.tables import Block, Cell, Row, Table, number


def level_tables(report: Mapping[str, Any]) -> list[Table]:
    """Those of these tables that the report has something for."""
    return [*_pool_bias(report), *_coverage(report), *_means_apart(report)]


def _pool_bias(report: Mapping[str, Any]) -> Iterable[Table]:
    rows = [
        Row(
            [
                Cell(one["arm"]),
                Cell(f"{one['task']} {MEASURES[one['measure']]}"),
                _points(one["on_pool"], one["measure"]),
                _points(one["in_full"], one["measure"]),
                _points(one["bias"], one["measure"], one["lower"], one["upper"]),
            ]
        )
        for one in report["pool_bias"]
    ]
    if rows:
        first = report["pool_bias"][0]
        notes = [
            "Points. Bias: the paired difference to the reference on the pool minus that in full, with its "
            f"{100 * first['level']:g}% interval ({first['kind']}). Above zero, the pool flatters the arm.",
            "A pool holds all judged documents and the unjudged ones that BM25 and the untouched backbones "
            "rank highest; a trained arm's own new mistakes are not in it.",
        ]
        columns = ["arm", "measured", "Δ on the pool", "Δ in full", "bias of the pool"]
        yield Table("pool-bias", "What pools do to differences", columns, [Block("", rows)], notes, 2)


def _coverage(report: Mapping[str, Any]) -> Iterable[Table]:
    shown = [row for row in report["coverage"] if len(_languages(report, row)) > 1]
    if not shown:
        return
    blocks = []
    for backbone, task in dict.fromkeys((row["backbone"], row["task"]) for row in shown):
        rows = [
            Row(
                [
                    Cell(row["language"] + (" (set apart)" if row["apart"] else "")),
                    Cell(f"{row['candidates']}", value=row["candidates"]),
                    Cell(number(100 * row["unknown_share"], 1), value=row["unknown_share"]),
                    Cell(f"{row['indistinguishable']}", value=row["indistinguishable"]),
                    Cell(f"{row['tied_queries']} of {row['queries']}", value=row["tied_queries"]),
                ]
            )
            for row in shown
            if (row["backbone"], row["task"]) == (backbone, task)
        ]
        blocks.append(Block(f"{backbone}, {task}", rows))
    columns = ["language", "candidates", "unknown tokens, %", "with another's tokens", "queries tied"]
    notes = [
        "Candidates with the same tokens have the same score for every query. Queries tied: their answer is "
        "such a candidate. A language is set apart where more than a quarter of its tokens are unknown or "
        "more than a twentieth of its queries are tied: what is measured there is not the encoder.",
    ]
    yield Table("coverage", "What the tokenizers can tell apart", columns, blocks, notes)


def _languages(report: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    key = (row["backbone"], row["task"])
    return [one["language"] for one in report["coverage"] if (one["backbone"], one["task"]) == key]


def _means_apart(report: Mapping[str, Any]) -> Iterable[Table]:
    blocks = []
    for task in dict.fromkeys(one["task"] for one in report["means_apart"]):
        of_task = [one for one in report["means_apart"] if one["task"] == task]
        rows = [
            Row(
                [
                    Cell(one["arm"]),
                    Cell(f"{SETTING_WORDS[one['setting']]} {MEASURES[one['measure']]}".strip()),
                    Cell(", ".join(one["apart"])),
                    _points(one["all"], one["measure"], signed=False),
                    _points(one["without"], one["measure"], signed=False),
                ]
            )
            for one in of_task
        ]
        blocks.append(Block(task, rows))
    if blocks:
        columns = ["arm", "measured", "set apart", "mean of all languages", "mean without them"]
        notes = ["Points, mean over seeds. A cell counts as without where neither its queries nor its"
                 " documents are in a language set apart; a multilingual pool still holds them."]  # fmt: skip
        yield Table("means-apart", "Means without languages set apart", columns, blocks, notes, 3)


def _points(
    value: float | None,
    measure: str,
    lower: float | None = None,
    upper: float | None = None,
    *,
    signed: bool = True,
) -> Cell:
    if value is None:
        return Cell("–")
    scale = 1 if measure in LOWER_IS_BETTER else 100
    detail = ""
    if lower is not None and upper is not None:
        detail = " to ".join(number(scale * end, 1, signed=True) for end in (lower, upper))
    return Cell(number(scale * value, 1, signed=signed), detail, value, lower, upper)
