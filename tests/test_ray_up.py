"""`ray up`, `ray submit` and `ray down` over SSH, with the cluster file for machines one has."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_sweep import write_small_sweep
from sweep_process import planned

NEEDED = ("/usr/sbin/sshd", "rsync", "ssh", "ssh-keygen", "unshare", "ip", "git")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_sweep_on_a_cluster_brought_up_over_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if lacking or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(NEEDED)}; not here: {', '.join(lacking) or 'root'}")
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    spec, data_root = write_small_sweep(tmp_path)
    Path("/tmp/ray").mkdir(exist_ok=True)
    script = Path(__file__).with_name("ray_up.py")
    done = subprocess.run(
        [
            *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net", "--mount"),
            *(sys.executable, str(script), str(tmp_path), str(spec), str(data_root)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    if "unshare failed" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 of 5 trials of small are saved" in done.stdout
    assert "it may be torn down" in done.stdout
    assert len(planned(tmp_path / "store", spec, data_root).done) == 5
