"""Says that the head of a cluster is gone: Ray would say nothing for a minute and then end the process."""

import socket
import threading
from collections.abc import Callable
from types import TracebackType

_EVERY_SECONDS = 5.0
_MISSED = 3  # knocks in a row: a head that is only busy answers in between


class HeadWatch:
    """Context manager that knocks at `address`, host:port; `lost` is called once if nothing answers there."""

    def __init__(self, address: str, lost: Callable[[], None]) -> None:
        host, _, port = address.rpartition(":")
        self._place, self._lost = (host.strip("[]"), int(port)), lost
        self._left = threading.Event()
        self._knocking = threading.Thread(target=self._knock, name="head", daemon=True)

    def __enter__(self) -> "HeadWatch":
        self._knocking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()

    def _knock(self) -> None:
        missed = 0
        while missed < _MISSED:
            if self._left.wait(_EVERY_SECONDS):
                return
            try:
                socket.create_connection(self._place, timeout=_EVERY_SECONDS).close()
                missed = 0
            except OSError:
                missed += 1
        self._lost()
