"""The report: every number in report.json, nothing in the page that needs a network, user text escaped."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import jsonschema
import pyarrow.parquet as pq
import pytest
from made_sweep import make_sweep, no_shift, paper_like

from sweeps.report import report_schema, write_report
from sweeps.report_effects import safe_sentence
from sweeps.report_numbers import report_numbers
from sweeps.report_page import render_page
from sweeps.report_tables import build_tables
from sweeps.results import load_results
from sweeps.statements import statements


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    return make_sweep(folder, batch_sizes=(16, 32), seeds=(1, 2, 3), shift=paper_like, noise=0.02, queries=60)


def drawn_without_figures(plan, store):
    """The numbers and the page, without the time that figures take."""
    report = report_numbers(plan, load_results(plan, store, every_measure=False))
    return report, render_page(report, build_tables(report), [])


@pytest.fixture(scope="module")
def out(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(*made, folder, with_scores=True)
    return folder


@pytest.fixture(scope="module")
def report(out):
    return json.loads((out / "report.json").read_text())


class Page(HTMLParser):
    """Visible text of tables, everything a browser would fetch, and whether tags are balanced."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.fetched: list[str] = []
        self.scripts: list[str] = []
        self.headings: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        self.fetched += [given[name] for name in ("src", "srcset", "data") if given.get(name)]
        if tag in ("link", "use", "image"):
            self.fetched += [value for name, value in attrs if name.endswith("href")]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif "table" in self.open and self.open[-1] in ("td", "small", "th"):
            self.cells.append(data)
        elif self.open[-1:] in (["h1"], ["h2"]):
            self.headings.append(data)


def test_the_page_needs_nothing_but_itself(out):
    page = Page((out / "index.html").read_text())
    assert page.open == []
    assert all(address.startswith("#") for address in page.fetched)
    text = (out / "index.html").read_text()
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)


def test_every_number_of_every_table_is_in_report_json(out, report):
    """Cells are compared with what rounding any number of report.json gives."""
    shown = {
        number.replace("−", "-").lstrip("+")
        for cell in Page((out / "index.html").read_text()).cells
        for number in re.findall(r"(?<![\w.])[+−]?\d+\.\d+(?![\w.])", cell)
    }
    known = set()

    def gather(value):
        if isinstance(value, dict):
            for one in value.values():
                gather(one)
        elif isinstance(value, list):
            for one in value:
                gather(one)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            known.update(f"{value * scale:.{decimals}f}" for scale in (1, 100) for decimals in range(4))
            known.add(f"{value:g}")

    gather({name: part for name, part in report.items() if name != "tables"})  # which holds the cells' texts
    means = [trial["train_seconds"] for trial in report["trials"] if trial["train_seconds"]]
    known.update(f"{(a + b) / 2:.1f}" for a in means for b in means)  # of two seeds
    missing = {number for number in shown if number not in known and f"-{number}" not in known}
    assert len(shown) > 200
    assert missing == set()


def test_what_the_page_must_say_is_there(out):
    text = (out / "index.html").read_text()
    page = Page(text)
    assert page.headings == [
        "made", "Verdict", "How far down mono_ratio is safe", "What the intervals say", "Results",
        "Against mono_ratio", "Against batch_size, and what depends on what", "What a zero-shot point buys",
        "Differences, set by set", "Languages", "In-domain against zero-shot", "Chosen configuration",
        "What was run", "How to read this", "How to reproduce it",
    ]  # fmt: skip
    for word in (
        "Generated data",
        "4e1f00d",
        "query clusters in every row.",
        "Does mixing cross-lingual batches into the training cost zero-shot retrieval",
        "seeds and queries varying together",
        "degradation for 2 (m0 b16, m0 b32)",
        "share of training batches that are monolingual",
        "arms (mono_ratio 1, 0.5, 0; ",
        "batch_size 16, 32",
        "Held fixed: data embedded-qa:train; examples 1600",
        "zero-shot with respect to fine-tuning",
        "sweeps run FILE",
    ):
        assert word in text, word
    kinds = ("safe", "curve", "batch", "difference", "forest", "pareto", "languages", "cost")
    drawn = [path.stem for path in (out / "figures").glob("*.svg")]
    assert {kind for kind in kinds for name in drawn if name.startswith(kind)} == set(kinds)
    assert text.count("<svg") == len(drawn)


def test_report_json_keeps_its_schema(report):
    jsonschema.validate(report, report_schema())
    for broken in (
        {**report, "surplus": 1},
        {name: value for name, value in report.items() if name != "effects"},
        {**report, "values": [{**report["values"][0], "mean": "0.5"}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, report_schema())


def test_the_safe_range_curves_and_rates_are_those_put_in(report):
    """Zero-shot falls by 6·(1 − mono_ratio)² points, cross-lingual rises by 5·(1 − mono_ratio)."""
    declared = [curve for curve in report["effects"]["mono_ratio"] if curve["declared"]]
    assert [curve["fixed"] for curve in declared] == [{"batch_size": 16}, {"batch_size": 32}]
    for curve in declared:
        for point in curve["points"]:
            truth = -0.06 * (1 - point["x"]) ** 2
            assert point["lower"] <= truth + 0.004
            assert truth - 0.004 <= point["upper"]
        assert curve["safe"]["to"] == 1.0
        assert 0.5 < curve["safe"]["crossing_lower"] < 1
        assert "xploratory" not in safe_sentence("mono_ratio", curve)
    by_batch = [curve for curve in report["effects"]["batch_size"] if curve["declared"]]
    assert all(safe_sentence("batch_size", curve).endswith("; exploratory.") for curve in by_batch)
    notes = {table["name"]: table["notes"][-1] for table in report["tables"]}
    assert notes["safe-range-mono-ratio"].endswith("A family of its own, beside that of the verdicts.")
    assert notes["safe-range-batch-size"].endswith("Exploratory.")
    assert [curve["fixed"]["mono_ratio"] for curve in by_batch] == [1.0, 0.5, 0.0]
    for one in report["effects"]["interactions"]:
        assert one["lower"] <= 0.005
        assert one["upper"] >= -0.005
    rates = {
        (one["arm"], one["gain"].split("/")[2]): one for one in report["effects"]["exchange"] if one["rate"]
    }
    assert rates["m0 b16", "cross"]["lower"] < 5 / 6 < rates["m0 b16", "cross"]["upper"]


def test_what_the_answer_hangs_on_is_shown(report):
    found = report["robustness"]
    assert {row["without"] for row in found["without_a_set"]} == {"embedded-science", "embedded-history"}
    best = {one["group"]: one for one in found["best"]}
    assert best["in_domain"]["arm"].startswith("m0 ")
    assert best["in_domain"]["rounds"] == 3
    worst = {(row["arm"], row["series"].split("/")[2]): row for row in found["worst_language"]}
    cells = [
        row["difference"]
        for row in report["languages"]
        if (row["arm"], row["series"].split("/")[2], row["reference"]) == ("m0 b16", "cross", "m1 b16")
    ]
    assert len(cells) == 6
    assert worst["m0 b16", "cross"]["difference"] == min(cells)
    on_front = {one["arm"]: one for one in report["pareto"]["arms"]}
    assert on_front["untouched"]["probability"] < 0.05
    assert max(one["probability"] for one in on_front.values()) > 0.5


def test_costs_are_means_and_least_times_of_the_trials_that_are_done(report):
    first = report["trials"][0]
    done = {**first, "state": "done", "train_seconds": 9.0, "evaluate_seconds": 4.0}
    slower = {**done, "train_seconds": 11.0, "evaluate_seconds": 8.0}
    cut_off = {**done, "state": "incomplete", "train_seconds": 10.0, "evaluate_seconds": 0.5}
    others = [trial for trial in report["trials"] if trial["arm"] != first["arm"]]
    made = {**report, "trials": [done, slower, cut_off, *others]}
    (cost,) = (table for table in build_tables(made) if table.name == "cost")
    (cells,) = (
        [c.text for c in row.cells] for row in cost.blocks[0].rows if row.cells[0].text == first["arm"]
    )
    assert cells[2:6] == ["10", "9", "6", "4"]


def test_seeds_and_clusters_have_columns_where_rows_differ(report):
    first, *others = report["verdicts"]["rows"]
    made = {**report, "verdicts": {**report["verdicts"], "rows": [{**first, "seeds": 2}, *others]}}
    for one, wanted in ((report, False), (made, True)):
        (table,) = (table for table in build_tables(one) if table.name == "verdict")
        assert ("seeds" in table.columns) == ("query clusters" in table.columns) == wanted
        assert any("in every row" in note for note in table.notes) != wanted


def test_tables_and_figures_are_files_in_every_form(out, report):
    names = {table["name"] for table in report["tables"]}
    assert {
        "in-domain-embedded-qa-test",
        "zero-shot-ndcg-at-10",
        "mixture",
        "cost",
        "data",
        "choice",
    } <= names
    for suffix in ("md", "csv", "tex"):
        assert {path.stem for path in (out / "tables").glob(f"*.{suffix}")} == names
    for figure in report["figures"]:
        assert (out / "figures" / f"{figure['name']}.svg").read_text().startswith("<?xml")
        assert (out / "figures" / f"{figure['name']}.pdf").read_bytes().startswith(b"%PDF")


def test_an_absent_effect_is_reported_as_absent(tmp_path):
    report, text = drawn_without_figures(*make_sweep(tmp_path, shift=no_shift, seeds=(1, 2, 3), noise=0.02))
    assert {one["kind"] for one in report["statements"]} == {"absent"}
    assert "no difference to the reference is seen" in text


def test_a_present_effect_is_named_with_its_direction(report):
    found = {one["series"]: one for one in report["statements"]}
    cross = found["in_domain/embedded-qa:test/cross/map"]
    ranks = found["in_domain/embedded-qa:test/multi/rank_distance"]
    zero_shot = found["zero_shot/macro/beir/ndcg_at_10"]
    assert (cross["kind"], ranks["kind"]) == ("better", "better")
    assert {"m0 b16", "m0 b32"} <= set(zero_shot["worse"])
    assert zero_shot["better"] == []
    assert ranks["largest"]["difference"] < 0


def test_statements_count_intervals_and_nothing_else():
    series = [
        {
            "id": "s", "group": "zero_shot", "task": "t", "setting": "beir", "measure": "ndcg_at_10",
            "title": "t nDCG@10", "points": True, "better": "higher", "primary": True,
        }
    ]  # fmt: skip
    rows = [
        {"series": "s", "arm": arm, "difference": (low + high) / 2, "all_lower": low, "all_upper": high}
        for arm, low, high in (("a", 0.01, 0.03), ("b", -0.05, -0.01), ("c", -0.02, 0.01), ("u", 0.1, 0.2))
    ]
    [one] = statements([{"untouched": ["u"]}], series, rows)
    assert (one["better"], one["worse"], one["around_zero"], one["kind"]) == (["a"], ["b"], 1, "mixed")
    assert one["text"].endswith("The largest of these differences is −3.0 points [−5.0, −1.0], at b.")


def test_with_enough_seeds_the_declared_comparison_gets_a_verdict(tmp_path):
    """Seeds and queries vary; m0 loses six points where one is the margin, m0.9 next to nothing."""
    plan, store = make_sweep(
        tmp_path, seeds=(1, 2, 3, 4), shift=paper_like, noise=0.02, mono_ratios=(1.0, 0.9, 0.0), queries=120
    )
    report, text = drawn_without_figures(plan, store)
    found = {(row["arm"], row["task"]): row for row in report["verdicts"]["rows"]}
    assert found[("m0", "macro")]["verdict"] == "degradation"
    assert found[("m0.9", "macro")]["verdict"] == "no_degradation"
    assert found[("m0", "macro")]["upper"] < -0.01 < found[("m0.9", "macro")]["lower"]
    assert "no degradation for 1 (m0.9); degradation for 1 (m0)" in text
    assert "Shown to be safe down to mono_ratio 0.9 (the sequence stopped at 0: degradation)" in text


def test_the_scores_beside_the_report_give_its_verdicts_again(made, out, report):
    from sweeps.pairing import read_scores
    from sweeps.verdict import judge_sweep

    plan, _ = made
    judged = judge_sweep(
        read_scores(pq.read_table(out / "scores.parquet"), measures=["ndcg_at_10"]), plan.sweep
    )
    rows = [row for row in report["verdicts"]["rows"] if row["task"] == "macro"]
    assert rows
    for row in rows:
        same = judged.of(row["arm"], "macro", "ndcg_at_10", "zero_shot")
        assert (row["verdict"], row["lower"], row["upper"]) == (same.verdict, same.lower, same.upper)


NASTY = '<script>alert("&")</script> $x_1$ \\'


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    """A small sweep whose name, notes and arms are hostile, and its report."""
    folder = tmp_path_factory.mktemp("nasty")
    plan, store = make_sweep(folder / "store", seeds=(1,), mono_ratios=(1.0, 0.0), languages=("en", "de"))
    arms = tuple(
        replace(a, alias=a.alias + NASTY, reference=a.reference and a.reference + NASTY) for a in plan.arms
    )
    named = {arm.alias.removesuffix(NASTY): arm for arm in arms}
    plan = replace(
        plan,
        sweep=replace(plan.sweep, name=NASTY, text=NASTY, notes=(NASTY,)),
        arms=arms,
        trials=tuple(replace(trial, arm=named[trial.arm.alias]) for trial in plan.trials),
    )
    write_report(plan, store, folder / "report")
    return plan, store, folder / "report"


def test_text_of_the_user_cannot_become_markup(nasty):
    _, _, out = nasty
    text = (out / "index.html").read_text()
    assert "<script>alert" not in text
    assert Page(text).headings[0] == NASTY
    assert Page(text).open == []
    for path in out.rglob("*.tex"):
        assert NASTY not in path.read_text()
    for path in out.rglob("*.svg"):
        ElementTree.parse(path)
        assert "<script" not in path.read_text()
    assert all(re.fullmatch(r"[a-z0-9.-]+", path.name) for path in out.rglob("*.*"))


def test_a_report_of_the_same_store_is_the_same_report_and_an_earlier_one_leaves_nothing(nasty, tmp_path):
    plan, store, out = nasty
    stale = tmp_path / "tables" / "stale.csv"
    stale.parent.mkdir()
    stale.write_text("old")
    write_report(plan, store, tmp_path)
    assert not stale.exists()
    for path in sorted(out.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / path.relative_to(out)).read_bytes(), path.name
