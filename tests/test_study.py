"""The published study: complete; verdicts follow from the scores beside them, prose from the tables."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sweeps.arms import name_arms
from sweeps.spec import read_spec
from sweeps.verdict import judge_file

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "docs/study/report"


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REPORT / "report.json").read_text(encoding="utf-8"))
    return found


def test_no_arm_and_no_seed_is_missing() -> None:
    sweep = read_spec("study-minilm", files_later=True)
    arms = name_arms(sweep.points, sweep.reference, "")
    planned = {(arm.alias, None if arm.untouched else seed) for arm in arms for seed in sweep.seeds}
    scores = pq.read_table(REPORT / "scores.parquet", columns=["arm", "seed"])
    pairs = scores.group_by(["arm", "seed"]).aggregate([])
    assert set(zip(pairs["arm"].to_pylist(), pairs["seed"].to_pylist(), strict=True)) == planned
    assert len(planned) == 46


def test_published_verdicts_follow_from_published_scores(report: dict[str, Any]) -> None:
    comparison = judge_file(REPORT / "scores.parquet", sweep=read_spec("study-minilm", files_later=True))
    primary = {v.arm: v for v in comparison.verdicts if v.family.startswith("primary")}
    rows = [row for row in report["verdicts"]["rows"] if row["task"] == "macro"]
    assert {row["arm"] for row in rows} == set(primary)
    for row in rows:
        v = primary[row["arm"]]
        assert (row["verdict"], row["flags"]) == (v.verdict, list(v.flags))
        for name in ("difference", "lower", "upper"):
            assert row[name] == pytest.approx(getattr(v, name))


@pytest.mark.parametrize("page", ["README.md", "docs/study/results.md"])
def test_differences_in_the_prose_occur_in_the_report(report: dict[str, Any], page: str) -> None:
    tables = "".join(path.read_text(encoding="utf-8") for path in (REPORT / "tables").glob("*.md"))
    known = set(re.findall(r"[−+]\d+\.\d+", tables))
    for row in report["verdicts"]["rows"]:  # where one place behind the point would hide a margin
        known.add(f"{100 * row['lower']:+.2f}".replace("-", "−"))
    for cell in report["languages"]:
        if cell["query_lang"] == cell["doc_lang"] == "en":
            numbers = (cell["difference"], cell["all_lower"], cell["all_upper"])
            known |= {f"{100 * number:+.1f}".replace("-", "−") for number in numbers}
    text = (ROOT / page).read_text(encoding="utf-8")
    prose = re.sub(r"<!-- table: .*?<!-- end -->", "", text, flags=re.DOTALL)
    told = re.findall(r"[−+]\d+\.\d+", prose)
    assert told
    assert [number for number in told if number not in known] == []
