"""The report: every number in report.json, nothing in the page that needs a network, user text escaped."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from made_sweep import make_sweep, no_shift, paper_like, replan

from sweeps.report import write_report
from sweeps.statements import statements


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    backbones = ("embedded-xlmr", "embedded-labse")
    return make_sweep(folder, backbones=backbones, batch_sizes=(16, 32), shift=paper_like, noise=0.03)


@pytest.fixture(scope="module")
def out(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(*made, folder)
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
    assert page.headings[0] == "made"
    for word in (
        "Generated data",
        "query variation only",
        "No verdict: 2 seeds are too few",
        "share of training batches that are monolingual",
        "Held fixed: data embedded-qa:train; examples 1600",
        "How to read this",
        "sweeps run FILE",
    ):
        assert word in text, word
    assert text.count("<svg") == len(list((out / "figures").glob("*.svg"))) == 13


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


def test_a_report_of_the_same_store_is_the_same_report(made, out, tmp_path):
    write_report(*made, tmp_path)
    for path in sorted(out.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / path.relative_to(out)).read_bytes(), path.name


def test_an_absent_effect_is_reported_as_absent(tmp_path):
    plan, store = make_sweep(tmp_path / "store", shift=no_shift)
    write_report(plan, store, tmp_path / "report")
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert {one["kind"] for one in report["statements"]} == {"absent"}
    assert "no difference to the reference is seen" in (tmp_path / "report" / "index.html").read_text()


def test_a_present_effect_is_named_with_its_direction(report):
    found = {one["series"]: one for one in report["statements"]}
    cross = found["in_domain/embedded-qa:test/cross/map"]
    ranks = found["in_domain/embedded-qa:test/multi/rank_distance"]
    zero_shot = found["zero_shot/macro/beir/ndcg_at_10"]
    assert (cross["kind"], ranks["kind"]) == ("better", "better")
    assert {"m0 xlmr b16", "m0 labse b32"} <= set(zero_shot["worse"])
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
        {"series": "s", "arm": arm, "difference": (low + high) / 2, "lower": low, "upper": high}
        for arm, low, high in (("a", 0.01, 0.03), ("b", -0.05, -0.01), ("c", -0.02, 0.01), ("u", 0.1, 0.2))
    ]
    [one] = statements([{"untouched": ["u"]}], series, rows)
    assert (one["better"], one["worse"], one["around_zero"], one["kind"]) == (["a"], ["b"], 1, "mixed")
    assert one["text"].endswith("The largest difference is −3.0 points [−5.0, −1.0], at b.")


def test_with_enough_seeds_the_declared_comparison_gets_a_verdict(tmp_path):
    """Seeds and queries vary; m0 loses six points where one is the margin, m0.5 one and a half."""
    plan, store = make_sweep(
        tmp_path / "store", seeds=(1, 2, 3, 4), shift=paper_like, noise=0.02, mono_ratios=(1.0, 0.9, 0.0)
    )
    write_report(plan, store, tmp_path / "report")
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    found = {(row["arm"], row["task"]): row for row in report["verdicts"]["rows"]}
    assert found[("m0", "macro")]["verdict"] == "degradation"
    assert found[("m0.9", "macro")]["verdict"] == "no_degradation"
    assert found[("m0", "macro")]["upper"] < -0.01 < found[("m0.9", "macro")]["lower"]
    text = (tmp_path / "report" / "index.html").read_text()
    assert "no degradation for 1 (m0.9); degradation for 1 (m0)" in text
    assert "simultaneous bounds" in (tmp_path / "report" / "tables" / "verdict.md").read_text()


def test_missing_and_failed_trials_are_shown(tmp_path):
    plan, store = make_sweep(tmp_path / "store", seeds=(1, 2))
    failed = next(trial for trial in plan.trials if trial.label == "m0 s2")
    store.delete(f"models/{failed.train_key}")
    store.delete(f"scores/{failed.train_key}")
    store.put_failure(failed.train_key, {"reason": "killed: out of memory"})
    write_report(replan(plan, store), store, tmp_path / "report")
    text = (tmp_path / "report" / "index.html").read_text()
    assert "1 of 7 trials lack results" in text
    assert "m0 s2: failed, killed: out of memory" in text
    assert "(1 of 2 seeds)" in text


def test_a_sweep_with_nothing_done_still_has_a_report(tmp_path):
    plan, store = make_sweep(tmp_path / "store", seeds=(1,))
    store.delete("models")
    store.delete("scores")
    write_report(replan(plan, store), store, tmp_path / "report")
    text = (tmp_path / "report" / "index.html").read_text()
    assert "4 of 4 trials lack results" in text
    assert "no arms to compare" in text


def test_text_of_the_user_cannot_become_markup(tmp_path):
    plan, store = make_sweep(tmp_path / "store", seeds=(1,), mono_ratios=(1.0, 0.0))
    nasty = '<script>alert("&")</script>'
    plan = replace(plan, sweep=replace(plan.sweep, name=nasty, text=nasty, notes=(nasty,)))
    write_report(plan, store, tmp_path / "report")
    text = (tmp_path / "report" / "index.html").read_text()
    assert nasty not in text
    assert Page(text).headings[0] == nasty


def test_an_earlier_report_leaves_nothing_behind(made, tmp_path):
    stale = tmp_path / "tables" / "stale.csv"
    stale.parent.mkdir()
    stale.write_text("old")
    write_report(*made, tmp_path)
    assert not stale.exists()


@pytest.mark.browser
@pytest.mark.parametrize(("width", "columns"), [(1200, 3), (390, 1)])
def test_the_page_fits_a_desk_and_a_phone(out, tmp_path, width, columns):
    """Chromium lays it out: nothing is wider than the window, panels stand in as many columns as fit."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    probe = """<script>addEventListener("load", () => {
      const found = [...document.querySelectorAll(".panels:not(.wide) .panel")];
      const panels = found.map(panel => panel.getBoundingClientRect());
      const first = panels[0].top;
      document.body.innerHTML = "<pre id=probe>" + JSON.stringify({
        wide: document.documentElement.scrollWidth, columns: panels.filter(p => p.top === first).length,
        drawn: panels.filter(p => p.height > 100).length, inner: innerWidth }) + "</pre>";
    });</script>"""
    page = tmp_path / "page.html"
    page.write_text((out / "index.html").read_text().replace("</body>", f"{probe}</body>"))
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--dump-dom",
        f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},2000",
    ]  # fmt: skip
    done = subprocess.run([chromium, *options, page.as_uri()], capture_output=True, text=True, timeout=120)
    found = json.loads(re.search(r'<pre id="probe">(.*?)</pre>', done.stdout)[1])
    assert found["wide"] <= found["inner"]
    assert found["drawn"] == 12
    assert found["columns"] == (columns if found["inner"] == width else found["columns"])
