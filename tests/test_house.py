"""The walls of the house: what may import what, and what the top level promises."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = (
    "torch",
    "transformers",
    "sentence_transformers",
    "datasets",
    "ray",
    "optuna",
    "mlflow",
    "matplotlib",
)


def imported(path: Path) -> set[str]:
    """Top-level names of every module that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def files_that_import(package: str, name: str) -> list[str]:
    return sorted(str(p.relative_to(ROOT)) for p in (ROOT / package).rglob("*.py") if name in imported(p))


def test_hybrid_knows_nothing_of_sweeps_ray_or_mlflow() -> None:
    for name in ("sweeps", "ray", "mlflow", "optuna"):
        assert files_that_import("hybrid", name) == [], name


def test_mlflow_is_imported_in_tracking_and_its_client_alone() -> None:
    assert files_that_import("sweeps", "mlflow") == [
        "sweeps/tracking.py",
        "sweeps/tracking_client.py",
    ]


def test_no_room_without_a_subject() -> None:
    vague = {"utils.py", "util.py", "core.py", "common.py", "helpers.py", "manager.py", "misc.py"}
    found = [p for package in ("hybrid", "sweeps") for p in (ROOT / package).rglob("*.py") if p.name in vague]
    assert found == []


@pytest.mark.parametrize(
    "module",
    [
        "hybrid.config",
        "hybrid.backbones",
        "hybrid.data.catalog",
        "sweeps.spec",
        "sweeps.plan",
        "sweeps.store",
        "sweeps.cli",
    ],
)
def test_planning_needs_no_heavy_import(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_the_ci_script_runs_the_readme_command() -> None:
    assert "make test\n" in (ROOT / ".ci/run").read_text()
    readme = (ROOT / "README.md").read_text()
    first_screen = "\n".join(readme.splitlines()[:45])
    assert "make quickstart" in first_screen
    assert "make test" in first_screen


def test_the_lock_pins_every_dependency_once() -> None:
    lines = (ROOT / "constraints.txt").read_text().split()
    names = [line.split("==")[0].lower() for line in lines]
    assert len(names) == len(set(names))
    assert all("==" in line for line in lines)
    assert "torch==2.13.0" in lines
