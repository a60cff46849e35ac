"""The Ray cluster that trials run on: one started here for the run, or one that is up already.

A local one listens on the loopback address alone, takes a token nobody else knows, and is gone with
the process that started it. Before the first trial, `check_cluster` asks what would otherwise be
found out after hours: does the largest trial fit, does every node see the store and have the data.
"""

import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hybrid.errors import BadInput
from sweeps.node_checks import Expected, check_nodes, expected
from sweeps.plan import Plan, Trial
from sweeps.secrets import redacted
from sweeps.store import Store

_OBJECT_STORE_BYTES = 100 * 2**20  # plans and progress alone pass through it
_KNOCK_SECONDS = 10.0

_ANYWHERE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean what they mean here
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C stops the sweep at once: the store has what is finished
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # progress has no objectives of a search
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own record is not used
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "0",  # Ray's spelling; checked here beforehand
}
_LOCAL = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # everywhere else, too, it means: loopback only
    "RAY_enable_metrics_collection": "0",
    "RAY_AUTH_MODE": "token",
    "TUNE_MAX_PENDING_TRIALS_PG": str(os.cpu_count() or 1),  # nothing scales up by more that wait
}


@contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """Connect to the cluster at `address`, or start one on this machine; leave or stop it at the end.

    `address` None inside a Ray job (`sweeps submit`) is the cluster of that job. Raises BadInput if
    nothing answers there, or wants another token.
    """
    address = cluster_address(address)
    settings = dict(_ANYWHERE)
    if address is None:
        settings |= _LOCAL | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    else:
        settings |= auth_mode()
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        import ray

        _read_settings_again()
        logging.getLogger("ray").setLevel(logging.CRITICAL)  # the board says what is worth saying
        if ray.is_initialized():  # a caller's own; it is left as it is
            yield
            return
        from ray.exceptions import AuthenticationError, RayError

        try:
            if address is None:
                ray.init(
                    address="local",
                    include_dashboard=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    **_quiet(),
                )
            else:
                _knock(address)
                ray.init(address=address, **_quiet())
        except AuthenticationError as error:
            raise another_token(address or "of this machine") from error
        except (OSError, RuntimeError, ValueError, RayError) as error:
            reason = str(error).strip().partition("\n")[0]
            where = address or "this machine"
            raise BadInput(f"no Ray cluster could be reached at {where}: {reason}") from error
        try:
            yield
        finally:
            ray.shutdown()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _read_settings_again()


def cluster_address(address: str | None) -> str | None:
    """The cluster to connect to, `address` or that of the environment; None to start one here.

    Raises BadInput for what is an address of something else.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address is not None and "://" in address:
        raise BadInput(
            f"address {redacted(address)} (--address or RAY_ADDRESS): `sweeps run` wants the head and its "
            "port, HEAD:6379, or auto on a machine of it; from elsewhere, `sweeps submit --address http://HEAD:8265`"
        )
    return address


def auth_mode() -> dict[str, str]:
    """The setting that makes Ray's clients send a token, where there is one and nothing else was set."""
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
    return {"RAY_AUTH_MODE": "token"} if os.environ.get("RAY_AUTH_TOKEN") or path.is_file() else {}


def check_cluster(
    trials: Sequence[Trial],
    store: Store,
    data_root: Path | None,
    plan: Plan | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Expected:
    """Raise BadInput for what no trial could start with, all of it at once; fetch data where they lack.

    What is returned is to be asked of machines that come later. Without a `plan`, nothing is known of data.
    """
    mistakes = _check_resources(trials)
    nodes = [node for node in _nodes() if node["Alive"]]
    wanted = expected(plan, trials, store, data_root)
    if len(nodes) > 1:  # otherwise this machine, which has read it all
        compute = {n["NodeID"] for n in nodes if any(n["Resources"].get(of) for of in ("CPU", "GPU"))}
        names = {node["NodeID"]: node["NodeManagerAddress"] for node in nodes}
        mistakes += check_nodes(names, compute, wanted, say)
    if mistakes:
        raise BadInput(mistakes)
    return wanted


def gcs_address() -> str:
    """host:port of the head that this process is connected to."""
    import ray

    return str(ray.get_runtime_context().gcs_address)


def cluster_size() -> str:
    """What the cluster has now, in words."""
    import ray

    has: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    amounts = [f"{has[of]:g} {of}{'' if has[of] == 1 else 's'}" for of in ("CPU", "GPU") if has.get(of)]
    return " and ".join(amounts) or "no machine that computes yet"


def _read_settings_again() -> None:
    """Ray reads these once a process: here, too, where it was imported or used before."""
    from ray import _raylet as raylet
    from ray._private import ray_constants

    compiled: Any = raylet
    compiled.Config.initialize("")
    compiled.AuthenticationTokenLoader.instance().reset_cache()
    ray_constants.ENABLE_RAY_CLUSTER = os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") != "0"


def _quiet() -> dict[str, Any]:
    from ray._private import worker

    worker.print_to_stdstream = lambda *_, **__: None  # of workers that died; the board says it in a line
    return {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}


def _knock(address: str) -> None:
    """Raise OSError if nothing listens at `host:port`, an error of Ray's if it is no head or wants a token.

    `ray.init` itself would try for minutes.
    """
    from ray import _raylet as raylet

    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()
        compiled: Any = raylet
        compiled.GcsClient(address=address)


def another_token(address: str) -> BadInput:
    return BadInput(
        f"address {address!r}: the cluster wants another token; put its own into ~/.ray/auth_token, "
        "or its path into RAY_AUTH_TOKEN_PATH (`ray get-auth-token` on the head prints it)"
    )


def _check_resources(trials: Sequence[Trial]) -> list[str]:
    """A request that no node can satisfy would wait for ever: compare it with the largest node."""
    nodes = [node["Resources"] for node in _nodes() if node["Alive"]]
    to_come = _to_come()
    mistakes = []
    for resource, of, word in (("GPU", "gpus", "GPUs"), ("CPU", "cpus", "CPUs")):
        largest = max(trials, key=lambda trial: float(getattr(trial, of)))
        wanted = float(getattr(largest, of))
        offered = max([node.get(resource, 0.0) for node in nodes] + [float(to_come.get(resource, 0))])
        if wanted > offered:
            mistakes.append(
                f"resources: {largest.label} asks for {wanted:g} {word}, and no machine of the cluster "
                f"has more than {offered:g}; lower it in the sweep file, or give --address of a larger one"
            )
    return mistakes


def _to_come() -> dict[str, Any]:
    """The most of each resource that an autoscaler may add as one machine; empty without one."""
    from ray._private.state import state

    return dict(state.get_max_resources_from_cluster_config() or {})


def _nodes() -> list[dict[str, Any]]:
    import ray

    return list(ray.nodes())  # type: ignore[no-untyped-call]
