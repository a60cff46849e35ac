"""Languages that a tokenizer cannot see: named, set apart, and means with and without them."""

from dataclasses import replace

import pytest
from made_sweep import make_sweep, paper_like

from sweeps.report_coverage import coverage_rows, means_apart
from sweeps.report_numbers import report_numbers
from sweeps.report_tables import build_tables
from sweeps.results import Results, load_results


def row(language: str, unknown: float = 0.0, tied: int = 0) -> dict[str, object]:
    return {
        "language": language, "candidates": 80, "unknown_share": unknown, "indistinguishable": 2 * tied,
        "queries": 40, "tied_queries": tied,
    }  # fmt: skip


def covered(results: Results, rows: list[dict[str, object]]) -> Results:
    """The results as if measuring had recorded this coverage for the in-domain test set."""
    trials = []
    for record in results.trials:
        measured = {name: dict(how) for name, how in record.measured.items()}
        if "embedded-qa:test" in measured:
            measured["embedded-qa:test"]["coverage"] = rows
        trials.append(replace(record, measured=measured))
    return replace(results, trials=tuple(trials))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    plan, store = make_sweep(tmp_path_factory.mktemp("store"), shift=paper_like, noise=0.02)
    return plan, load_results(plan, store)


@pytest.mark.parametrize(
    ("unknown", "tied", "apart"), [(0.0, 0, False), (0.25, 2, False), (0.26, 0, True), (0.0, 3, True)]
)
def test_a_language_is_set_apart_by_what_its_tokens_tell(made, unknown, tied, apart):
    plan, results = made
    rows = coverage_rows(covered(results, [row("ar", unknown, tied), row("en")]))
    assert {(one["language"], one["apart"]) for one in rows} == {("ar", apart), ("en", False)}
    assert {(one["backbone"], one["task"]) for one in rows} == {("embedded-xlmr", "embedded-qa:test")}
    assert bool(means_apart(plan, results, rows)) == apart


def test_means_without_a_language_leave_out_every_cell_it_is_part_of(made):
    plan, results = made
    rows = coverage_rows(covered(results, [row("ar", 0.5), row("de"), row("en")]))
    found = {(one["arm"], one["setting"]): one for one in means_apart(plan, results, rows)}
    cells = [
        cell
        for cell in results.cells.to_pylist()
        if (cell["task"], cell["group"], cell["measure"]) == ("embedded-qa:test", "in_domain", "map")
    ]
    assert len(found) == len(plan.arms) * 3
    for (arm, setting), one in found.items():
        own = [cell for cell in cells if (cell["arm"], cell["setting"]) == (arm, setting)]
        seen = [cell for cell in own if "ar" not in (cell["query_lang"], cell["doc_lang"])]
        assert 0 < len(seen) < len(own)
        assert one["apart"] == ["ar"]
        assert one["all"] == pytest.approx(sum(c["value"] for c in own) / len(own))
        assert one["without"] == pytest.approx(sum(c["value"] for c in seen) / len(seen))


def test_the_report_names_them(made):
    plan, results = made
    report = report_numbers(plan, covered(results, [row("ar", 0.5, 9), row("de"), row("en")]))
    tables = {table.name: table for table in build_tables(report)}
    cells = [cell.text for cell in tables["coverage"].blocks[0].rows[0].cells]
    assert cells == ["ar (set apart)", "80", "50.0", "18", "9 of 40"]
    assert {row.cells[2].text for row in tables["means-apart"].blocks[0].rows} == {"ar"}
    plain = report_numbers(plan, results)
    assert {"coverage", "means-apart"}.isdisjoint(table.name for table in build_tables(plain))
