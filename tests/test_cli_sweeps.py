"""The command `sweeps`: exit codes, one JSON object on standard output, no traceback for a user's mistake."""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from small_data import write_small_data

from sweeps import cli, commands
from sweeps.spec import SHIPPED
from sweeps.store import Store

SMALL = """\
name: small
axes: {grid: {mono_ratio: [1.0, 0.5]}}
seeds: [1, 2]
train: {data: [faq:train], backbone: minilm-l6, examples: 64, batch_size: 4}
evaluate: {in_domain: [faq:test], zero_shot: [bugs]}
"""


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    root = write_small_data(tmp_path / "data")
    (tmp_path / "a.yaml").write_text(SMALL)
    return [str(tmp_path / "a.yaml"), "--store", str(tmp_path / "store"), "--data-root", str(root)]


def test_plan_prints_a_table_and_writes_nothing(arguments, tmp_path: Path, capfd) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["plan", *arguments]) == 0
    shown = capfd.readouterr().out
    assert re.search(r"m1 \(reference\) +16 .* train 1, 2", shown)
    assert "unknown until prepared" in shown
    assert "0 done, 4 to train, 1 to measure; time unknown until the first trial has run" in shown
    assert sorted(tmp_path.rglob("*")) == before


def test_json_is_one_object_and_nothing_else(arguments, capfd) -> None:
    assert cli.main(["prepare", *arguments, "--json"]) == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out) == {"name": "small", "trials": 5, "todo": 5}
    assert "prepared" in captured.err
    assert cli.main(["plan", *arguments, "--json"]) == 0
    plan = json.loads(capfd.readouterr().out)
    assert [trial["trial"] for trial in plan["trials"]] == [
        "m1 s1",
        "m1 s2",
        "m0.5 s1",
        "m0.5 s2",
        "untouched",
    ]
    assert all(re.fullmatch("[0-9a-f]{20}", trial["train_key"]) for trial in plan["trials"])
    assert plan["unknown"] == []
    assert plan["seconds_left"] is None


def test_what_children_print_does_not_reach_the_json(
    arguments, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy(_: object) -> tuple[int, dict[str, int]]:
        print("from Python")
        os.write(1, b"from below\n")
        subprocess.run(["echo", "from a child"], check=True)
        return 0, {"x": 1}

    monkeypatch.setattr(commands, "plan", noisy)
    assert cli.main(["plan", *arguments, "--json"]) == 0
    captured = capfd.readouterr()
    assert captured.out == '{"x": 1}\n'
    assert "from a child" in captured.err
    assert cli.main(["plan", *arguments]) == 0
    assert "from a child" in capfd.readouterr().out


@pytest.mark.parametrize("command", ["plan", "prepare", "run", "status", "report"])
def test_bad_input_is_exit_code_2_and_every_mistake(command: str, arguments, tmp_path: Path, capfd) -> None:
    (tmp_path / "a.yaml").write_text(SMALL.replace("seeds: [1, 2]", "seeds: []\ntrian: 1"))
    assert cli.main([command, *arguments, "--json"]) == 2
    captured = capfd.readouterr()
    found = json.loads(captured.out)["mistakes"]
    assert "a.yaml:3: seeds: is empty" in found[0]
    assert "a.yaml:4: trian: unknown field; did you mean train?" in found[1]
    assert captured.err.splitlines() == found
    assert "Traceback" not in captured.err
    assert not (tmp_path / "store").exists()


def test_broken_data_are_told_by_prepare(arguments, tmp_path: Path, capfd) -> None:
    (tmp_path / "data" / "bugs" / "corpus.jsonl").write_text('{"_id": "d1", "text": "cut o')
    assert cli.main(["prepare", *arguments]) == 2
    error = capfd.readouterr().err
    assert "corpus.jsonl:1" in error
    assert "Traceback" not in error


def test_ctrl_c_is_one_sentence(arguments, capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> tuple[int, dict[str, int]]:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "plan", interrupted)
    assert cli.main(["plan", *arguments]) == 130
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_status_before_anything_ran(arguments, capfd) -> None:
    assert cli.main(["status", *arguments, "--json"]) == 0
    status = json.loads(capfd.readouterr().out)
    assert (status["done"], status["todo"], status["run_by"]) == (0, 5, None)


def test_a_store_that_is_not_there_is_said(arguments, tmp_path: Path, capfd) -> None:
    mistyped = [*arguments[:1], "--store", str(tmp_path / "stroe"), *arguments[3:]]
    assert cli.main(["status", *mistyped]) == 0
    assert "stroe is not there yet" in capfd.readouterr().out
    for command in ("report", "sync", "export"):
        assert cli.main([command, *mistyped]) == 2
        assert "there is no such folder" in capfd.readouterr().err
    assert not (tmp_path / "stroe").exists()
    assert cli.main(["status", *arguments[:1], "--store", "s3//bucket/folder", *arguments[3:]]) == 2
    assert "has :// after its first word" in capfd.readouterr().err


def _its_run(store: Path, name: str = "small") -> None:
    """What a run of that name wrote down."""
    trial = {"trial": "m1 s1", "seed": 1, "train_key": "ab" * 10, "scores": {"bugs": "cd" * 10}}
    Store(store).put_json(f"sweeps/{name}/plan.json", {"trials": [trial]})


@pytest.mark.parametrize("command", ["status", "stop"])
def test_where_the_data_are_not_known_it_is_the_last_runs_state_and_said_so(
    command: str, arguments, tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HYBRID_DATA_ROOT", raising=False)
    elsewhere = arguments[:3]  # without --data-root: faq and bugs are known nowhere
    assert cli.main([command, *elsewhere]) == 2  # nobody ran it
    _its_run(tmp_path / "store")
    capfd.readouterr()
    assert cli.main([command, *elsewhere]) == 0
    shown = capfd.readouterr().out
    assert "0 of 1 trials" in shown
    assert "its last run" in shown
    if command == "status":
        assert re.search(r"a\.yaml:4: train\.data\[0\]: .*faq", shown)
        assert "known are" not in shown
    chosen = "evaluate.select_on={in_domain: [faq:dev], zero_shot: [bugs:train]}"  # apart, where it is known
    assert cli.main([command, *elsewhere, "--set", chosen]) == 0
    capfd.readouterr()
    _its_run(tmp_path / "store", "other")
    assert cli.main([command, *elsewhere, "--set", "name=other", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["trials"] == 1


@pytest.mark.parametrize("command", ["status", "stop"])
def test_a_mistake_in_the_file_is_told_though_its_run_left_a_plan(
    command: str, arguments, tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HYBRID_DATA_ROOT", raising=False)
    _its_run(tmp_path / "store")
    (tmp_path / "a.yaml").write_text(SMALL.replace("seeds:", "seds:"))
    assert cli.main([command, *arguments[:3]]) == 2
    assert "a.yaml:3: seds: unknown field; did you mean seeds?" in capfd.readouterr().err
    (tmp_path / "a.yaml").write_text(SMALL)
    assert cli.main([command, *arguments[:3], "--set", "seeds=[]"]) == 2
    capfd.readouterr()
    absent = ("--data-root", str(tmp_path / "absent"))  # as of a cluster
    assert cli.main([command, *arguments[:3], *absent, "--set", "seeds=[]"]) == 2
    assert "seeds: is empty" in capfd.readouterr().err
    assert cli.main([command, *arguments[:3], *absent]) == 0
    assert "its last run" in capfd.readouterr().out


def test_a_run_goes_on_without_taking_up_again_what_failed_since(
    arguments, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def line_of(arguments: argparse.Namespace) -> commands.Answer:
        return 0, {"line": arguments.line}

    monkeypatch.setattr(commands, "run", line_of)
    assert cli.main(["run", *arguments, "--retry-failed", "--yes", "--json"]) == 0
    line = json.loads(capfd.readouterr().out)["line"]
    assert shlex.split(line) == ["sweeps", "run", *arguments, "--yes", "--json"]


def test_a_wrong_command_line_is_exit_code_2(capfd) -> None:
    for words in (["pln", "quickstart"], ["plan"], ["run", "quickstart", "--max-concurrent", "0"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        assert stopped.value.code == 2
        assert "Traceback" not in capfd.readouterr().err


def test_plan_is_a_command_of_its_own(arguments) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "sweeps", "plan", *arguments], capture_output=True, text=True, check=True
    )
    assert "4 to train" in shown.stdout


def test_the_published_experiment_is_planned_without_its_files(tmp_path: Path, capfd, monkeypatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HYBRID_OFFLINE", "1")
    monkeypatch.delenv("HYBRID_DATA_ROOT", raising=False)
    assert cli.main(["plan", "paper", "--store", str(tmp_path / "store"), "--json"]) == 0
    plan = json.loads(capfd.readouterr().out)
    assert len(plan["trials"]) == 3 * 2 * 3 + 2
    assert "unknown until prepared" in plan["unknown"][0]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    assert cli.main(["plan", "paper", "--data-root", str(tmp_path / "empty"), "--json"]) == 2
    mistakes = json.loads(capfd.readouterr().out)["mistakes"]
    assert any(
        "train.data[0]: squad-translate-train is not under the data root" in mistake for mistake in mistakes
    )


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_published_experiment_runs_dry_by_the_command_in_its_head(tmp_path: Path, monkeypatch) -> None:
    """The command as it stands in paper.yaml, generated parts in place of the real: every arm and seed."""
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYBRID_OFFLINE", "1")
    head = (SHIPPED / "paper.yaml").read_text(encoding="utf-8").partition("name: paper")[0]
    text = head[head.index("#   sweeps run paper --yes") :].replace("#", "").replace("\\\n", " ")
    words = [str(tmp_path / "store") if word == "DIR" else word for word in shlex.split(text)]
    assert words[0] == "sweeps"
    done = subprocess.run(
        [sys.executable, "-m", *words, "--json"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    plan = subprocess.run(
        [sys.executable, "-m", "sweeps", "plan", *(w for w in words[2:] if w != "--yes"), "--json"],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    )  # fmt: skip
    found = json.loads(plan.stdout)
    assert (found["done"], found["todo"]) == (3 * 2 * 3 + 2, 0)
    assert found["settles"]["measured"] is True
