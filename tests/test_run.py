"""Sweeps that are really run by the command, killed, and run again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_sweep import write_small_sweep
from trivial_trials import trivial_trials

from hybrid.errors import BadInput
from sweeps.attempts import Attempts, attempts_at
from sweeps.budget import Budget
from sweeps.lease import Lease, holder
from sweeps.plan import Plan, make_plan
from sweeps.run import run_sweep
from sweeps.spec import read_spec
from sweeps.spec_sections import Limits
from sweeps.status import Board, duration, status_lines, sweep_status
from sweeps.store import Store
from sweeps.trial import run_trial


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def command(store: Path, spec: Path, data_root: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "sweeps", "run", str(spec), "--yes", "--json"),
        *("--store", str(store), "--data-root", str(data_root), *more),
    ]


def run(store: Path, spec: Path, data_root: Path, *more: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(command(store, spec, data_root, *more), capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


def run_and(
    act: Callable[["subprocess.Popen[bytes]"], None], when: Callable[[], bool], arguments: list[str]
) -> int:
    """Start a command, do something to it as soon as `when` holds, and wait for its end."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not when() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert process.poll() is None, "it ended before it could be interrupted"
    act(process)
    return process.wait(timeout=60)


def planned(store: Path, spec: Path, data_root: Path) -> Plan:
    return make_plan(read_spec(str(spec), [], data_root), Store(store), data_root)


def all_scores(plan: Plan, store: Path) -> dict[str, Any]:
    return {
        f"{trial.label} {task}": Store(store).scores(trial.train_key or "", key or "").to_pylist()
        for trial in plan.trials
        for task, key in trial.scores.items()
    }


def descendants(pid: int) -> list[int]:
    """Processes below `pid`, workers of Ray among them."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, listed.splitlines())}
    found = [pid]
    for above in found:
        found += [child for child, parent in parents.items() if parent == above]
    return found[1:]


def alive(pids: list[int]) -> list[int]:
    """Those still running. Two agents of Ray end by themselves, a minute after a killed driver."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            name = Path(f"/proc/{pid}/cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z" and not name.startswith(("ray::DashboardAgent", "ray::RuntimeEnvAgent")):
            found.append(pid)
    return found


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
    assert alive(below) == []


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
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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
    answer, log = process.communicate(timeout=60)
    assert time.monotonic() - start < 20
    assert process.returncode == 130, log
    assert "the same command goes on" in json.loads(answer)["message"]
    assert alive(below) == []
    assert holder(Store(store), "small") is None


@pytest.mark.long
def test_a_thousand_trivial_trials(tmp_path: Path) -> None:
    """Scheduling alone: 1,000 trials that do nothing all end; the time is printed, not asserted."""
    script = Path(__file__).with_name("trivial_trials.py")
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(script), "1000", str(tmp_path)], capture_output=True, text=True
    )
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
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    with pytest.raises(BadInput, match="cannot be written"):
        run_sweep(read_spec(str(spec), [], data_root), Store("/proc/store"), data_root, track=False)


def test_damaged_scores_are_named_and_planned_again(tmp_path: Path) -> None:
    from sweeps.plan import prepare_sweep
    from sweeps.run import _checked

    spec, data_root = write_small_sweep(tmp_path)
    sweep, store = read_spec(str(spec), [], data_root), Store(tmp_path / "store")
    prepare_sweep(sweep, data_root)
    trial = make_plan(sweep, store, data_root).trials[-1]
    run_trial(trial, store, data_root)
    path = next((tmp_path / "store" / "scores").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-3])
    assert trial in make_plan(sweep, store, data_root).done
    said: list[str] = []
    plan = _checked(sweep, store, data_root, said.append)
    assert path.name in said[0]
    assert [t.label for t in plan.done] == []


def test_one_driver_at_a_time(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with Lease(store, "a"):
        with pytest.raises(BadInput, match=rf"process {os.getpid()} on"), Lease(store, "a"):
            pass
        with Lease(store, "b"):
            pass
    assert holder(store, "a") is None
    with Lease(store, "a"):
        pass


def test_the_lease_of_a_dead_process_is_broken_at_once(tmp_path: Path) -> None:
    code = (
        "import os, sys; from sweeps.lease import Lease; from sweeps.store import Store\n"
        "Lease(Store(sys.argv[1]), 'a').__enter__(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    store = Store(tmp_path)
    assert store.exists("sweeps/a/lease.json")
    with Lease(store, "a"):
        current = holder(store, "a")
        assert current is not None
        assert current["pid"] == os.getpid()


def test_a_lease_on_another_machine_ends_when_it_is_not_renewed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with Lease(store, "a"):
        lease = store.get_json("sweeps/a/lease.json")
    elsewhere = {**lease, "host": "elsewhere"}
    store.put_json("sweeps/a/lease.json", elsewhere)
    with pytest.raises(BadInput, match="on elsewhere"), Lease(store, "a"):
        pass
    store.put_json("sweeps/a/lease.json", {**elsewhere, "renewed": time.time() - 61})
    with Lease(store, "a"):
        pass


def test_budgets_count_earlier_attempts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    trials = trivial_trials(2, gpus=0.5)
    attempts = Attempts(store, trials[0])
    attempts.write("cut off")
    path = f"models/{trials[0].train_key}/attempts.json"
    store.put_json(path, [{**one, "seconds": 7200.0} for one in store.get_json(path)])
    budget = Budget(Limits(gpu_hours=0.9), store, trials)
    assert budget.gpu_hours == pytest.approx(1.0)
    assert budget.exhausted()
    assert "gpu_hours" in (budget.reached or "")
    assert not Budget(Limits(gpu_hours=1.1), store, trials).exhausted()


def test_failures_one_after_another_end_the_run(tmp_path: Path) -> None:
    budget = Budget(Limits(max_consecutive_failed=2), Store(tmp_path), [])
    for failed in (True, None, False, True, None, True):
        assert not budget.exhausted()
        budget.ended(0, failed)
    assert budget.exhausted()


def test_the_board_counts_and_keeps_its_state_in_the_store(tmp_path: Path) -> None:
    store, trials = Store(tmp_path / "store"), trivial_trials(3)
    with (tmp_path / "out").open("w") as out, Board(store, "a", trials, [3.0, 1.0, 1.0], out) as board:
        for index in range(3):
            board.start(index)
        board.progress(0, "training", 0.5)
        board.end(1, "done")
        board.end(2, "failed", "it broke")
        assert board.counts == {"running": 1, "done": 1, "failed": 1}
        left = board.seconds_left
        assert left is not None
        assert left >= 0
    lines = (tmp_path / "out").read_text().splitlines()
    assert lines[0].startswith("[1/3] a s1: done in")
    assert lines[1].startswith("[2/3] a s2: failed in")
    assert "(it broke)" in lines[1]
    assert store.get_json("sweeps/a/progress.json")["counts"] == {"stopped": 1, "done": 1, "failed": 1}


def test_status_from_anywhere(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    plan, store = planned(tmp_path / "store", spec, data_root), Store(tmp_path / "store")
    assert "nobody is running it" in status_lines(sweep_status(plan, store))
    broken = replace(plan.trials[0], train_key="ab" * 10)
    plan = replace(plan, trials=(broken, *plan.trials[1:]), failures={"ab" * 10: {"reason": "it broke"}})
    with Lease(store, "small"):
        lines = status_lines(sweep_status(plan, store))
    assert lines[0] == "small: 0 of 5 trials done, 4 to do"
    assert f"run by process {os.getpid()}" in lines[1]
    assert lines[-1].endswith("it broke")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (245, "4 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
