"""Temporary folders of runs: one's own at the end, dead ones' at the next run, nobody else's ever."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sweep_process import process_namespace

from sweeps.scratch import scratch

_HOLD = (
    "import sys; from sweeps.scratch import scratch\n"
    "with scratch() as folder: print(folder, flush=True); sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


def test_it_is_gone_at_the_end(tmp_path: Path) -> None:
    with scratch() as folder:
        (folder / "a").write_text("b")
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_goes_with_the_next() -> None:
    killed = subprocess.Popen([sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert killed.stdout is not None
    left = Path(killed.stdout.readline().decode().strip())
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert left.is_dir()
    with scratch():
        assert not left.exists()


@pytest.mark.parametrize("contained", [False, True], ids=["here", "container"])
def test_that_of_a_live_run_stays_also_where_its_process_is_not_seen(contained: bool) -> None:
    words = [*(process_namespace() if contained else []), sys.executable, "-c"]
    with scratch() as folder:
        subprocess.run([*words, "from sweeps.scratch import scratch\nwith scratch(): pass"], check=True)
        assert folder.is_dir()
