"""Stores with files cut, changed or replaced give what they hold or sentences; never a traceback."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_sweep import write_small_sweep

from hybrid.errors import BadInput
from sweeps.attempts import Attempts
from sweeps.budget import Budget
from sweeps.lease import holder
from sweeps.plan import Plan, Trial, make_plan, prepare_sweep
from sweeps.preflight import sound_plan
from sweeps.spec import Sweep, read_spec
from sweeps.status import status_lines, sweep_status
from sweeps.store import Store
from sweeps.trial import run_trial

ODD = [b"", b"null", b"[]", b"{}", b"0", b'"x"', b"[1]", b'{"sha256": 1}', b'{"sha256": {"../x": "0"}}',
       b'{"points": [1]}', b'{"reason": null}', b"\xff\xfe", b"PAR1", b"NaN", b"[" * 5000]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Sweep, Path, Plan]]:
    """A store with a finished trial, one failed, and every kind of file that a run writes."""
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYBRID_CACHE", str(folder / "cache"))
        spec, data_root = write_small_sweep(folder)
        sweep, store = read_spec(str(spec), [], data_root), Store(folder / "whole")
        prepare_sweep(sweep, data_root)
        plan = make_plan(sweep, store, data_root)
        run_trial(plan.trials[0], store, data_root)
        run_trial(plan.trials[-1], store, data_root)
        failed: Trial = plan.trials[1]
        Attempts(store, failed).write("cut off")
        store.put_failure(failed.train_key or "", {"kind": "X", "reason": "x", "log": "", "attempts": 1})
        Budget(sweep.limits, store, sweep.name, plan.trials).keep(now=True)
        store.put_json("sweeps/small/lease.json", {"token": "t", "host": "elsewhere", "boot": "", "pid": 1,
                       "process_started": "1", "since": "", "renewed": 0.0})  # fmt: skip
        store.put_json("sweeps/small/progress.json", {"running": [], "seconds_left": None})
        store.put_json("sweeps/small/digests.json", dict(plan.digests))
        yield folder, sweep, data_root, plan


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_stores_give_a_plan_or_sentences_and_what_is_damaged_is_made_again(
    data: st.DataObject, whole: tuple[Path, Sweep, Path, Plan]
) -> None:
    folder, sweep, data_root, plan = whole
    root = folder / "store"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(folder / "whole", root)
    files = sorted(path for path in root.rglob("*") if path.is_file() and "model" not in path.parent.name)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(files))
        content = path.read_bytes()
        cut = data.draw(st.integers(0, len(content)))
        put = data.draw(st.sampled_from([*ODD, content[:cut], content[:cut] + b"\0" + content[cut + 1 :]]))
        path.write_bytes(put)
    before = sorted(str(path) for path in folder.rglob("*") if root not in path.parents)
    store = Store(root)
    try:
        status = sweep_status(make_plan(sweep, store, data_root), store)
        assert json.dumps(status)
        assert status_lines(status)
        holder(store, sweep.name)
        Budget(sweep.limits, store, sweep.name, plan.trials).exhausted()
        said: list[str] = []
        sound = sound_plan(sweep, store, data_root, said.append)
        for trial in sound.done:  # what still counts as done can be read back
            for key in trial.scores.values():
                assert len(store.scores(trial.train_key or "", key or ""))
        for sentence in said:
            assert sentence.splitlines() == [sentence]
    except BadInput as error:
        for sentence in error.mistakes:
            assert sentence.splitlines() == [sentence]
    after = sorted(str(path) for path in folder.rglob("*") if root not in path.parents)
    assert after == before


def test_what_a_run_relies_on_is_named_when_damaged_and_does_not_stop_it(
    whole: tuple[Path, Sweep, Path, Plan], tmp_path: Path
) -> None:
    """The digests that the last run recorded, and the arms that a search proposed."""
    folder, sweep, data_root, plan = whole
    shutil.copytree(folder / "whole", tmp_path / "store")
    store = Store(tmp_path / "store")
    for name in ("digests", "proposed"):
        store.put_bytes(f"sweeps/small/{name}.json", b"{cut")
    said: list[str] = []
    assert make_plan(sweep, store, data_root).done == sound_plan(sweep, store, data_root, said.append).done
    assert [sentence.partition(" is damaged")[0].rpartition("/")[2] for sentence in said] == [
        "digests.json", "proposed.json",
    ]  # fmt: skip
    assert not store.exists("sweeps/small/digests.json")
    assert len(plan.trials) == 5
