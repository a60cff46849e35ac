"""Two machines made of this one, brought up by a cluster file's own start commands: as root, under `unshare`.

    unshare --net --mount --pid --fork --kill-child --mount-proc \\
        python ray_starts.py FILE FOLDER SPEC DATA_ROOT

Each machine has network, process and mount namespaces of its own, joined by a virtual cable, so that `ray
stop` and ports are as between real ones. Then a sweep runs from the head; the worker machine gets SIGTERM
in the middle of training, and is brought up again.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from sweep_process import descendants

from sweeps.attempts import attempts_at
from sweeps.plan import make_plan
from sweeps.spec import read_spec
from sweeps.store import Store

BIN = Path(sys.executable).parent
HEAD, WORKER = "10.77.0.1", "10.77.0.2"


def sh(words: str) -> None:
    print("$", words, flush=True)
    subprocess.run(words, shell=True, check=True)


class Machine:
    """A shell that stays, in namespaces of its own; what runs there ends with it."""

    def __init__(self, name: str, address: str, folder: Path) -> None:
        self.home = folder / name
        (self.home / ".ray").mkdir(parents=True)
        (self.home / ".ray" / "auth_token").write_text("a" * 64)
        (self.home / "ray").mkdir()
        inside = (
            f"ip link set lo up; mount --bind {self.home}/ray /tmp/ray; "
            'mount -t proc proc /proc; echo ready; while read line; do eval "$line"; echo "done $?"; done'
        )
        spaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]
        environment = {
            "HOME": str(self.home), "PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "OMP_NUM_THREADS": "1",
            "HYBRID_CACHE": str(self.home / "cache"), "RAY_worker_niceness": "0", "RAY_HEAD_IP": HEAD,
        }  # fmt: skip
        self.process = subprocess.Popen(
            [*spaces, "bash", "-c", inside], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        (self.shell,) = descendants(self.process.pid)
        end = f"v-{name}"
        sh(f"ip link set {end} netns {self.shell}")
        self.do(f"ip addr add {address}/24 dev {end}; ip link set {end} up; ip route add default dev {end}")

    def do(self, words: str) -> None:
        """Run a line there and wait for it; an error ends this script."""
        print(f"[{self.home.name}] $ {words}", flush=True)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(words.replace("\n", " ") + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            print(" ", line.rstrip(), flush=True)
            if line.startswith("done "):
                assert line == "done 0\n", words
                return
        raise AssertionError("the machine is gone")

    def runs(self, *parts: str) -> list[int]:
        """Process ids, as seen from outside, of those in whose command line all of `parts` stand."""
        found = []
        for pid in descendants(self.process.pid):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_text()
            except OSError:
                continue
            if all(part in words for part in parts):
                found.append(pid)
        return found


def start(machine: Machine, config: dict[str, Any], what: str, resources: str) -> None:
    """The commands of the file, as `ray up` runs them: what a machine has comes by the environment."""
    for command in config[f"{what}_start_ray_commands"]:
        quoted = command.replace("'", "'\\''")
        machine.do(f"RAY_OVERRIDE_RESOURCES='{resources}' bash -c '{quoted}' < /dev/null")


def main(file: Path, folder: Path, spec: Path, data_root: Path) -> None:
    config = yaml.safe_load(file.read_text())
    sh("mount --make-rprivate /; ip link add v-head type veth peer name v-worker")
    head = Machine("head", HEAD, folder)
    worker = Machine("worker", WORKER, folder)
    bootstrap = yaml.safe_load((Path(__file__).parents[1] / "cluster-local.yaml").read_text())
    bootstrap["provider"] |= {"head_ip": HEAD, "worker_ips": []}
    bootstrap |= {"min_workers": 0, "max_workers": 0}
    (head.home / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(bootstrap))
    start(head, config, "head", '{"CPU": 0}')
    start(worker, config, "worker", '{"CPU": 1}')
    place = folder / "store"
    head.do(
        f"python -m sweeps run {spec} --yes --address auto --store {place} --data-root {data_root} "
        f"> {folder}/run.log 2>&1 & disown; true"
    )
    sweep, store = read_spec(str(spec), [], data_root), Store(place)

    def trained() -> list[dict[str, Any]]:
        plan = make_plan(sweep, store, data_root)
        return [one for trial in plan.trials if trial.train for one in attempts_at(store, trial)]

    def wait(until: Any) -> None:
        deadline = time.monotonic() + 400
        while not until():
            if time.monotonic() > deadline:
                sys.exit(f"not in time: {(folder / 'run.log').read_text()}")
            time.sleep(0.5)

    def trains() -> bool:
        progress = store.get_json("sweeps/small/progress.json") or {"running": []}
        return any(row["doing"] == "training" and row["share"] > 0 for row in progress["running"])

    os.environ["HYBRID_CACHE"] = str(head.home / "cache")
    wait(trains)
    (blocked,) = worker.runs("ray\0start\0", "--block")
    os.kill(blocked, signal.SIGTERM)
    wait(lambda: list(place.glob("models/*/checkpoints/*/DONE")))
    wait(lambda: not worker.runs("/raylet/raylet") and not worker.runs("ray::"))
    print("left with a checkpoint", [one["state"] for one in trained()], flush=True)
    start(worker, config, "worker", '{"CPU": 1}')
    wait(lambda: "trials of small are saved" in (folder / "run.log").read_text())
    print((folder / "run.log").read_text())
    (model,) = [trial for trial in make_plan(sweep, store, data_root).trials if trial.train]
    print("resumed from", (store.record(model.train_key or "") or {})["resumed_from"])
    print("states", *(one["state"] for one in trained()), sep="|")
    worker.process.kill()
    head.process.kill()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
