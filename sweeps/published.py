"""What was measured beside what arXiv 2408.10536 published, where backbone, mixture and set are the same.

The published numbers stand in published.csv: macro means over the languages of whole sets, fractions, rank
distances in ranks; one run each, without variance. The paper's MIRACL means are over languages that are not
known here, and so nothing stands beside them.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hybrid.scores import MEASURES
from sweeps.axis_words import value_words
from sweeps.plan import Trial
from sweeps.results import Results
from sweeps.series import SETTING_WORDS
from sweeps.tables import Block, Cell, Row, Table, number

SOURCE = "arXiv 2408.10536 (Elmahdy, Lin, Ahmad 2024)"
BACKBONES = {"xlm-r-base": "XLM-R", "xlm-r-large": "XLM-R", "labse": "LaBSE"}
"""Backbones of this project that the paper may mean; the size of its XLM-R is not stated."""

CELLS = {
    "xquad-r": {"mono": 11, "cross": 110, "multi": 11},
    "mlqa-r": {"mono": 7, "cross": 42, "multi": 7},
}
"""Languages, or ordered pairs of them, that a whole set has: a mean over fewer is another number."""

_STATED = {"batch_size": 100, "learning_rate": 3e-5, "weight_decay": 0.01, "schedule": "bernoulli"}
"""What the paper states of training and a trial can have otherwise."""


@dataclass(frozen=True)
class Published:
    backbone: str
    mixture: str  # X-X-mono, hybrid, X-Y
    mono_ratio: float
    task: str
    setting: str
    measure: str
    value: float


@cache
def published() -> tuple[Published, ...]:
    """Every published number."""
    text = (files("sweeps") / "published.csv").read_text(encoding="utf-8")
    return tuple(
        Published(
            row["backbone"], row["mixture"], float(row["mono_ratio"]), row["task"], row["setting"],
            row["measure"], float(row["value"]),
        )
        for row in csv.DictReader(text.splitlines())
    )  # fmt: skip


def beside_paper(results: Results) -> Table | None:
    """Published and measured values side by side; None where no arm, or no whole set, is the paper's.

    A split, a level or a set with other languages is left out: its scores are other numbers.
    """
    trials = [record.trial for record in results.trials if record.trial.train is not None]
    of_paper = {
        t.arm.alias: t
        for t in trials
        if t.backbone in BACKBONES and t.train and t.train.mono_ratio in (1.0, 0.5, 0.0)
    }
    values = _measured(results, set(of_paper))
    if not values:
        return None
    groups: dict[tuple[Any, ...], dict[float, str]] = {}  # arms that differ in the mixture alone
    for alias, trial in of_paper.items():
        if trial.train is not None:
            rest = {k: v for k, v in trial.arm.axes.items() if k not in ("mono_ratio", "backbone")}
            key = (trial.backbone, *(f"{axis} {value_words(axis, value)}" for axis, value in rest.items()))
            groups.setdefault(key, {})[trial.train.mono_ratio] = alias
    mixtures = list(dict.fromkeys((one.mixture, one.mono_ratio) for one in published()))
    columns = ["data set", "measure"]
    columns += [f"{mixture} {what}" for mixture, _ in mixtures for what in ("published", "measured")]
    blocks = []
    for key, arms in groups.items():
        rows = _rows(BACKBONES[str(key[0])], arms, mixtures, values)
        if rows:
            blocks.append(Block(", ".join(map(str, key)), rows))
    return Table(
        "beside-the-paper",
        "Beside the published values",
        columns,
        blocks,
        _notes(list(of_paper.values()), values),
        text_columns=2,
    )


Measured = Mapping[tuple[str, str, str, str], Mapping[int, float]]
"""(arm, task, setting, measure) → seed → macro mean."""


def _measured(results: Results, arms: set[str]) -> Measured:
    cells: dict[tuple[str, int, str, str], set[tuple[str, str | None]]] = {}
    of_sets = results.cells.filter(pc.is_in(results.cells["task"], pa.array(list(CELLS))))
    for cell in of_sets.to_pylist():
        if cell["arm"] in arms:
            pair = (cell["query_lang"], cell["doc_lang"])
            cells.setdefault((cell["arm"], cell["seed"], cell["task"], cell["setting"]), set()).add(pair)
    wanted = {(one.task, one.setting, one.measure) for one in published()}
    found: dict[tuple[str, str, str, str], dict[int, float]] = {}
    for row in results.rows():
        what = (row["task"], row["setting"], row["measure"])
        pairs = cells.get((row["arm"], row["seed"], row["task"], row["setting"]), ())
        if what in wanted and len(pairs) == CELLS.get(row["task"], {}).get(row["setting"]):
            found.setdefault((row["arm"], *what), {})[row["seed"]] = row["value"]
    return found


def _rows(
    backbone: str, arms: Mapping[float, str], mixtures: Sequence[tuple[str, float]], values: Measured
) -> list[Row]:
    rows = []
    of_backbone = [one for one in published() if one.backbone == backbone]
    for task, setting, measure in dict.fromkeys((p.task, p.setting, p.measure) for p in of_backbone):
        cells = [Cell(task), Cell(f"{SETTING_WORDS[setting]} {MEASURES[measure]}")]
        scale = 1 if measure == "rank_distance" else 100
        measured = False
        for mixture, ratio in mixtures:
            theirs = next(
                p.value
                for p in of_backbone
                if (p.mixture, p.task, p.setting, p.measure) == (mixture, task, setting, measure)
            )
            seeds = values.get((arms.get(ratio, ""), task, setting, measure), {})
            cells.append(Cell(number(theirs * scale, 1), value=theirs))
            cells.append(_cell(seeds, scale))
            measured = measured or bool(seeds)
        if measured:
            rows.append(Row(cells))
    return rows


def _cell(seeds: Mapping[int, float], scale: float) -> Cell:
    if not seeds:
        return Cell("–")
    mean = sum(seeds.values()) / len(seeds)
    each = " · ".join(number(value * scale, 1) for value in seeds.values()) if len(seeds) > 1 else ""
    return Cell(number(mean * scale, 1), each, mean, seeds={str(s): v for s, v in seeds.items()})


def _notes(trials: Sequence[Trial], values: Measured) -> list[str]:
    shown = {arm for arm, _, _, _ in values}
    configs = [t.train for t in trials if t.train is not None and t.arm.alias in shown]
    differs = [f"data {', '.join(dict.fromkeys(n for c in configs for n in c.data))} (theirs is not public)"]
    for name, theirs in _STATED.items():
        ours = dict.fromkeys(getattr(c, name) for c in configs)
        if set(ours) != {theirs}:
            differs.append(f"{name} {', '.join(map(str, ours))} (theirs: {theirs})")
    return [
        f"Published: {SOURCE}, one run each, no variance stated. Measured: mean over seeds; in small, each.",
        "Points (×100), macro means over the languages of whole sets; rank distance in ranks.",
        f"Not the same training: {'; '.join(differs)}; temperature, lengths, steps and pooling are not "
        "stated there. The values stand beside each other, never against each other.",
    ]
