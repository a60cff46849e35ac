"""MLflow's pages for a store, served to this machine alone."""

import os
import socket
import subprocess
import sys

from hybrid.errors import BadInput
from sweeps.signals import ending_in_order
from sweeps.store import Store
from sweeps.tracking_address import tracking_uri


def serve(store: Store, uri: str | None = None, *, port: int = 5000) -> int:
    """Serve the tracking database until interrupted; returns the server's exit code.

    A tracking server has pages of its own: its address is printed instead. Raises BadInput where nothing
    is tracked yet.
    """
    uri = tracking_uri(store, uri)
    if uri.startswith(("http://", "https://")):
        print(uri)
        return 0
    database = store.local / "mlflow.db" if store.local is not None else None
    if database is not None and uri == f"sqlite:///{database}" and not database.exists():
        raise BadInput(f"store {store}: nothing is tracked there yet; `sweeps sync SPEC` writes it")
    _refuse_taken(port)
    print(f"MLflow: http://127.0.0.1:{port}  (Ctrl+C ends it)", flush=True)
    # In a session of its own Ctrl-C reaches it through here alone, once: twice, and it ends in a traceback.
    with ending_in_order():
        server = subprocess.Popen(command(uri, port), env=environment(), start_new_session=True)
        try:
            return server.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            server.terminate()
            server.wait()


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise BadInput(f"--port {port}: cannot be used ({error}); give another") from error


def command(uri: str, port: int) -> list[str]:
    """MLflow's server as a single reader needs it: one worker, loopback only."""
    options = ["--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "ui", *options]


def environment() -> dict[str, str]:
    """Without job execution the server starts in seconds and without seven more processes."""
    return {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
