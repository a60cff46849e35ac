"""Published values: the ones of the paper, beside whole sets of the same arms and nothing else."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from made_sweep import make_sweep

from sweeps.published import CELLS, beside_paper, published
from sweeps.results import CELL_SCHEMA, load_results
from sweeps.tables import csv_text, latex, markdown

LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")


def test_the_published_values_are_those_of_the_paper():
    """Checks on the whole: 54 numbers, and sums of columns taken from the source by hand."""
    rows = published()
    assert len(rows) == 2 * 3 * (3 + 3 + 2 + 1)
    maps = {(r.backbone, r.mixture): 0.0 for r in rows}
    for r in rows:
        if r.measure == "map":
            maps[r.backbone, r.mixture] += r.value
    assert maps["XLM-R", "hybrid"] == pytest.approx(0.7977 + 0.7053 + 0.5927 + 0.6481 + 0.6234 + 0.5121)
    assert maps["LaBSE", "X-Y"] == pytest.approx(0.8008 + 0.7618 + 0.6791 + 0.6710 + 0.6767 + 0.5755)
    assert all(0 < r.value < 1 for r in rows if r.measure != "rank_distance")
    assert {r.mono_ratio for r in rows} == {1.0, 0.5, 0.0}


def results_of(tmp_path, *, backbone="labse", task="xquad-r", languages=LANGUAGES, ratios=(1.0, 0.5, 0.0)):
    """Results as a sweep on a parallel set would have them: 0.6 mAP everywhere, seed 2 a point more."""
    plan, store = make_sweep(tmp_path, backbones=(backbone,), mono_ratios=ratios, queries=2)
    results = load_results(plan, store)
    cells, summary = [], []
    for trial in plan.trials:
        if trial.train is None:
            continue
        pairs = {
            "mono": [(a, a) for a in languages],
            "cross": [(a, b) for a in languages for b in languages if a != b],
            "multi": [(a, None) for a in languages],
        }
        for setting, found in pairs.items():
            value = 0.6 + 0.01 * (trial.seed == 2)
            row = {"arm": trial.arm.alias, "seed": trial.seed, "task": task, "group": "in_domain"}
            row |= {"setting": setting, "measure": "map", "value": value}
            cells += [row | {"query_lang": q, "doc_lang": d, "queries": 1190} for q, d in found]
            summary.append(row)
    keep = results.cells.slice(0, 0)
    return replace(
        results,
        cells=pa.concat_tables([keep, pa.Table.from_pylist(cells, schema=CELL_SCHEMA)]),
        summary=pa.Table.from_pylist(summary),
    )


def test_measured_stands_beside_published(tmp_path):
    table = beside_paper(results_of(tmp_path))
    assert table is not None
    assert table.columns[:4] == ["data set", "measure", "X-X-mono published", "X-X-mono measured"]
    [block] = table.blocks
    mono = next(row for row in block.rows if row.cells[1].text == "monolingual mAP")
    assert [cell.text for cell in mono.cells] == [
        "xquad-r", "monolingual mAP", "80.8", "60.5", "81.7", "60.5", "80.1", "60.5",
    ]  # fmt: skip
    assert mono.cells[3].seeds == pytest.approx({"1": 0.6, "2": 0.61})
    assert all(row.cells[0].text == "xquad-r" for row in block.rows)  # nothing of MLQA-R was measured
    assert any("batch_size 16 (theirs: 100)" in note for note in table.notes)
    for text in (markdown(table), latex(table), csv_text(table)):
        assert "60.5" in text or "0.605" in text


@pytest.mark.parametrize(
    "options",
    [
        {"task": "xquad-r:test"},  # a split
        {"task": "xquad-r@pool"},
        {"languages": LANGUAGES[:9]},  # another mean
        {"backbone": "me5-small"},
        {"ratios": (1.0, 0.75)},
    ],
)
def test_other_numbers_are_never_set_beside(tmp_path, options):
    """Splits, levels, fewer languages, other backbones; of other ratios the paper's alone."""
    table = beside_paper(results_of(tmp_path, **options))
    if "ratios" in options:
        assert table is not None
        assert [cell.text for cell in table.blocks[0].rows[0].cells][4:] == ["81.7", "–", "80.1", "–"]
    else:
        assert table is None


def test_a_whole_set_has_all_ordered_pairs():
    for task, cells in CELLS.items():
        assert cells["cross"] == cells["mono"] * (cells["mono"] - 1), task
    assert np.all([cells["multi"] == cells["mono"] for cells in CELLS.values()])
