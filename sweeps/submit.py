"""`sweeps submit`: hand a sweep to a cluster that is up, as a Ray job, and follow its log.

What travels is this version of `hybrid` and `sweeps` and the sweep file, nothing else of the folder
one happens to stand in. The job is `sweeps run` on the head; it goes on when nobody follows it.
"""

import asyncio
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hybrid
import sweeps
from hybrid.errors import BadInput
from sweeps.cluster import another_token, auth_mode
from sweeps.lease import refuse_running
from sweeps.secrets import has_password, redacted
from sweeps.spec import Sweep
from sweeps.status import command_line

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

TAKES_UP = "HYBRID_SWEEPS_TAKES_UP"
"""Environment of a job: the command that takes the sweep up again, as typed where it was submitted."""

_LARGEST_MB = 50.0
_NOT_NEEDED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@dataclass(frozen=True)
class Submitted:
    """A job on a cluster."""

    address: str
    job: str
    megabytes: float  # that were packaged
    state: str  # PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED or UNKNOWN, when it was last asked for
    exit_code: int  # that of `sweeps run` once the job has ended; 0 while it goes on

    @property
    def message(self) -> str:
        message = f"job {self.job} at {self.address}: {self.state.lower()}"
        if self.state == "PENDING":
            return f"{message}; `sweeps status` shows it once it has started"
        return message + (f" with exit code {self.exit_code}" if self.exit_code else "")


def submit_sweep(
    sweep: Sweep,
    address: str,
    *,
    store: str,
    data_root: Path | None = None,
    arguments: Sequence[str] = (),
    follow: bool = True,
    takes_up: str = "sweeps submit",
) -> Submitted:
    """Submit `sweeps run` with this sweep to the cluster whose dashboard is at `address`.

    `store` and `data_root` are places as the cluster sees them. `arguments` go to `sweeps run` as they
    are. With `follow` the job's output is printed until it ends. `takes_up`: the command that the job
    names to go on with. Raises BadInput if the address is none of a dashboard or nothing answers there, the
    store is a relative path or says that somebody runs the sweep, or the package is too large.
    """
    if not address.startswith(("http://", "https://")) or has_password(address):
        raise BadInput(
            f"address {redacted(address)}: give that of the cluster's dashboard, http://HEAD:8265, without "
            "user or password"
        )
    if "://" not in store and not Path(store).is_absolute():
        raise BadInput(
            f"store {store!r}: a cluster needs a place all its machines see; "
            "give a shared folder by its whole path, or an address (s3://…), with --store"
        )
    if has_password(store):
        raise BadInput(
            f"store {redacted(store)}: names a user or password, which every reader of the job would see; "
            "leave it out, the machines have credentials from their profile or environment"
        )
    refuse_running(store, sweep.name)
    client = _client(address)
    with tempfile.TemporaryDirectory(prefix="submit-") as temporary:
        folder = Path(temporary) / "package"
        megabytes = _package(sweep, folder)
        spec = _file_name(sweep)
        print(f"packaged {megabytes:.1f} MB: hybrid, sweeps and {spec}", file=sys.stderr)
        words = ["python", "-m", "sweeps", "run", spec, "--yes", "--store", store]
        words += [] if data_root is None else ["--data-root", str(data_root)]
        job: str = client.submit_job(
            entrypoint=shlex.join([*words, *arguments]),
            submission_id=f"{re.sub(r'[^A-Za-z0-9-]+', '-', sweep.name)}-{time.strftime('%Y%m%d-%H%M%S')}",
            runtime_env={"working_dir": str(folder), "env_vars": {TAKES_UP: takes_up}},
        )
    stop = command_line("stop", sweep, store, data_root)
    print(f"submitted {job}; it goes on when this stops following it; to stop it: {stop}", file=sys.stderr)
    if follow:
        try:
            asyncio.run(_follow(client, job))
        except KeyboardInterrupt:
            print("no longer followed; the job goes on", file=sys.stderr)
        except (OSError, RuntimeError) as error:  # the head or the tunnel to it is gone
            reason = str(error).strip().partition("\n")[0]
            print(f"no longer followed ({reason}); the job goes on if its cluster does", file=sys.stderr)
    state, exit_code = _state(client, job)
    return Submitted(address, job, megabytes, state, exit_code)


def _client(address: str) -> "JobSubmissionClient":
    os.environ.update(auth_mode())
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise another_token(address) from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise BadInput(
            f"address {address!r}: no Ray dashboard answers there ({reason}); a head listens on port 8265, "
            "reached with `ray dashboard cluster.yaml` or an SSH tunnel"
        ) from error


def _package(sweep: Sweep, folder: Path) -> float:
    """Fill `folder` with what the job needs; its size in megabytes."""
    for package in (hybrid, sweeps):
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, folder / source.name, ignore=_NOT_NEEDED)
    (folder / _file_name(sweep)).write_text(sweep.text, encoding="utf-8")
    megabytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    if megabytes > _LARGEST_MB:
        raise BadInput(
            f"the package would have {megabytes:.0f} MB, more than {_LARGEST_MB:.0f}: "
            f"something large lies in {Path(str(hybrid.__file__)).parent}"
        )
    return megabytes


def _file_name(sweep: Sweep) -> str:
    """The user's own, so that the job's sentences name it; never that of a package or an option."""
    return f"{Path(sweep.path).stem.lstrip('-')}.yaml"


async def _follow(client: "JobSubmissionClient", job: str) -> None:
    lines: Any = client.tail_job_logs(job)
    async for text in lines:
        print(text, end="", flush=True)


def _state(client: "JobSubmissionClient", job: str) -> tuple[str, int]:
    """The job's state, and the exit code of its command, 1 where it is not known how it ended."""
    try:
        info = client.get_job_info(job)
    except (OSError, RuntimeError):
        return "UNKNOWN", 1
    state = str(info.status.value)
    return state, (info.driver_exit_code or 1) if state in ("FAILED", "STOPPED") else 0
