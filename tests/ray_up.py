"""A machine reached by SSH, made of this one: `unshare … python ray_up.py FOLDER SPEC DATA_ROOT`, as root.

In a network and process namespace of its own, so that nothing here is reached and `ray stop` ends nothing
else, an sshd listens on the loopback address; `ray up`, `ray submit` and `ray down` are then what a person
types with cluster-local.yaml. The repository comes as the file says, from its last commit; Python and the
packages are those that run this.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def sh(*words: str, **more: str) -> None:
    print("$", *words, flush=True)
    start = time.monotonic()
    done = subprocess.run(
        words, env={**os.environ, **more}, cwd=ROOT, check=False, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    print(done.stdout, f"[{done.returncode} after {time.monotonic() - start:.0f} s]", flush=True)
    if done.returncode:
        sys.exit(1)


def main(folder: Path, spec: Path, data_root: Path) -> None:
    here, there = folder / "here", folder / "there"  # home folders of the two sides
    for home in (here, there):
        home.mkdir()
    sh("ip", "link", "set", "lo", "up")
    sh("mount", "-t", "tmpfs", "tmpfs", "/tmp/ray")
    serve_ssh(folder, there)
    profile = f'export PATH="{BIN}:$PATH" PYTHONPATH="$HOME/hybrid-sweeps" HYBRID_CACHE="{folder}/cache"\n'
    (there / ".profile").write_text(profile)
    sh(str(BIN / "ray"), "get-auth-token", "--generate", HOME=str(here))
    cluster = folder / "cluster.yaml"
    cluster.write_text(yaml.safe_dump(for_here(folder)))
    ray, words = str(BIN / "ray"), {"HOME": str(here), "PATH": f"{BIN}:{os.environ['PATH']}"}
    try:
        sh(ray, "up", "--yes", "--no-config-cache", str(cluster), **words)
        places = ("--store", str(folder / "store"), "--data-root", str(data_root))
        sh(ray, "submit", str(cluster), "sweeps/on_cluster.py", str(spec), *places, **words)
    finally:
        sh(ray, "down", "--yes", str(cluster), **words)


def serve_ssh(folder: Path, home: Path) -> None:
    for name in ("host", "key"):
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    (folder / "authorized").write_text((folder / "key.pub").read_text())
    Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "sshd.conf").write_text(
        f"ListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PermitRootLogin yes\nStrictModes no\nUsePAM no\nPidFile none\nSetEnv HOME={home}\n"
    )
    subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", str(folder / "sshd.conf")])


def for_here(folder: Path) -> dict[str, object]:
    """cluster-local.yaml with its lines marked CHANGE changed, and no environment to install."""
    config = yaml.safe_load((ROOT / "cluster-local.yaml").read_text())
    config["provider"] |= {"head_ip": "127.0.0.1", "worker_ips": []}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(folder / "key")}
    config |= {"min_workers": 0, "max_workers": 0}
    config["setup_commands"] = [one for one in config["setup_commands"] if "sweeps-env" not in one]
    return dict(config)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
