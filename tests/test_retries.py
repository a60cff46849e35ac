"""Which failed attempts count among a trial's retries, by what Ray and the worker say of each."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from sweeps.failures import describe
from sweeps.retries import Retries
from sweeps.spec_sections import Limits

LOST = "The actor died because its node has died. Node Id: 9f"  # as Ray 2.60 writes it
UNAVAILABLE = "The actor 4fa2 is unavailable: the connection is broken. The task may or may not have"
KILLED = "The actor died unexpectedly before finishing this task."


class Attempted(SimpleNamespace):
    """What Tune knows of a trial: its id, and the file that it adds every error to."""

    def fail(self, said: str) -> "Attempted":
        with Path(self.error_file).open("a") as file:
            file.write(f"Failure # 1 (occurred at some time)\n{said}\n")
        return self


@pytest.fixture
def trial(tmp_path: Path) -> Attempted:
    return Attempted(trial_id="a", error_file=str(tmp_path / "error.txt"))


def error(kind: Exception, hopeless: bool) -> dict[str, object]:
    return {"error": describe(kind), "hopeless": hopeless}


def test_the_loss_of_a_machine_does_not_count_while_something_is_stored(trial: Attempted) -> None:
    retries = Retries(Limits(retries=0))
    for attempt in range(20):
        retries.started(trial)
        if attempt % 4 == 3:
            retries.heard(trial, {"doing": "training", "saved": True})
        assert retries.again(trial.fail(LOST))
        failure = retries.failure(trial)
        assert (failure["kind"], failure["attempts"]) == ("NodeLost", 0)
    for _ in range(9):
        retries.started(trial)
        retries.heard(trial, {"left": True})
        assert retries.again(trial.fail(KILLED))
        assert retries.failure(trial)["kind"] == "Preempted"
    retries.started(trial)
    assert not retries.again(trial.fail(KILLED))
    failure = retries.failure(trial)
    assert (failure["kind"], failure["attempts"]) == ("ProcessDied", 1)


def test_a_trial_that_loses_machine_after_machine_and_stores_nothing_ends(trial: Attempted) -> None:
    retries = Retries(Limits(retries=9))
    asked = []
    for said in (LOST, UNAVAILABLE, LOST, "the node was preempted", LOST):
        retries.started(trial)
        retries.heard(trial, {"doing": "training", "saved": False})
        asked.append(retries.again(trial.fail(said)))
    assert asked == [True, True, True, True, False]
    assert "5 machines in a row were lost" in retries.failure(trial)["reason"]


def test_an_unfit_machine_is_not_the_trial_s_fault(trial: Attempted) -> None:
    retries = Retries(Limits(retries=0))
    for _ in range(9):
        retries.started(trial)
        retries.heard(trial, {"unfit": {"node": "9f", "mistakes": ["node x: faq is not there", "more"]}})
        assert retries.again(trial.fail("RuntimeError: node x: faq is not there"))
        failure = retries.failure(trial)
        assert (failure["kind"], failure["attempts"]) == ("NodeUnfit", 0)
        assert failure["reason"] == "node x: faq is not there"


def test_a_user_s_error_is_no_lost_machine(trial: Attempted) -> None:
    retries = Retries(Limits(retries=0))
    assert not retries.again(trial.fail("RuntimeError: the tokenizer server is unavailable"))
    assert retries.failure(trial)["kind"] == "ProcessDied"


def test_a_death_among_losses_counts_once(trial: Attempted) -> None:
    retries = Retries(Limits(retries=2))
    asked = [retries.again(trial.fail(said)) for said in (KILLED, LOST, KILLED, LOST, LOST, KILLED)]
    assert asked == [True, True, True, True, True, False]
    assert retries.failure(trial)["attempts"] == 3


def test_what_would_come_again_is_not_tried_again(trial: Attempted) -> None:
    retries = Retries(Limits(retries=5))
    retries.heard(trial, error(RuntimeError("a cable is loose"), hopeless=False))
    assert retries.again(trial.fail("RuntimeError"))
    assert retries.failure(trial)["reason"] == "RuntimeError: a cable is loose"
    retries.heard(trial, error(FloatingPointError("loss nan"), hopeless=True))
    assert not retries.again(trial.fail("FloatingPointError"))
    failure = retries.failure(trial)
    assert (failure["reason"], failure["attempts"]) == ("FloatingPointError: loss nan", 2)
    assert "hopeless" not in failure


def test_a_trial_that_tune_gives_up_without_asking_has_a_record_too(trial: Attempted) -> None:
    failure = Retries(Limits()).failure(trial.fail("running low on memory"))
    assert (failure["kind"], failure["attempts"]) == ("OutOfMemory", 1)
