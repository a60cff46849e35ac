"""Stores on a file system that is really full: failures are recorded, nothing half written stays."""

import os
from pathlib import Path

import pytest
from made_sweep import make_sweep
from small_sweep import write_small_sweep
from sweep_process import all_scores, planned, run
from tmpfs import resize, tmpfs

from hybrid.errors import BadInput
from sweeps.store import Store
from sweeps.tracking import project
from sweeps.trial import run_trial


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_what_does_not_fit_leaves_nothing_half_written(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "store", "1m"):
        store = Store(tmp_path / "store")
        store.put_bytes("a", b"before")
        with pytest.raises(OSError, match="No space left"):
            store.put_bytes("a", bytes(2**21))
        assert store.get_bytes("a") == b"before"
        assert store.list("tmp") == []
        store.put_failure("0" * 20, {"reason": "there is room for that again"})
        (tmp_path / "store" / "filler").write_bytes(bytes(_free(tmp_path / "store")))
        with pytest.raises(BadInput, match=r"cannot be written \(No space left on device\)"):
            store.check_writable()


def test_a_tracking_database_that_does_not_fit_is_made_when_there_is_room(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "store", "64m"):
        plan, store = make_sweep(tmp_path / "store", seeds=(1,))
        filler = tmp_path / "store" / "filler"
        filler.write_bytes(bytes(_free(tmp_path / "store") - 2**18))  # room for a few of MLflow's tables
        with pytest.raises(BadInput, match=r"tracking at sqlite:.* failed: .*disk.*full"):
            project(plan, store)
        assert not [path for path in (tmp_path / "store").iterdir() if "mlflow.db" in path.name]
        filler.unlink()
        assert project(plan, store).created == len(plan.trials) + len(plan.arms)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_sweep_that_fills_its_disk_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """Trials fail with that reason and the run ends; with room, `--retry-failed` finishes the sweep."""
    spec, data_root = write_small_sweep(tmp_path, more="limits: {retries: 1}")
    store = tmp_path / "store"
    with tmpfs(store, "700k"):
        code, answer, log = run(store, spec, data_root)
        assert code == 1, log
        assert "Traceback" not in log
        plan = planned(store, spec, data_root)
        assert 0 < len(plan.done) < 5
        # Where not even a failure can be written, it is said, and the trial counts as left.
        assert log.count("No space left on device") >= 5 - len(plan.done)
        assert all("No space left on device" in failure["reason"] for failure in plan.failures.values())
        assert not list((store / "tmp").glob("?" * 32))
        resize(store, "64m")
        code, answer, log = run(store, spec, data_root, "--retry-failed")
        assert code == 0, log
        assert answer["failed"] == []
        alone = tmp_path / "alone"
        for trial in plan.trials:
            run_trial(trial, Store(alone), data_root)
        assert all_scores(plan, store) == all_scores(plan, alone)


@pytest.mark.long
def test_a_disk_that_is_full_from_the_start_is_one_sentence(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    store = tmp_path / "store"
    with tmpfs(store, "1m"):
        (store / "filler").write_bytes(bytes(_free(store)))
        code, answer, log = run(store, spec, data_root)
    assert code == 2, log
    (sentence,) = answer["mistakes"]
    assert "No space left on device" in sentence
    assert "Traceback" not in log


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_bsize
