"""Cluster files that Ray accepts, the script it copies out of its package, and what a local cluster opens."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from small_sweep import write_small_sweep

from sweeps.cluster import auth_mode

ROOT = Path(__file__).parents[1]
CLUSTERS = sorted(ROOT.glob("cluster*.yaml"))


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.name)
def test_ray_accepts_the_cluster_file(path: Path) -> None:
    validate_config(prepare_config(yaml.safe_load(path.read_text())))


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.name)
def test_what_ray_does_not_check(path: Path) -> None:
    """Mounted files are there (or made as the file says), starts use tokens, dashboards stay on loopback."""
    config = yaml.safe_load(path.read_text())
    made_by_user = {"~/.ray/auth_token"}
    for local in config["file_mounts"].values():
        assert local in made_by_user or local == ".git" or (ROOT / local).exists(), local
    for starts in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token" in starts[-1]
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]
    assert any("constraints.txt" in command for command in config["setup_commands"])
    assert any("git checkout" in command for command in config["setup_commands"])


def test_gpu_workers_scale_from_zero_and_are_spot() -> None:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    worker = config["available_node_types"]["gpu_worker"]
    assert worker["min_workers"] == 0
    assert worker["resources"]["GPU"] >= 1  # without it Ray would have to ask the cloud what a machine has
    assert worker["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"


def test_the_image_has_the_ray_that_is_locked() -> None:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    (locked,) = [
        line.strip()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line.startswith("ray==")
    ]
    assert f":{locked.partition('==')[2]}-py311" in config["docker"]["image"]


def test_the_script_works_where_ray_has_copied_it(tmp_path: Path) -> None:
    script = shutil.copy(ROOT / "sweeps" / "on_cluster.py", tmp_path)
    asked = subprocess.run(
        [sys.executable, script, "--help"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert asked.returncode == 0, asked.stderr
    assert "--store" in asked.stdout
    spec, data_root = write_small_sweep(tmp_path)
    unreachable = subprocess.run(
        [sys.executable, script, str(spec), "--data-root", str(data_root), "--address", "127.0.0.1:1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            **os.environ,
            "HYBRID_CACHE": str(tmp_path / "cache"),
        },
        check=False,
    )
    assert unreachable.returncode == 2, unreachable.stderr
    assert "no Ray cluster could be reached at 127.0.0.1:1" in unreachable.stderr


def test_a_token_is_sent_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert auth_mode() == {}
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
    assert auth_mode() == {"RAY_AUTH_MODE": "token"}
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert auth_mode() == {}


def test_a_local_cluster_listens_on_the_loopback_address_alone(tmp_path: Path) -> None:
    """And leaves no token in the home folder, and nothing in the environment of who started it."""
    code = (
        "import os, subprocess\n"
        "from pathlib import Path\n"
        "from sweeps.cluster import ray_cluster\n"
        "with ray_cluster(None):\n"
        "    import ray\n"
        "    mine = {str(os.getpid())}\n"
        "    for line in subprocess.check_output(['ps', '-eo', 'pid=,ppid='], text=True).splitlines() * 5:\n"
        "        pid, parent = line.split()\n"
        "        mine |= {pid} if parent in mine else set()\n"
        "    inodes = set()\n"
        "    for pid in mine:\n"
        "        for fd in Path(f'/proc/{pid}/fd').glob('*'):\n"
        "            try: inodes.add(os.readlink(fd).removeprefix('socket:[').removesuffix(']'))\n"
        "            except OSError: pass\n"
        "    for table in ('tcp', 'tcp6'):\n"
        "        for line in Path(f'/proc/net/{table}').read_text().splitlines()[1:]:\n"
        "            fields = line.split()\n"
        "            if fields[3] == '0A' and fields[9] in inodes: print('listens', fields[1])\n"
        "print('ours', [name for name in os.environ if name.startswith(('RAY_AUTH', 'TUNE_'))])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(tmp_path)},
        check=True,
    )
    listening = [line.split()[1].rpartition(":")[0] for line in done.stdout.splitlines() if "listens" in line]
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert listening
    assert set(listening) <= loopback, done.stdout
    assert "ours []" in done.stdout
    assert not (tmp_path / ".ray").exists()


@pytest.mark.long
def test_every_node_is_asked_before_the_first_trial(tmp_path: Path) -> None:
    """Two nodes: both see the store, of which nothing is left; the larger one lacks a GPU. test_node_checks
    has what nodes lack of data."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from ray.cluster_utils import Cluster\n"
        "from trivial_trials import trivial_trials\n"
        "from hybrid.errors import BadInput\n"
        "from sweeps.cluster import check_cluster, ray_cluster\n"
        "from sweeps.store import Store\n"
        "small = {'object_store_memory': 10**8}\n"
        "nodes = Cluster(True, head_node_args={'num_cpus': 1, 'include_dashboard': False, **small})\n"
        "nodes.add_node(num_cpus=2, num_gpus=1, **small)\n"
        f"store = Store({str(tmp_path / 'store')!r})\n"
        "with ray_cluster(nodes.address):\n"
        "    check_cluster(trivial_trials(2, gpus=1.0), store, None)\n"
        "    assert store.list() == []\n"
        "    try:\n"
        "        check_cluster(trivial_trials(1, gpus=2.0), store, None)\n"
        "    except BadInput as error:\n"
        "        print(error)\n"
        "nodes.shutdown()\n"
    )
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    (resources,) = done.stdout.splitlines()
    assert "asks for 2 GPUs, and no machine of the cluster has more than 1" in resources
