"""Every machine has the data and backbones of a sweep, or fetches them once, or says what it lacks."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_files import write_beir
from nodes import nodes
from small_sweep import write_small_sweep
from sweep_process import planned
from test_data_download import Server, zipped

import sweeps.node_checks
from sweeps.lease import Lease
from sweeps.node_checks import Unfit, expected, lacking, refuse_other_machine
from sweeps.plan import make_plan, prepare_sweep
from sweeps.spec import read_spec
from sweeps.store import Store
from sweeps.trial import Progress

SERVED = """\
import os
from dataclasses import replace
from hybrid.data.catalog import DATASETS
DATASETS["nfcorpus"] = replace(DATASETS["nfcorpus"], archive=os.environ["SERVED"])
"""

ALL_UNFIT = """
import sys, time
from pathlib import Path
from sweeps.budget import Budget
from sweeps.cluster import ray_cluster
from sweeps.spec_sections import Limits
from sweeps.store import Store
from sweeps.unfit_nodes import UnfitNodes

budget = Budget(Limits(), Store(Path(sys.argv[1])), "a", [])
with ray_cluster(None):
    import ray
    node = ray.get_runtime_context().get_node_id()
    unfit = UnfitNodes(budget, print)
    for _ in range(2):
        unfit.found({"node": node, "mistakes": ["node x: faq is not there"]}, {"CPU": 1.0})
    budget.exhausted()
    print(f"{budget.reached}, {budget.remedy}")
    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU", 0.0) and time.monotonic() < deadline:
        time.sleep(0.1)
    print(ray.available_resources().get("CPU", 0.0))
"""


@pytest.fixture(autouse=True)
def away_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("HYBRID_DATA_ROOT", raising=False)


def test_a_machine_with_the_same_files_elsewhere_is_fit_and_another_says_all_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    monkeypatch.setenv("HYBRID_DATA_ROOT", str(data_root))
    sweep, store = read_spec(str(spec), []), Store(tmp_path / "store")
    prepare_sweep(sweep)
    plan = make_plan(sweep, store)
    other = Path(shutil.copytree(data_root, tmp_path / "other"))
    with Lease(store, sweep.name):
        wanted = expected(plan, plan.trials, store, None)
        tasks = {(name, "task") for name in ("faq:dev", "faq:test", "bugs:train", "bugs")}
        assert {(held.name, held.kind) for held in wanted.data} == {("faq:train", "pairs"), *tasks}
        monkeypatch.setenv("HYBRID_DATA_ROOT", str(other))
        corpus = other / "bugs" / "corpus.jsonl"
        lines = corpus.read_text().splitlines(keepends=True)
        corpus.write_text("".join(reversed(lines)))  # the same content
        assert lacking(wanted) == []
        told: list[Progress] = []
        refuse_other_machine(wanted, told.append)
        assert [one.doing for one in told] == [
            *(f"checking {held.name}" for held in wanted.data),
            f"checking {tmp_path / 'backbone'}",
        ]
        corpus.write_text("".join(lines).replace("document 1", "paper 1"))
        (other / "faq" / "de.json").unlink()
        weights = tmp_path / "backbone" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
        said = lacking(wanted)
        monkeypatch.setattr(sweeps.node_checks, "_asked", set())
        with pytest.raises(Unfit) as refused:
            refuse_other_machine(wanted)
    *data, backbone = said
    assert any(
        f"bugs: what is in {other}/bugs is not what" in one and "(corpus.jsonl)" in one for one in data
    )
    assert any(str(other / "faq") in one for one in data)
    assert backbone.startswith(f"backbone '{tmp_path / 'backbone'}': its files differ")
    assert [one.partition(": ")[2] for one in refused.value.mistakes] == said


def test_a_machine_that_comes_later_and_sees_another_store_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    prepare_sweep(read_spec(str(spec), [], data_root), data_root)
    plan, store = planned(tmp_path / "store", spec, data_root), Store(tmp_path / "store")
    monkeypatch.setattr(sweeps.node_checks, "_asked", set())
    with Lease(store, "small"):
        wanted = expected(plan, plan.trials, store, data_root)
        shutil.move(tmp_path / "store" / "sweeps", tmp_path / "elsewhere")
        with pytest.raises(Unfit, match="is another one there"):
            refuse_other_machine(wanted)
        shutil.move(tmp_path / "elsewhere", tmp_path / "store" / "sweeps")
        refuse_other_machine(wanted)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that holds nfcorpus, where every Python that starts from now on fetches it."""
    (tmp_path / "patched").mkdir()
    (tmp_path / "patched" / "sitecustomize.py").write_text(SERVED)
    server = Server()
    server.bodies["/nfcorpus.zip"] = zipped(write_beir(tmp_path / "source" / "nfcorpus"), "nfcorpus")
    monkeypatch.setenv("SERVED", f"{server.url}/nfcorpus.zip")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "patched"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HYBRID_OFFLINE", raising=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def run(spec: Path, store: Path, *more: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "sweeps", "run", str(spec), "--yes", "--store", str(store), *more]
    return subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **settings})


@pytest.mark.long
@pytest.mark.timeout(900)
def test_data_are_fetched_once_by_each_machine(tmp_path: Path, served: Server) -> None:
    """Two nodes of two slots and the driver, a cache each: three requests, whatever else is asked for."""
    spec, data_root = write_small_sweep(tmp_path)
    spec.write_text(spec.read_text().replace("zero_shot: [bugs]", "zero_shot: [bugs, nfcorpus]"))
    caches = [tmp_path / name for name in ("first", "second")]
    with nodes() as several:
        for cache in caches:
            several.add(cpus=2, HYBRID_CACHE=str(cache))
        options = ("--data-root", str(data_root), "--address", several.address)
        done = run(spec, tmp_path / "store", *options, **several.environment)
    assert done.returncode == 0, done.stderr
    assert "5 of 5 trials" in done.stdout
    for cache in (*caches, tmp_path / "cache"):
        assert (cache / "data" / "nfcorpus" / "corpus.jsonl").is_file()
    assert len(served.ranges) == 3


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("served")
def test_what_machines_lack_is_said_before_the_first_trial_all_at_once(tmp_path: Path) -> None:
    """One node is fit; another has other files and may not fetch."""
    spec, data_root = write_small_sweep(tmp_path)
    spec.write_text(spec.read_text().replace("zero_shot: [bugs]", "zero_shot: [bugs, nfcorpus]"))
    other = Path(shutil.copytree(data_root, tmp_path / "other"))
    (other / "bugs" / "queries.jsonl").write_text('{"_id": "q3", "text": "what?"}\n')
    shutil.rmtree(other / "faq")
    with nodes() as several:
        several.add(HYBRID_DATA_ROOT=str(data_root))
        several.add(HYBRID_DATA_ROOT=str(other), HYBRID_CACHE=str(tmp_path / "second"), HYBRID_OFFLINE="1")
        environment = {**several.environment, "HYBRID_DATA_ROOT": str(data_root)}
        done = run(spec, tmp_path / "store", "--address", several.address, **environment)
    assert done.returncode == 2, done.stdout + done.stderr
    said = "\n".join(line for line in done.stderr.splitlines() if line.startswith("node "))
    assert said, done.stderr
    assert "nfcorpus is not under the data root" in said
    assert "HYBRID_OFFLINE is set" in said
    assert f"bugs: what is in {other}/bugs is not what the sweep was planned with (queries.jsonl)" in said
    assert f"faq is not there: copy {data_root}/faq to that machine, under its data root {other}" in said
    assert not (tmp_path / "store" / "models").exists()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_machine_that_comes_late_without_the_data_takes_no_trial_down(tmp_path: Path) -> None:
    """A failure of one trial would end the run; the late machine has more slots than the one that is fit."""
    spec, data_root = write_small_sweep(
        tmp_path, examples=2_000, more="limits: {max_consecutive_failed: 1, retries: 0}"
    )
    spec.write_text(spec.read_text().replace("seeds: [1, 2]", "seeds: [1, 2, 3, 4]"))
    other = Path(shutil.copytree(data_root, tmp_path / "other"))
    shutil.rmtree(other / "faq")
    store = tmp_path / "store"
    words = [sys.executable, "-m", "sweeps", "run", str(spec), "--yes", "--store", str(store)]
    with nodes() as several:
        several.add(HYBRID_DATA_ROOT=str(data_root))
        environment = {**several.environment, "HYBRID_DATA_ROOT": str(data_root)}
        with subprocess.Popen(
            [*words, "--address", several.address],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while not list(store.glob("models/*/attempts.json")):
                assert process.poll() is None, process.communicate()
                time.sleep(0.1)
            several.add(cpus=3, HYBRID_DATA_ROOT=str(other), HYBRID_CACHE=str(tmp_path / "second"))
            answer, log = process.communicate(timeout=600)
    assert process.returncode == 0, answer + log
    assert "9 of 9 trials" in answer
    said = [line for line in (answer + log).splitlines() if "it gets no more trials in this run" in line]
    assert len(said) == 1, answer + log
    assert "faq is not there: copy" in said[0]
    assert not list(store.glob("models/*/failure.json"))


@pytest.mark.long
def test_a_run_ends_where_no_machine_is_fit_and_an_unfit_one_takes_nothing_more(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALL_UNFIT, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said, reached, free = done.stdout.splitlines()[-3:]
    assert said == "node x: faq is not there; it gets no more trials in this run"
    assert reached == "no machine is fit: node x: faq is not there, with that mended"
    assert free == "0.0"
