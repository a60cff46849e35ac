"""What ends a run in order: once, however often it is asked; signals that were ignored stay ignored."""

import signal
import subprocess
import sys
import time

import pytest

_WAIT = (
    "import signal, sys, time\n"
    "{before}"
    "from sweeps.signals import ending_in_order\n"
    "with ending_in_order():\n"
    "    try: print('waiting', flush=True); time.sleep({seconds}); print('slept')\n"
    "    except KeyboardInterrupt:\n"
    "        print('ending', flush=True); time.sleep(1.5); print('ended')\n"
)


_TAKEN = "for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(one, signal.SIG_DFL)\n"
"""What a test that runs behind nohup or `&` would hand on as ignored."""


def _waiting(before: str = "", seconds: float = 60) -> "subprocess.Popen[str]":
    code = _WAIT.format(before=before, seconds=seconds)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_asked_again_while_it_ends_it_ends_in_order(number: signal.Signals) -> None:
    process = _waiting(_TAKEN)
    process.send_signal(number)
    assert process.stdout is not None
    assert process.stdout.readline() == "ending\n"
    for again in (number, signal.SIGINT, signal.SIGTERM):
        process.send_signal(again)
        time.sleep(0.2)
    assert process.communicate(timeout=20)[0] == "ended\n"
    assert process.returncode == 0


def test_what_nohup_ignores_stays_ignored() -> None:
    process = _waiting("signal.signal(signal.SIGHUP, signal.SIG_IGN)\n", seconds=1)
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=20)[0] == "slept\n"
