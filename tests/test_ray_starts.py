"""The start commands of both cluster files, really run, on two machines made of this one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_sweep import write_small_sweep
from sweep_process import environment

ROOT = Path(__file__).parents[1]


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["cluster.yaml", "cluster-local.yaml"])
def test_a_machine_brought_up_by_the_file_leaves_with_a_checkpoint(name: str, tmp_path: Path) -> None:
    """With tokens; SIGTERM to the blocked `ray start` of the worker as when it is taken away."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("needs root, unshare and ip, to make two machines of this one")
    spec, data_root = write_small_sweep(tmp_path, examples=16_000)
    text = spec.read_text().replace("mono_ratio: [1.0, 0.0]", "mono_ratio: [1.0]")
    spec.write_text(text.replace("seeds: [1, 2]", "seeds: [1]"))
    Path("/tmp/ray").mkdir(exist_ok=True)
    script = Path(__file__).with_name("ray_starts.py")
    done = subprocess.run(
        [
            *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *(sys.executable, str(script), str(ROOT / name), str(tmp_path), str(spec), str(data_root)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    print(done.stdout)
    if "unshare failed" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left with a checkpoint" in done.stdout
    assert "2 of 2 trials of small are saved" in done.stdout
    assert "it may be torn down" in done.stdout
    (resumed,) = [line for line in done.stdout.splitlines() if line.startswith("resumed from ")]
    assert int(resumed.split()[-1]) > 0
    assert "states|cut off|done" in done.stdout
