"""A cluster of several nodes on this machine, each `ray start --block` as on a machine of its own."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweep_process import alive, descendants

RAY = str(Path(sys.executable).parent / "ray")
SMALL = "--object-store-memory=100000000"
SEVERAL_HERE = [  # any free ports: nodes of one machine share them
    *(f"--{name}=0" for name in ("min-worker-port", "max-worker-port", "metrics-export-port")),
    "--dashboard-agent-listen-port=0",
]


class Node:
    """One node and the processes below it."""

    def __init__(self, environment: dict[str, str], *options: str) -> None:
        self.process = subprocess.Popen(
            [RAY, "start", "--block", SMALL, *SEVERAL_HERE, *options],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def raylet(self) -> int | None:
        """Its process id; None if it is not there (yet, or any more)."""
        for pid in descendants(self.process.pid):
            try:
                if "/raylet/raylet" in Path(f"/proc/{pid}/cmdline").read_text():
                    return pid
            except OSError:
                continue
        return None

    def wait(self) -> int:
        """Until it is up; the raylet's process id."""
        for _ in range(600):
            raylet = self.raylet()
            if raylet is not None and len(descendants(raylet)) > 0:
                return raylet
            assert self.process.poll() is None
            time.sleep(0.1)
        raise AssertionError("the node does not come up")

    def end(self) -> None:
        below = descendants(self.process.pid)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=30)
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


class Nodes:
    """A head that schedules and computes nothing; `address` for `sweeps run`, nodes added as one goes."""

    def __init__(self, **settings: str) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            **settings,
        }
        self.head = Node(
            self.environment,
            *("--head", f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=0"),
            "--include-dashboard=false",
        )
        self.all = [self.head]

    def add(self, cpus: int = 1, gpus: int = 0, **settings: str) -> Node:
        options = (f"--address={self.address}", "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}")
        options = (*options, f"--num-gpus={gpus}")
        self.all.append(Node({**self.environment, **settings}, *options))
        self.all[-1].wait()  # two that start at once on one machine would take each other's ports
        return self.all[-1]


@contextmanager
def nodes(**settings: str) -> Iterator[Nodes]:
    several = Nodes(**settings)
    try:
        several.head.wait()
        yield several
    finally:
        below = [pid for node in several.all for pid in descendants(node.process.pid)]
        for node in reversed(several.all):
            node.end()
        assert alive(below, seconds=60) == []
