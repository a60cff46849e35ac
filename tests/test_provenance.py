"""The commit that a result was made by: only that of a checkout which keeps this package."""

import os
import subprocess
from pathlib import Path

import pytest

from sweeps.provenance import commit


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=tester", "-c", "user.email=tester@example.org", "-c", "commit.gpgsign=false")
    elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", folder, *who, "-c", "tag.gpgsign=false", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=elsewhere)
    return done.stdout.strip()


def test_a_commit_is_that_of_the_checkout_which_keeps_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, installed = tmp_path / "package", tmp_path / "site-packages"
    for folder in (package, installed):
        folder.mkdir()
        (folder / "module.py").write_text("value = 1\n")
    assert commit(package) is None
    git(tmp_path, "init")
    git(tmp_path, "add", "package")
    git(tmp_path, "commit", "-m", "first")
    git(tmp_path, "tag", "-a", "v1", "-m", "a tag is not told instead")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit(package) == head
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another" / ".git"))
    assert commit(package) == head
    assert commit(installed) is None
    (package / "module.py").write_text("value = 2\n")
    assert commit(package) == f"{head}+changes"
    assert commit(tmp_path / "nowhere") is None
