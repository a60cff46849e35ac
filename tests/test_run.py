"""Sweeps that are really run by the command, killed, and run again."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_sweep import write_small_sweep
from sweep_process import (
    alive,
    all_scores,
    command,
    descendants,
    environment,
    finished,
    planned,
    run,
    run_and,
    tracked,
)

from hybrid.errors import BadInput
from sweeps.attempts import attempts_at
from sweeps.lease import Lease, holder, lease_token
from sweeps.plan import make_plan, prepare_sweep
from sweeps.run import run_sweep
from sweeps.spec import read_spec
from sweeps.store import Store
from sweeps.trial import run_trial


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_killed_and_run_again_it_gives_what_it_would_have_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL to the driver: nothing finished is run again, scores are those of a run in this process."""
    spec, data_root = write_small_sweep(tmp_path)
    store = tmp_path / "store"
    below: list[int] = []

    def kill(process: "subprocess.Popen[bytes]") -> None:
        below.extend(descendants(process.pid))
        process.kill()

    monkeypatch.chdir(tmp_path)  # paths may be relative
    arguments = command(store, spec, Path("data"), "--max-concurrent", "1")
    run_and(kill, lambda: any(store.glob("models/*/DONE")), arguments)
    before = {path: path.stat().st_mtime_ns for path in store.glob("models/*/DONE")}
    code, ended, log = run(store, spec, data_root)
    assert code == 0, log
    assert ended["failed"] == []
    plan = planned(store, spec, data_root)
    assert len(plan.done) == len(plan.trials) == 5
    assert {path: path.stat().st_mtime_ns for path in before} == before
    code, ended, log = run(store, spec, data_root)
    assert (code, ended["ran"]) == (0, 0), log

    alone = tmp_path / "alone"
    for trial in plan.trials:
        run_trial(trial, Store(alone), data_root)
    assert all_scores(plan, store) == all_scores(plan, alone)
    assert alive(below, seconds=90) == []


@pytest.mark.long
def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path, examples=2000)
    store = tmp_path / "store"
    killed: list[int] = []

    def kill_worker(process: "subprocess.Popen[bytes]") -> None:
        attempts = [json.loads(path.read_text()) for path in store.glob("models/*/attempts.json")]
        running = [one[-1]["pid"] for one in attempts if one[-1]["state"] == "cut off"]
        os.kill(running[0], signal.SIGKILL)
        killed.append(running[0])
        process.wait(timeout=200)

    code = run_and(
        kill_worker, lambda: any(store.glob("models/*/attempts.json")), command(store, spec, data_root)
    )
    plan = planned(store, spec, data_root)
    assert killed
    assert code == 0
    assert len(plan.done) == 5
    assert max(len(attempts_at(Store(store), trial)) for trial in plan.trials) == 2


@pytest.mark.long
def test_a_trial_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    """A learning rate that overflows: the trial's loss is no number."""
    spec, data_root = write_small_sweep(tmp_path)
    text = spec.read_text().replace("batch_size: [4]", "learning_rate: [5.0e-5, 1.0e+30]")
    spec.write_text(text.replace("examples: 40", "examples: 40, batch_size: 4, clip_norm: 1.0e+30"))
    store = tmp_path / "store"
    code, ended, log = run(store, spec, data_root)
    assert code == 1, log
    plan = planned(store, spec, data_root)
    assert len(plan.failed) == len(ended["failed"]) == 4
    assert len(plan.done) == 5
    for trial in plan.failed:
        failure = plan.failures[trial.train_key or ""]
        assert "loss" in failure["reason"]
        assert "Traceback" in failure["log"]
        assert failure["attempts"] == 1  # it would diverge again
    code, ended, log = run(store, spec, data_root)  # left alone
    assert (code, ended["ran"]) == (1, 0), log
    assert [plan.failures[t.train_key or ""] for t in plan.failed] == [
        planned(store, spec, data_root).failures[t.train_key or ""] for t in plan.failed
    ]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments_it_is_finished_by_the_same_command(tmp_path: Path, seed: int) -> None:
    """SIGKILL to the driver, or to a process below it, again and again: in the end nothing shows of it."""
    spec, data_root = write_small_sweep(tmp_path, examples=400, more="limits: {retries: 4}")
    store, random_ = tmp_path / "store", random.Random(seed)
    done: dict[str, int] = {}
    below: set[int] = set()
    for kills in range(12):
        process = subprocess.Popen(
            command(store, spec, data_root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(random_.uniform(4, 16))
        below.update(descendants(process.pid))
        workers = [pid for pid in below if _name(pid).startswith("ray::")]
        driver = kills % 2 == 0 or not workers
        if process.poll() is None:
            os.kill(process.pid if driver else random_.choice(workers), signal.SIGKILL)
        if driver:
            process.kill()
        ended = process.wait(timeout=250) == 0
        assert done.items() <= finished(store).items()  # nothing finished was done again
        done = finished(store)
        if ended:
            break
    code, _, log = run(store, spec, data_root, "--retry-failed")
    assert code == 0, log
    assert done.items() <= finished(store).items()
    plan = planned(store, spec, data_root)
    assert len(plan.done) == len(plan.trials) == 5
    whole = tmp_path / "whole"
    assert run(whole, spec, data_root)[0] == 0
    assert all_scores(plan, store) == all_scores(plan, whole)
    assert alive(below, seconds=90) == []
    assert tracked(store) == {"small": ["FINISHED"] * 5, "small · arms": ["FINISHED"] * 3}


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_stops_in_seconds_and_says_how_to_go_on(tmp_path: Path, number: int) -> None:
    spec, data_root = write_small_sweep(tmp_path, examples=100_000)
    store = tmp_path / "store"
    process = subprocess.Popen(
        command(store, spec, data_root), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not any(store.glob("models/*/attempts.json")):
        assert process.poll() is None
        time.sleep(0.1)
    below = descendants(process.pid)
    start = time.monotonic()
    process.send_signal(number)
    time.sleep(0.4)
    if number != signal.SIGTERM:  # whose handler Ray takes away as it ends
        process.send_signal(number)  # somebody is impatient
    answer, log = process.communicate(timeout=60)
    assert time.monotonic() - start < 20
    assert process.returncode == 130, log
    message = json.loads(answer)["message"]
    assert "0 of 5 trials of small are saved in" in message
    goes_on = shlex.join(["sweeps", *command(store, spec, data_root)[3:]])  # behind `python -m sweeps`
    assert f"`{goes_on}` goes on from there" in message
    assert alive(below) == []
    assert holder(Store(store), "small") is None


@pytest.mark.long
def test_of_two_drivers_at_once_one_runs_the_sweep_and_the_other_is_told(tmp_path: Path) -> None:
    """The second is refused with who holds the sweep; the first is not disturbed; no trial runs twice."""
    spec, data_root = write_small_sweep(tmp_path, examples=400)
    store = tmp_path / "store"
    prepare_sweep(read_spec(str(spec), [], data_root), data_root)
    both = [
        subprocess.Popen(
            command(store, spec, data_root), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    answers = [json.loads(one.communicate(timeout=250)[0]) for one in both]
    first, second = (both[0], both[1]) if both[0].returncode == 0 else (both[1], both[0])
    assert (first.returncode, second.returncode) == (0, 2)
    (sentence,) = answers[both.index(second)]["mistakes"]
    assert f"is being run by process {first.pid} on" in sentence
    plan = planned(store, spec, data_root)
    assert len(plan.done) == 5
    assert [len(attempts_at(Store(store), trial)) for trial in plan.trials] == [1] * 5
    assert tracked(store) == {"small": ["FINISHED"] * 5, "small · arms": ["FINISHED"] * 3}


@pytest.mark.long
def test_trials_of_another_sweep_that_runs_in_the_store_come_last(tmp_path: Path) -> None:
    """Two sweeps that share arms do not train them at once; one that has them in time is made use of."""
    spec, data_root = write_small_sweep(tmp_path)
    prepare_sweep(read_spec(str(spec), [], data_root), data_root)
    plan, store = planned(tmp_path / "store", spec, data_root), Store(tmp_path / "store")
    first = next(trial for trial in plan.trials if trial.train is not None)
    rows = [{"trial": "", "seed": 1, "train_key": first.train_key, "scores": {}}]
    with Lease(store, "other"):
        plan_of_it = {"trials": rows, "run": lease_token(store, "other")}
        store.put_json("sweeps/other/plan.json", plan_of_it)
        code, _, log = run(tmp_path / "store", spec, data_root, "--max-concurrent", "1")
    assert code == 0, log
    assert "1 of the trials left are also trials of other, which runs in this store now" in log
    began = {trial.train_key: attempts_at(store, trial)[0]["started"] for trial in plan.trials}
    assert max(began, key=lambda key: began[key]) == first.train_key


@pytest.mark.long
def test_files_cut_short_or_changed_are_named_and_made_again(tmp_path: Path) -> None:
    """Scores, weights, a record, attempts, usage, the digests and a marker; then the scores are as before."""
    spec, data_root = write_small_sweep(tmp_path)
    store = tmp_path / "store"
    assert run(store, spec, data_root)[0] == 0
    plan = planned(store, spec, data_root)
    before = all_scores(plan, store)
    one, two, three = (trial.train_key for trial in plan.trials[:3])
    scores = sorted(store.glob(f"scores/{one}/*.parquet"))
    scores[0].write_bytes(scores[0].read_bytes()[:-9])
    scores[1].write_bytes(b"")
    changed = store / f"models/{two}/mixture.json"
    changed.write_text(changed.read_text() + " ")
    (store / f"models/{three}/DONE").write_text("{cut")
    for path in ("sweeps/small/usage.json", "sweeps/small/digests.json", f"models/{one}/attempts.json"):
        (store / path).write_bytes(b'{"')
    code, ended, log = run(store, spec, data_root)
    assert code == 0, log
    assert "Traceback" not in log
    for named in (scores[0].name, scores[1].name, "mixture.json", f"{three}/DONE"):
        assert named in log
    assert ended["ran"] == 3
    assert all_scores(planned(store, spec, data_root), store) == before
    assert run(store, spec, data_root)[1]["ran"] == 0


@pytest.mark.long
def test_a_thousand_trivial_trials(tmp_path: Path) -> None:
    """Scheduling alone: 1,000 trials that do nothing all end; the time is printed, not asserted."""
    script = Path(__file__).with_name("trivial_trials.py")
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(script), "1000", str(tmp_path)],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    seconds = time.monotonic() - start
    print(f"1,000 trivial trials: {seconds:.0f} s at load {os.getloadavg()[0]:.1f}")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "store").glob("models/*/DONE"))) == 1000


def test_what_no_machine_has_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path, more="resources: [{gpu: 3}]")
    store = tmp_path / "store"
    code, answer, log = run(store, spec, data_root)
    assert code == 2, log
    (sentence,) = answer["mistakes"]
    assert "3 GPUs" in sentence
    assert not list(store.rglob("*.json"))


def test_impossible_batches_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    sweep = read_spec(str(spec), ["axes.grid.batch_size=[500]"], data_root)
    with pytest.raises(BadInput, match="500"):
        run_sweep(sweep, Store(tmp_path / "store"), data_root, track=False)
    assert not [path for path in Store(tmp_path / "store").list() if not path.startswith("tmp/")]


def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    with pytest.raises(BadInput, match="cannot be written"):
        run_sweep(read_spec(str(spec), [], data_root), Store("/proc/store"), data_root, track=False)


def test_damaged_scores_are_named_and_planned_again(tmp_path: Path) -> None:
    from sweeps.preflight import sound_plan

    spec, data_root = write_small_sweep(tmp_path)
    sweep, store = read_spec(str(spec), [], data_root), Store(tmp_path / "store")
    prepare_sweep(sweep, data_root)
    trial = make_plan(sweep, store, data_root).trials[-1]
    run_trial(trial, store, data_root)
    path = next((tmp_path / "store" / "scores").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-3])
    assert trial in make_plan(sweep, store, data_root).done
    said: list[str] = []
    plan = sound_plan(sweep, store, data_root, said.append)
    assert path.name in said[0]
    assert [t.label for t in plan.done] == []
