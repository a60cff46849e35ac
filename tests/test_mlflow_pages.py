"""MLflow's own pages of a sweep in headless Chromium, and a tracking server: what docs/mlflow.md says."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser_page import Page, chromium
from made_sweep import make_sweep, paper_like

from sweeps.tracking import project, project_report
from sweeps.tracking_address import tracking_uri
from sweeps.ui import command, environment

REPORT = {
    "index.html": b"<!doctype html><h1>made</h1><p>The answer stands here.</p>" + b"<p>more</p>" * 40,
    "report.json": b'{"verdicts": {"sentence": "The answer stands here."}}',
    "figures/curve.svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "tables/verdict.csv": b"arm,verdict\n",
}
pytestmark = pytest.mark.timeout(900)
browser = pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two backbones, two batch sizes, three ratios, three seeds, with the files of a report."""
    plan, store = make_sweep(
        tmp_path_factory.mktemp("store"), backbones=("embedded-xlmr", "embedded-labse"), batch_sizes=(16, 32),
        seeds=(1, 2, 3), shift=paper_like, noise=0.02,
    )  # fmt: skip
    for name, content in REPORT.items():
        store.put_bytes(f"sweeps/made/report/{name}", content)
    return plan, store, project(plan, store)


@contextmanager
def served(words: list[str], port: int, log: Path) -> Iterator[str]:
    """A server that answers, ended with its children afterwards."""
    with log.open("w") as out:
        process = subprocess.Popen(
            words, env=environment(), stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def pages(made, tmp_path_factory):
    _, store, _ = made
    port = free_port()
    with served(
        command(tracking_uri(store, None), port), port, tmp_path_factory.mktemp("log") / "ui"
    ) as address:
        yield address


@pytest.fixture
def page():
    with Page() as one:
        yield one


def compare_page(pages: str, experiment: str, store: object) -> str:
    """The address of the comparison of all trained arms: select them, then *Compare*."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri(store, None))
    runs = [run.info.run_id for run in client.search_runs([experiment], "tags.untouched = 'false'")]
    assert len(runs) == 12
    chosen = urllib.parse.quote(json.dumps(runs))
    return f"{pages}/#/compare-runs?runs={chosen}&experiments={urllib.parse.quote(json.dumps([experiment]))}"


@pytest.mark.browser
@browser
def test_parallel_coordinates_open_on_the_axes_as_numbers_and_the_zero_shot_mean(made, pages, page):
    _, store, done = made
    page.open(compare_page(pages, done.experiments[1], store))
    page.wait_for("Parallel Coordinates Plot")
    page.wait_for("1.00000")
    text = page.text
    head = text[text.index("Parameters:") : text.index("Clear All")].split()
    assert head == ["Parameters:", "backbone", "batch_size", "mono_ratio", "Metrics:", "zero_shot/mean"]
    ticks = page.run("[...document.querySelectorAll('.tick text')].map(e => e.textContent)")
    assert {"0.00000", "0.20000", "1.00000", "16.00000", "32.00000"} <= set(ticks)  # drawn to scale


@pytest.mark.browser
@browser
def test_the_trade_off_is_a_scatter_with_a_point_for_each_arm(made, pages, page):
    _, store, done = made
    page.open(compare_page(pages, done.experiments[1], store))
    page.wait_for("Parallel Coordinates Plot")
    page.click("[role=tab]", "Scatter Plot")
    for shown, wanted in (
        ("backbone", "zero_shot/mean"),
        ("beir/embedded_history/ndcg_at_10", "in_domain/mean"),
    ):
        page.click("[role=combobox], button", shown)
        page.click("[role=option]", wanted)
    titles = "[...document.querySelectorAll('.xtitle, .ytitle')].map(e => e.textContent)"
    page.wait_for(lambda p: sorted(p.run(titles)) == ["in_domain/mean", "zero_shot/mean"])
    points = "document.querySelector('.js-plotly-plot').data.map(trace => trace.x.length)"
    assert sum(page.run(points)) == 12


@pytest.mark.browser
@browser
def test_trials_group_by_arm_with_means_over_seeds(made, pages, page):
    _, _, done = made
    page.open(f"{pages}/#/experiments/{done.experiments[0]}/runs")
    page.wait_for("matching runs")
    page.click("button", "Group by")
    page.click("[role=menuitemcheckbox], [role=menuitem]", "arm")
    page.wait_for("Group: m0 labse b32")
    lines = page.text.splitlines()
    assert lines[lines.index("Group: m0 labse b32") + 1] == "3"  # runs of the group, its seeds
    assert "14 matching" not in page.text


@pytest.mark.browser
@browser
def test_charts_are_drawn_without_being_asked_for(made, pages, page):
    _, _, done = made
    page.open(f"{pages}/#/experiments/{done.experiments[1]}/runs?compareRunsMode=CHART")
    page.wait_for("beir/macro")
    page.wait_for(lambda p: p.run("document.querySelectorAll('.barlayer .point').length") >= 10)


@pytest.mark.browser
@browser
def test_the_report_is_shown_among_the_artifacts(made, pages, page):
    _, _, done = made
    page.open(f"{pages}/#/experiments/{done.experiments[2]}/runs")
    page.wait_for("1 matching run")
    page.click("[role=row] a", "report")
    page.wait_for("About this run")
    page.click("[role=tab]", "Artifacts")
    for name in ("figures", "tables", "report.json", "index.html"):
        page.wait_for(name)
    page.click("*", "index.html")
    inside = "[...document.querySelectorAll('iframe')].map(e => e.clientHeight).some(h => h > 300)"
    page.wait_for(lambda p: bool(p.run(inside)))


@pytest.mark.long
def test_a_real_server_shows_the_same_and_twice_is_once(made, tmp_path):
    """Runs, arms, report and registered names over HTTP, artifacts through the server."""
    from mlflow import MlflowClient

    plan, store, local = made
    port = free_port()
    options = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    options += ["--host", "127.0.0.1", "--artifacts-destination", str(tmp_path / "artifacts")]
    with served([sys.executable, "-m", "mlflow", "server", *options], port, tmp_path / "log") as address:
        first = project(plan, store, address)
        again = project(plan, store, address)
        assert (again.created, again.updated, again.unchanged) == (0, 0, first.created)
        assert first.created == local.created
        remote, here = (MlflowClient(tracking_uri=uri) for uri in (address, local.uri))
        for one, other in zip(first.experiments, local.experiments, strict=True):
            want = {run.info.run_name: (run.data.params, run.data.metrics, run.info.status)
                    for run in here.search_runs([other])}  # fmt: skip
            found = {run.info.run_name: run for run in remote.search_runs([one])}
            assert {name: (r.data.params, r.data.metrics, r.info.status) for name, r in found.items()} == want
        [report] = remote.search_runs([first.experiments[2]])
        page = remote.download_artifacts(report.info.run_id, "index.html", str(tmp_path))
        assert Path(page).read_bytes() == (Path(store.root) / "sweeps/made/report/index.html").read_bytes()
        assert project_report(plan, store, address).unchanged == 1
