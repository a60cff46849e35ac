"""The page as Chromium shows it: at two widths, light and dark, with what a hand does to it."""

import json
import re
import shutil
import subprocess

import pytest
from made_sweep import make_sweep, paper_like

from sweeps.report import write_report

pytestmark = pytest.mark.browser

PROBE = """<!doctype html><body style="margin:0">
<iframe id="frame" src="report/index.html" style="border:0;width:WIDTHpx;height:900px"></iframe>
<script>
document.getElementById("frame").addEventListener("load", event => {
  const view = event.target.contentWindow, page = view.document, found = {};
  const size = one => one.getBoundingClientRect();
  found.width = view.innerWidth;
  found.scroll = page.documentElement.scrollWidth;
  const folded = [...page.querySelectorAll("details:not([open])")];
  folded.forEach(one => { one.open = true; });
  found.unfolded = page.documentElement.scrollWidth;
  const panels = [...page.querySelectorAll(".panel svg")].map(size);
  found.panels = panels.length;
  found.drawn = panels.filter(one => one.height > 100 && one.right <= view.innerWidth).length;
  const first = [...page.querySelector("#curves .panels").children].map(size);
  found.columns = first.filter(one => one.top === first[0].top).length;
  found.text = [...page.querySelectorAll("p, li, dd, h1, h2, figcaption")].filter(one => {
    const box = size(one);
    return box.width && (box.right > view.innerWidth + 1 || box.left < -1);
  }).map(one => one.textContent.slice(0, 60));
  const style = view.getComputedStyle(page.body);
  found.colours = [style.backgroundColor, style.color];
  found.axis = view.getComputedStyle(page.querySelector(".panel svg text")).fill;

  const table = page.querySelector("#table-verdict table");
  const heads = [...table.tHead.rows[0].cells];
  const at = heads.findIndex(one => one.textContent.startsWith("Δ"));
  const order = () => [...table.tBodies[0].rows].filter(row => !row.classList.contains("block"))
    .map(row => Number(row.cells[at].dataset.value));
  found.before = order();
  heads[at].click();
  found.descending = order();
  heads[at].dispatchEvent(new view.KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
  found.ascending = order();
  found.sorted = heads[at].getAttribute("aria-sort");

  const cost = page.querySelector("#table-cost");
  const filter = cost.querySelector("input.filter");
  const shown = () => [...cost.querySelectorAll("tbody tr")].filter(row => size(row).height).length;
  found.rows = shown();
  filter.value = "M0.5";
  filter.dispatchEvent(new view.Event("input"));
  found.kept = shown();

  const point = page.querySelector("#curves .hover");
  point.dispatchEvent(new view.PointerEvent("pointerover", { bubbles: true }));
  const tip = page.getElementById("tip");
  found.tip = tip.hidden ? "" : tip.textContent;
  page.body.dispatchEvent(new view.PointerEvent("pointerover", { bubbles: true }));
  found.gone = tip.hidden;
  const pre = document.createElement("pre");
  pre.id = "probe";
  pre.textContent = JSON.stringify(found);
  document.body.replaceChildren(pre);
});
</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    plan, store = make_sweep(
        folder / "store", seeds=(1, 2, 3), batch_sizes=(16, 32), shift=paper_like, noise=0.02, queries=60
    )
    write_report(plan, store, folder / "report")
    return folder


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("width", "columns"), [(1280, 3), (390, 1)])
def test_the_page_is_whole_at_a_desk_and_on_a_phone(folder, tmp_path, width, columns, dark):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    page = folder / f"probe-{width}.html"
    page.write_text(PROBE.replace("WIDTH", str(width)))
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--dump-dom",
        "--allow-file-access-from-files", "--virtual-time-budget=10000", "--window-size=1400,1000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--user-data-dir={tmp_path}",
    ]  # fmt: skip
    done = subprocess.run([chromium, *options, page.as_uri()], capture_output=True, text=True, timeout=200)
    match = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout)
    assert match, done.stderr[-2000:]
    found = json.loads(match[1])
    assert found["width"] == width
    assert max(found["scroll"], found["unfolded"]) <= width
    assert found["text"] == []
    assert found["columns"] == columns
    assert found["panels"] == found["drawn"] == len(list((folder / "report" / "figures").glob("*.svg")))
    paper, ink = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in found["colours"])
    assert (paper < 150 < 500 < ink) if dark else (ink < 150 < 500 < paper)
    assert found["axis"] == found["colours"][1]  # figures take the page's own ink
    assert found["descending"] == sorted(found["before"], reverse=True) != found["ascending"]
    assert (found["ascending"], found["sorted"]) == (sorted(found["before"]), "ascending")
    assert 0 < found["kept"] < found["rows"]
    assert re.match(r"m[\d.]+ b16: \d", found["tip"])
    assert found["gone"]
