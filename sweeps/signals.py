"""Signals that end a run in order, as Ctrl-C does: also SIGTERM, and SIGHUP of a terminal that is closed."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE_SECONDS = 10.0  # to end in order; a signal that comes meanwhile asks for what happens already
_ended_at: float | None = None  # when this process was last told to


def end_in_order() -> None:
    """From now on those signals raise KeyboardInterrupt, once in ten seconds.

    What a shell or nohup had this process ignore, Ctrl-C or a closed terminal, stays ignored. Nothing outside
    the main thread: whoever runs it decides.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _ENDING:
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """`end_in_order`, and what was set before afterwards."""
    global _ended_at
    _ended_at = None  # what ended an earlier run of this process does not count
    before = {number: signal.getsignal(number) for number in _ENDING}
    end_in_order()
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:  # of a library, which Python can't set again
                    signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    global _ended_at
    now = time.monotonic()
    if _ended_at is None or now - _ended_at > _PATIENCE_SECONDS:
        _ended_at = now
        raise KeyboardInterrupt
