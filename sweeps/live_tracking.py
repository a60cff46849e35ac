"""MLflow brought up to date while a sweep runs, beside it: trials never wait for it and never fail by it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from sweeps.plan import make_plan
from sweeps.secrets import redacted
from sweeps.spec import Sweep
from sweeps.store import Store

_AT_MOST_EVERY_SECONDS = 10.0
_SHARE_OF_TIME = 0.1  # that projecting may take of this process while trials run


class LiveTracking:
    """Context manager: `changed()` after each trial, and a last projection when it is left."""

    def __init__(
        self, sweep: Sweep, store: Store, data_root: Path | None, say: Callable[[str], None]
    ) -> None:
        self._sweep, self._store, self._data_root, self._say = sweep, store, data_root, say
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._told = ""  # the last complaint; one that lasts is said once
        self._thread = threading.Thread(target=self._loop, name="tracking", daemon=True)

    def __enter__(self) -> "LiveTracking":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._changed.set()
        if kind is None:
            self._thread.join()
            self._project()

    def changed(self) -> None:
        """Something new is in the store. Returns at once."""
        self._changed.set()

    def _loop(self) -> None:
        while True:
            self._changed.wait()
            if self._ended.is_set():
                return
            self._changed.clear()
            start = time.monotonic()
            self._project()
            pause = (time.monotonic() - start) / _SHARE_OF_TIME
            self._ended.wait(max(_AT_MOST_EVERY_SECONDS, pause))

    def _project(self) -> None:
        try:
            from sweeps.tracking import project

            plan = make_plan(self._sweep, self._store, self._data_root)
            project(plan, self._store, self._sweep.tracking.uri, say=self._say)
            self._told = ""
        except Exception as error:  # whatever it is, the store has the results and the sweep goes on
            reason = redacted(str(error).strip().partition("\n")[0]) or type(error).__name__
            if reason != self._told:
                self._told = reason
                later = "" if "`sweeps sync`" in reason else "; `sweeps sync` brings it up to date"
                self._say(f"MLflow is behind the store: {reason}{later}")
