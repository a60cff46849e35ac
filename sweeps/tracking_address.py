"""Where tracking goes to: the address, whether it answers, and SQLite without its waits. No mlflow here."""

import contextlib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hybrid.errors import BadInput
from sweeps.store import Store


def tracking_uri(store: Store, uri: str | None) -> str:
    """The address to track to; SQLite in the store if none is given."""
    if uri:
        return uri
    if store.local is None:
        raise BadInput(
            f"store {store}: the default tracking database needs a local store; give a tracking server's "
            "address as tracking.uri in the sweep file"
        )
    return f"sqlite:///{store.local}/mlflow.db"


def reachable(uri: str) -> None:
    """Ask a server once, so that a wrong address is not retried for minutes; look for a database's folder."""
    if uri.startswith("sqlite:///"):
        folder = Path(uri.removeprefix("sqlite:///")).parent
        if not folder.is_dir():
            raise BadInput(f"tracking database {uri}: there is no folder {folder}; mend tracking.uri")
    if not uri.startswith(("http://", "https://")):
        return
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=10):
            pass
    except (OSError, ValueError) as error:
        raise BadInput(
            f"tracking server {uri} does not answer ({error}); results are in the store, "
            "`sweeps sync` writes them later"
        ) from error


@contextlib.contextmanager
def unhurried_sqlite() -> Iterator[None]:
    """SQLite without waiting for the disk after each of MLflow's many small transactions.

    A process that dies leaves the database whole; only a power cut could damage it, and then it is made
    again from the store.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def relax(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", relax)
