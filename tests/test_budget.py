"""Limits counted over every attempt and every run."""

from pathlib import Path
from typing import Any

import pytest
from trivial_trials import trivial_trials

from sweeps.attempts import Attempts
from sweeps.budget import Budget, Usage, read_usage, usage_path
from sweeps.failures import cause_of
from sweeps.spec_sections import Limits
from sweeps.store import Store


def used(store: Store, **values: Any) -> None:
    store.put_json(usage_path("a"), {**vars(Usage()), **values})


@pytest.mark.parametrize(
    ("limits", "before", "said"),
    [
        ({"gpu_hours": 2.0}, {"gpu_seconds": 7200.0}, "limits.gpu_hours: 2 are used up"),
        ({"wall_hours": 0.5}, {"wall_seconds": 1800.0}, "limits.wall_hours: 0.5 are used up"),
        ({"trials": 3}, {"trials": 3}, "limits.trials: 3 of at most 3 were run"),
        (
            {"max_consecutive_failed": 2},
            {"consecutive_failed": 3, "failed_by_cause": {"loss": 2, "memory": 1}},
            "2 trials in a row failed of one cause",
        ),
    ],
)
def test_a_restart_does_not_forget(
    tmp_path: Path, limits: dict[str, float], before: dict[str, Any], said: str
) -> None:
    store = Store(tmp_path)
    assert not Budget(Limits(**limits), store, "a", []).exhausted()
    used(store, **before)
    budget = Budget(Limits(**limits), store, "a", [])
    assert budget.exhausted()
    assert said in (budget.reached or "")


def test_every_attempt_counts_those_cut_off_included(tmp_path: Path) -> None:
    store = Store(tmp_path)
    budget = Budget(Limits(), store, "a", [])
    budget.started(0, cpus=2.0, gpus=0.5)
    budget.ended(0, None)
    budget.started(0, cpus=2.0, gpus=0.5)
    budget.started(1, cpus=2.0, gpus=0.5)
    budget.keep(now=True)  # and then it is killed
    kept = read_usage(store, "a")
    assert kept is not None
    assert (kept.attempts, kept.trials) == (3, 0)
    assert kept.cpu_seconds == pytest.approx(4 * kept.gpu_seconds)
    again = Budget(Limits(), store, "a", [])
    again.started(1, cpus=2.0, gpus=0.5)
    again.ended(1, failed=False)
    assert (again.used.attempts, again.used.trials) == (4, 1)
    assert again.used.gpu_seconds > kept.gpu_seconds


def test_a_record_that_is_lost_is_made_of_the_attempts(tmp_path: Path) -> None:
    store, trials = Store(tmp_path), trivial_trials(2, gpus=0.5)
    Attempts(store, trials[0]).write("cut off")
    path = f"models/{trials[0].train_key}/attempts.json"
    store.put_json(path, [{**one, "seconds": 7200.0} for one in store.get_json(path)])
    store.put_bytes(usage_path("a"), b"{cut")
    budget = Budget(Limits(gpu_hours=0.9), store, "a", trials)
    assert budget.used.gpu_seconds == 3600.0
    assert budget.exhausted()


def test_failures_one_after_another_end_the_run_until_they_are_taken_up(tmp_path: Path) -> None:
    budget = Budget(Limits(max_consecutive_failed=2), Store(tmp_path), "a", [])
    for failed in (True, None, False, True, None, True):
        assert not budget.exhausted()
        budget.ended(0, failed, cause="loss")
    assert budget.exhausted()
    budget.forgive()
    assert not budget.exhausted()


def test_failures_of_one_cause_end_the_run_sooner_than_those_of_several(tmp_path: Path) -> None:
    """Another cause between two of a kind does not begin their count anew; a trial that succeeds does."""
    budget = Budget(Limits(max_consecutive_failed=2), Store(tmp_path), "a", [])
    for cause in ("loss", "memory", "loss"):
        assert not budget.exhausted()
        budget.ended(0, failed=True, cause=cause)
    assert budget.exhausted()
    assert "2 trials in a row failed of one cause" in (budget.reached or "")

    budget = Budget(Limits(max_consecutive_failed=2), Store(tmp_path), "a", [])
    for cause in ("loss", "memory", None, "loss", "memory", "disk", "hangs", "killed", "raises"):
        assert not budget.exhausted()
        budget.ended(0, failed=cause is not None, cause=cause or "")
    budget.keep(now=True)
    again = Budget(Limits(max_consecutive_failed=2), Store(tmp_path), "a", [])
    assert again.exhausted()
    assert "6 trials in a row failed, of several causes" in (again.reached or "")


def test_a_cause_is_the_reason_without_what_differs_from_trial_to_trial() -> None:
    def cause(kind: str, reason: str) -> str:
        return cause_of({"kind": kind, "reason": reason})

    one = cause("FloatingPointError", "loss nan at step 17 of /store/models/ab12/x")
    assert one == cause("FloatingPointError", "loss nan at step 3 of /store/models/ff00/x")
    assert one != cause("FloatingPointError", "loss inf at step 17 of /store/models/ab12/x")
    assert one != cause("RuntimeError", "loss nan at step 17 of /store/models/ab12/x")
    assert cause("OSError", "0x7f12 1e-5 3.5 GiB") == cause("OSError", "0x1 2E+7 12 GiB")


def test_what_ended_a_run_first_is_what_is_said(tmp_path: Path) -> None:
    used(store := Store(tmp_path), trials=3)
    budget = Budget(Limits(trials=3), store, "a", [])
    budget.end("no machine is fit", "with that mended")
    assert budget.exhausted()
    assert (budget.reached, budget.remedy) == ("no machine is fit", "with that mended")
