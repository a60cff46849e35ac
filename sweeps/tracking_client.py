"""MLflow's client: its database there, or its server asked once. `tracking` and this alone import mlflow."""

import contextlib
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid.errors import BadInput
from sweeps.store import Store
from sweeps.tracking_address import reachable, unhurried_sqlite
from sweeps.tracking_lock import one_projection, to_stderr

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # seconds; by default a server that hangs is waited for 16 minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines a run
}
"""Of MLflow, unless set already: a server that is away is left at once, the store makes up for it."""


@contextlib.contextmanager
def tracking_client(
    uri: str, store: Store, say: Callable[[str], None] = to_stderr
) -> Iterator["MlflowClient"]:
    """A client with its database there. One projection of a store that is a folder writes at a time."""
    if store.local is not None:
        store.local.mkdir(parents=True, exist_ok=True)
    reachable(uri)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    with contextlib.ExitStack() as stack:
        stack.enter_context(one_projection(store, say))
        if uri.startswith("sqlite:///"):
            stack.enter_context(unhurried_sqlite())
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from requests import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # below it is one sentence
        try:
            if uri.startswith("sqlite:///"):
                _make_database(uri)
            yield MlflowClient(tracking_uri=uri, registry_uri=uri)
        except (MlflowException, RequestException, SQLAlchemyError) as error:
            # Requests' where files are sent to a server, SQLAlchemy's where a database is made
            reason = str(error).splitlines()[0]
            raise BadInput(
                f"tracking at {uri} failed: {reason}; results are in the store, `sweeps sync` writes them"
            ) from error


def _make_database(uri: str) -> None:
    """Let a database appear with all its tables, made beside its place: one that has a part of them, after a
    kill or on a full disk, MLflow neither completes nor opens. Where several make it at once, one's is taken.
    """
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine, make_url

    path = Path(make_url(uri).database or "").absolute()
    if path.exists():
        return
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    engine = create_engine(f"sqlite:///{part}")
    try:
        _initialize_tables(engine)  # type: ignore[no-untyped-call]
        engine.dispose()
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(part)
    finally:
        engine.dispose()
        part.unlink(missing_ok=True)  # where it did not fit: what there is of it takes room
