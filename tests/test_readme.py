"""What the README and docs tell a newcomer to type, open or paste is really there."""

import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import hybrid.cli
import sweeps.cli
from sweeps.spec import read_spec

ROOT = Path(__file__).parents[1]
GENERATED = {"tables"}  # folders of what `sweeps report` writes
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name not in GENERATED),
]
PROGRAMS = {"sweeps": sweeps.cli._parser, "hybrid": hybrid.cli._parser}


def blocks(page: Path, language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def commands() -> list[tuple[str, str]]:
    """Every line of a shell block that calls one of the two programs, with the page it stands on."""
    found = []
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.split("#")[0].strip()
                if words.split(" ")[0] in PROGRAMS:
                    found.append((page.name, words))
    return found


def test_there_are_commands_to_check() -> None:
    assert len(commands()) >= 8


@pytest.mark.parametrize(("page", "command"), commands())
def test_commands_are_understood(page: str, command: str) -> None:  # noqa: ARG001
    program, *arguments = shlex.split(command)
    PROGRAMS[program]().parse_args(arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    targets = [t.split("#")[0] for t in re.findall(r"\]\(([^)]+)\)", text) if "://" not in t]
    missing = [t for t in targets if t and not (page.parent / t).exists()]
    assert missing == []


def test_the_readme_sweep_file_is_valid(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "README.md", "yaml")
    path = tmp_path / "my-sweep.yaml"
    path.write_text(text)
    for folder in ("xquad-r", "scifact", "climate-fever-pool"):  # only looked for, not read
        (tmp_path / folder / "qrels").mkdir(parents=True)
    (tmp_path / "xquad-r" / "en.json").touch()
    for folder in ("scifact", "climate-fever-pool"):
        for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv", "qrels/train.tsv"):
            (tmp_path / folder / name).touch()
    assert len(read_spec(str(path), data_root=tmp_path).points) == 6


def test_tables_in_pages_are_those_of_the_report() -> None:
    spec = importlib.util.spec_from_file_location("insert_tables", ROOT / "docs/insert_tables.py")
    assert spec is not None
    assert spec.loader is not None
    insert_tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(insert_tables)
    texts = {page: page.read_text(encoding="utf-8") for page in insert_tables.PAGES}
    assert insert_tables.MARKED.search(texts[ROOT / "README.md"])
    stale = [page.name for page, text in texts.items() if insert_tables.with_tables(text) != text]
    assert stale == [], "run: python docs/insert_tables.py"


def test_the_summary_of_the_simulation_is_that_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    results = ROOT / "benchmarks/results"
    rows = json.loads((results / "degradation.json").read_text(encoding="utf-8"))
    written = (results / "degradation-summary.md").read_text(encoding="utf-8")
    assert importlib.import_module("degradation").summary(rows) == written
