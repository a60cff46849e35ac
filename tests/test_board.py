"""What a person sees of a running sweep."""

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from small_sweep import write_small_sweep
from sweep_process import planned
from trivial_trials import trivial_trials

from sweeps.board import Board
from sweeps.budget import Budget
from sweeps.estimate import Work
from sweeps.lease import Lease
from sweeps.plan import Trial, prepare_sweep
from sweeps.run import _describe
from sweeps.spec import read_spec
from sweeps.spec_sections import Limits
from sweeps.status import duration, kept_status, status_lines, sweep_status
from sweeps.store import Store
from sweeps.trial import run_trial


def board_of(store: Store, trials: list[Trial], costs: list[float], out: io.StringIO) -> Board:
    return Board(store, "a", trials, list(map(Work, costs)), Budget(Limits(), store, "a", trials), out)


def test_off_a_terminal_it_says_failures_alone_and_keeps_its_state_in_the_store(tmp_path: Path) -> None:
    store, out = Store(tmp_path / "store"), io.StringIO()
    with board_of(store, trivial_trials(3), [3.0, 1.0, 1.0], out) as board:
        for index in range(3):
            board.start(index)
        assert board.seconds_left is None
        board.progress(0, "training", 0.5)
        board.end(1, "done")
        board.end(2, "failed", "it broke")
        assert board.counts == {"running": 1, "done": 1, "failed": 1}
        left = board.seconds_left
        assert left is not None
        assert left >= 0
    (line,) = out.getvalue().splitlines()
    assert line.startswith("[2/3] a s2: failed in")
    assert "(it broke)" in line
    assert store.get_json("sweeps/a/progress.json")["counts"] == {"stopped": 1, "done": 1, "failed": 1}


def test_what_is_left_follows_from_what_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two slots, half a GPU each; cost 2 took 100 s; one of cost 4 runs for 50 s; two of 1 wait."""
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    trials = trivial_trials(4, gpus=0.5)
    board = board_of(Store(tmp_path), trials, [2.0, 4.0, 1.0, 1.0], io.StringIO())
    board.start(0)
    now += 50
    board.start(1)
    now += 50
    board.end(0, "done")
    assert board.seconds_left == pytest.approx((150 + 50 + 50 + 0) / 2 + 25)
    assert board.hours_to_come == pytest.approx((250 / 3600, 125 / 3600))


def test_before_any_trial_has_ended_the_pace_of_those_running_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two trials of two tasks each is half through its first one after 10 s."""
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    store, trials = Store(tmp_path), trivial_trials(2)
    work = [Work(0.0, tasks=("a", "b"))] * 2
    board = Board(store, "a", trials, work, Budget(Limits(), store, "a", trials), io.StringIO())
    board.start(0)
    assert board.seconds_left is None
    now += 10
    board.progress(0, "a", 0.5)
    assert board.seconds_left == pytest.approx(30 + 40)
    assert "roughly 1 min 10 s to go" in board._summary()
    board.end(0, "done")
    assert board.seconds_left == pytest.approx(10)
    assert "about 10.0 s to go" in board._summary()


def test_off_a_terminal_lines_come_ever_more_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    out = io.StringIO()
    board = board_of(Store(tmp_path), trivial_trials(1), [1.0], out)
    board.start(0)
    for _ in range(10 * 360):  # ten hours
        now += 10
        board.refresh()
    lines = out.getvalue().splitlines()
    assert 15 < len(lines) < 30
    assert all(line.startswith("a: 0 done, 1 running") for line in lines)


def test_the_table_has_the_axes_that_vary_with_state_progress_time_and_cost(tmp_path: Path) -> None:
    trials = trivial_trials(2, gpus=1.0)
    second = replace(trials[1], arm=replace(trials[1].arm, axes={"x": 2, "y": 1}))
    trials = [replace(trials[0], arm=replace(trials[0].arm, axes={"x": 1, "y": 1})), second]
    board = board_of(Store(tmp_path), trials, [1.0, 1.0], io.StringIO())
    board.start(0)
    board.progress(0, "training", 0.25, 0.6931, 1234.5)
    page = Console(file=io.StringIO(), width=120, record=True)
    page.print(board._table())
    text = page.export_text()
    head, columns, running, waiting = text.splitlines()
    assert head.startswith("a: 0 done, 1 running, 1 waiting, 0 failed")
    assert "GPU-hours used" in head
    assert columns.split() == ["x", "seed", "state", "progress", "loss", "pairs/s", "time"]
    assert running.split()[:7] == ["1", "0", "running", "training", "25%", "0.6931", "1,234"]
    assert waiting.split() == ["2", "1", "waiting"]


def test_status_from_anywhere(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    plan, store = planned(tmp_path / "store", spec, data_root), Store(tmp_path / "store")
    assert "nobody is running it" in status_lines(sweep_status(plan, store))
    broken = replace(plan.trials[0], train_key="ab" * 10)
    plan = replace(plan, trials=(broken, *plan.trials[1:]), failures={"ab" * 10: {"reason": "it broke"}})
    with Lease(store, "small"):
        lines = status_lines(sweep_status(plan, store))
    assert lines[0].startswith("small: 0 of 5 trials done, 4 to do")
    assert f"run by process {os.getpid()}" in lines[1]
    assert lines[-1] == f"  1 × it broke ({broken.label})"


def test_status_says_when_the_run_in_progress_has_other_trials(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    store = Store(tmp_path / "store")
    prepare_sweep(read_spec(str(spec), [], data_root), data_root)
    plan = planned(tmp_path / "store", spec, data_root)
    _describe(store, replace(plan, trials=plan.trials[:2]))  # of an earlier run
    with Lease(store, "small"):
        assert sweep_status(plan, store)["other_trials"] is None
        _describe(store, plan)
        assert sweep_status(plan, store)["other_trials"] is None
        _describe(store, replace(plan, trials=plan.trials[:3]))
        status = sweep_status(plan, store)
    assert status["other_trials"] == 3
    assert any("that run has 3 trials" in line for line in status_lines(status))


def test_status_of_a_machine_that_has_none_of_the_data(tmp_path: Path) -> None:
    """What a run has written down tells as much as the sweep file with its data does."""
    spec, data_root = write_small_sweep(tmp_path)
    store = Store(tmp_path / "store")
    assert kept_status("small", store) is None
    prepare_sweep(read_spec(str(spec), [], data_root), data_root)
    plan = planned(tmp_path / "store", spec, data_root)
    for trial in plan.trials[:2]:
        run_trial(trial, store, data_root)
    store.put_failure(plan.trials[2].train_key or "", {"reason": "it broke"})
    plan = planned(tmp_path / "store", spec, data_root)
    _describe(store, plan)
    known, kept = sweep_status(plan, store), kept_status("small", store)
    assert kept is not None
    assert {**kept, "causes": ""} == {**known, "causes": ""}
    assert (kept["done"], kept["todo"], len(kept["failed"])) == (2, 2, 1)
    assert kept["causes"] == f"  {plan.trials[2].label}: it broke"


@pytest.mark.parametrize(
    "content",
    [b"[]", b"null", b"{", b"3", b'{"trials": 5}', b'{"trials": [{}]}', b'{"trials": [null]}',
     b'{"trials": [{"trial": "a", "seed": 1, "train_key": null, "scores": {}}]}',
     b'{"trials": [{"trial": "a", "seed": 1, "train_key": "b", "scores": [1]}]}'],
)  # fmt: skip
def test_a_damaged_plan_of_the_last_run_says_nothing(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path)
    store.put_bytes("sweeps/small/plan.json", content)
    assert kept_status("small", store) is None


@pytest.mark.parametrize(
    "content", [b"[1]", b"{", b'"x"', b'{"running": 1, "seconds_left": null}', b'{"running": [{}]}',
                b'{"running": [], "seconds_left": "soon"}']
)  # fmt: skip
def test_a_damaged_progress_is_none_while_it_is_run(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path)
    store.put_json("sweeps/small/plan.json", {"trials": []})
    store.put_bytes("sweeps/small/progress.json", content)
    with Lease(store, "small"):
        status = kept_status("small", store)
        assert status is not None
        assert status["progress"] is None
        assert any("run by process" in line for line in status_lines(status))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (245, "4 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
