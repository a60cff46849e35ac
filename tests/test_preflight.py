"""What is said before the first trial, and the commands that sentences name."""

import shlex
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from small_sweep import write_small_sweep
from test_submit import free_port

from sweeps.cli import _parser
from sweeps.plan import make_plan
from sweeps.preflight import say_if_tracking_is_away
from sweeps.run import _next
from sweeps.spec import Sweep, read_spec
from sweeps.spec_sections import Tracking
from sweeps.status import command_line
from sweeps.store import Store


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


def tracked_at(uri: str | None) -> Sweep:
    sweep = read_spec("quickstart", [])
    return replace(sweep, tracking=Tracking(uri=uri))


def test_a_tracking_server_that_is_away_is_one_sentence_with_the_way_to_catch_up(tmp_path: Path) -> None:
    said: list[str] = []
    address = f"http://127.0.0.1:{free_port()}"
    say_if_tracking_is_away(tracked_at(address), Store(tmp_path), None, said.append)
    (sentence,) = said
    assert sentence.startswith(f"tracking server {address} does not answer (")
    assert "Connection refused" in sentence
    assert f"`sweeps sync quickstart --store {tmp_path}` brings it up to date" in sentence


@pytest.mark.parametrize("uri", [None, "sqlite:////nowhere/mlflow.db", "here"])
def test_nothing_is_said_of_one_that_answers_or_of_a_database(tmp_path: Path, uri: str | None) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        uri = f"http://127.0.0.1:{server.server_port}/" if uri == "here" else uri
        said: list[str] = []
        say_if_tracking_is_away(tracked_at(uri), Store(tmp_path), None, said.append)
        server.shutdown()
    assert said == []


def test_a_command_that_is_named_is_one_that_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "with a space"
    folder.mkdir()
    spec, data_root = write_small_sweep(folder)
    monkeypatch.chdir(tmp_path)
    own, shipped = read_spec(str(spec), [], data_root), read_spec("quickstart", [])
    assert command_line("report", shipped, str(Store("store")), None) == "sweeps report quickstart"
    assert command_line("stop", own, "s3://a/b", None) == f"sweeps stop '{spec}' --store s3://a/b"
    overrides = ["train.examples=80", "seeds=[1, 2]"]
    changed = read_spec(str(spec), overrides, data_root)
    line = command_line("report", changed, str(tmp_path / "st"), data_root)
    assert line == (
        f"sweeps report '{spec}' --store {tmp_path}/st --data-root '{data_root}' "
        "--set train.examples=80 --set 'seeds=[1, 2]'"
    )
    monkeypatch.delenv("HYBRID_DATA_ROOT", raising=False)
    typed = _parser().parse_args(shlex.split(line)[1:])
    read = read_spec(typed.spec, typed.set, typed.data_root)  # as offered, it means the same sweep
    assert (read, typed.store) == (changed, str(tmp_path / "st"))


def test_a_command_that_is_named_holds_no_password() -> None:
    sweep = replace(read_spec("quickstart", []), overrides=("tracking.uri=http://me:word@host",))
    assert command_line("sync", sweep, str(Store("store")), None) == (
        "sweeps sync quickstart --set tracking.uri=http://***@host"
    )


def test_the_end_of_a_run_offers_the_report_of_the_sweep_that_was_run(tmp_path: Path) -> None:
    spec, data_root = write_small_sweep(tmp_path)
    store = Store(tmp_path / "store")
    plan = make_plan(read_spec(str(spec), ["seeds=[1]"], data_root), store, data_root)
    assert f"--data-root {data_root} --set 'seeds=[1]'`" in _next(plan, store, data_root, None)
