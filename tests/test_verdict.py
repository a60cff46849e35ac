"""`sweeps verdict` on Parquet files, in-process and as a command."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_scores import change, score_table
from rich.console import Console

from hybrid.errors import BadInput
from sweeps.verdict import judge_file, print_verdicts, verdict_json

NAMES = {"arm", "task", "measure", "difference", "lower", "upper", "verdict", "flags"}


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scores") / "scores of a sweep.parquet"
    pq.write_table(score_table({"mono": 0.0, "m0.5": 0.0, "m0.0": -0.1}, sd_residual=0.02), path)
    return path


def test_the_command_prints_one_json_object(scores: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sweeps",
        "verdict",
        str(scores),
        "--reference",
        "mono",
        "--margin",
        "0.02",
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    verdicts = json.loads(done.stdout)["verdicts"]
    assert all(set(v) >= NAMES for v in verdicts)
    found = {(v["arm"], v["task"]): v["verdict"] for v in verdicts}
    assert found["m0.5", "macro"] == "no_degradation"
    assert found["m0.0", "macro"] == "degradation"
    assert set(found) == {(arm, task) for arm in ("m0.5", "m0.0") for task in ("macro", "scifact", "fiqa")}
    for v in verdicts:
        assert (v["verdict"] == "no_degradation") == (v["lower"] > -0.02)
        assert (v["verdict"] == "degradation") == (v["upper"] < -0.02)
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "no degradation" in shown
    assert "max-T" in shown


def test_mistakes_are_sentences_and_exit_2(scores: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sweeps", "verdict"]
    done = subprocess.run(
        [*command, str(scores), "--reference", "mno"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "did you mean 'mono'?" in done.stderr
    assert "Traceback" not in done.stderr
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and nothing more")
    for path, sentence in ((broken, "not a readable Parquet file"), (tmp_path / "absent", "no such file")):
        with pytest.raises(BadInput, match=sentence):
            judge_file(path, reference="mono")
    with pytest.raises(BadInput) as caught:
        judge_file(scores, reference="mono", margin=-1, level=2)
    assert len(caught.value.mistakes) == 2
    with pytest.raises(BadInput, match="either --spec"):
        judge_file(scores)
    with pytest.raises(BadInput, match="did you mean 'ndcg_at_10'"):
        judge_file(scores, reference="mono", measure="ndcg_at10")


def test_a_file_without_needed_columns_names_them_all(tmp_path: Path) -> None:
    path = tmp_path / "short.parquet"
    pq.write_table(pa.table({"arm": ["a"], "value": ["x"]}), path)
    with pytest.raises(BadInput) as caught:
        judge_file(path, reference="a")
    text = "\n".join(caught.value.mistakes)
    for name in ("seed", "task", "group", "query_id", "measure", "'value' is string"):
        assert name in text
    assert all(str(path) in mistake for mistake in caught.value.mistakes)


def test_unknown_numbers_are_null_in_json_and_refusals_are_explained(tmp_path: Path) -> None:
    table = score_table({"mono": 0.0, "m0.5": 0.0})
    values = np.array(table["value"].to_pylist())
    values[-1] = np.nan
    path = tmp_path / "nan.parquet"
    pq.write_table(change(table, "value", values), path)
    comparison = judge_file(path, reference="mono")
    text = json.dumps(verdict_json(comparison), allow_nan=False)
    assert '"refused"' in text
    console = Console(record=True, width=160, file=io.StringIO())
    print_verdicts(comparison, console)
    assert f"row {table.num_rows} has value nan" in console.export_text()


def test_what_was_declared_is_shown_and_the_rest_on_demand(scores: Path, tmp_path: Path) -> None:
    table, path = pq.read_table(scores), tmp_path / "more.parquet"
    other = change(table, "group", ["in_domain"] * table.num_rows)
    pq.write_table(pa.concat_tables([table, change(other, "task", ["elsewhere"] * table.num_rows)]), path)
    comparison = judge_file(path, reference="mono")

    def shown(everything: bool) -> str:
        console = Console(record=True, width=160, file=io.StringIO())
        print_verdicts(comparison, console, everything=everything)
        return console.export_text()

    assert "elsewhere" not in shown(False)
    hidden = sum(v.group == "in_domain" for v in comparison.verdicts)
    assert f"{hidden} exploratory comparisons of other groups and measures: --all" in shown(False)
    assert "elsewhere" in shown(True)
    assert "--all" not in shown(True)
    for task in ("macro", "scifact"):
        assert f"{100 * (comparison.of('m0.0', task).difference or 0):+.2f}" in shown(False)


def test_a_spec_gives_references_margin_and_family(tmp_path: Path) -> None:
    from sweeps.arms import name_arms
    from sweeps.spec import read_spec

    sweep = read_spec("quickstart")
    arms = name_arms(sweep.points, sweep.reference, "")
    trained = [a.alias for a in arms if not a.untouched]
    measure, group = sweep.guardrail.measure, sweep.guardrail.group
    path = tmp_path / "scores.parquet"
    pq.write_table(
        score_table(dict.fromkeys(trained, 0.0), sets={"embedded-science": 80}, measure=measure, group=group),
        path,
    )
    comparison = judge_file(path, sweep=sweep)
    expected = {a.alias: a.reference for a in arms if a.reference and a.reference != a.alias}
    assert {v.arm: v.reference for v in comparison.primary} == expected
    assert {v.margin for v in comparison.primary} == {sweep.guardrail.margin}
    with pytest.raises(BadInput, match="are the guardrail's"):
        judge_file(path, sweep=sweep, margin=0.5)
    other = tmp_path / "other.parquet"
    pq.write_table(score_table({"x": 0.0, "y": 0.0}), other)
    with pytest.raises(BadInput, match="no arm of the scores"):
        judge_file(other, sweep=sweep)


def found(path: Path, **options: object) -> dict[str, tuple[str, float | None, float | None]]:
    comparison = judge_file(path, reference="mono", **{"margin": 0.02, **options})  # type: ignore[arg-type]
    return {v.arm: (v.verdict, v.lower, v.upper) for v in comparison.verdicts if v.task == "macro"}


def as_category(values: list[str]) -> pa.Array:
    return pa.array(values).dictionary_encode()


@pytest.mark.parametrize(
    ("column", "odd"),
    [
        ("seed", lambda values: [str(seed) for seed in values]),
        ("seed", lambda values: [f"{seed}.0" for seed in values]),
        ("seed", lambda values: [f"run {seed}" for seed in values]),
        ("seed", lambda values: [float(seed) for seed in values]),
        ("arm", as_category),
        ("cluster_id", lambda values: [None] * len(values)),
        ("cluster_id", lambda values: [None if name.endswith("1") else name for name in values]),
        ("extra", lambda values: values),
    ],
)
def test_odd_forms_of_one_table_give_one_answer(scores: Path, tmp_path: Path, column: str, odd) -> None:
    table, path = pq.read_table(scores), tmp_path / "odd.parquet"
    if column == "extra":
        table = table.append_column("comment", pa.array(["so"] * table.num_rows))
    else:
        table = change(table, column, odd(table[column].to_pylist()))
    pq.write_table(table.take(np.random.default_rng(0).permutation(table.num_rows)), path)
    plain, here = found(scores), found(path)
    assert {arm: verdict for arm, (verdict, _, _) in plain.items()} == {
        "m0.5": "no_degradation",
        "m0.0": "degradation",
    }
    for arm, (verdict, lower, upper) in plain.items():
        assert here[arm] == (verdict, pytest.approx(lower), pytest.approx(upper))


def test_what_had_to_be_taken_as_something_is_said(scores: Path, tmp_path: Path) -> None:
    table, path = pq.read_table(scores), tmp_path / "odd.parquet"
    points = change(table.drop_columns("cluster_id"), "value", 100 * table["value"].to_numpy())
    pq.write_table(points, path)
    comparison = judge_file(path, reference="mono", margin=2.0)
    assert any("no row has a cluster_id" in note for note in comparison.notes)
    assert any("no fractions" in note for note in comparison.notes)
    assert found(path, margin=2.0)["m0.0"][0] == "degradation"
    with pytest.raises(BadInput, match=r"--margin 2 .* are fractions; write 0.02 for 2 points"):
        judge_file(scores, reference="mono", margin=2.0)
    ranks = table.set_column(
        table.column_names.index("measure"), "measure", pa.array(["rank_distance"] * len(table))
    )
    pq.write_table(ranks, path)
    assert found(path, margin=2.0)["m0.0"][0] == "no_degradation"
    console = Console(record=True, width=160, file=io.StringIO())
    print_verdicts(comparison, console)
    shown = console.export_text()
    assert f"{comparison.of('m0.0').difference:+.2f}" in shown
    assert "no row has a cluster_id" in shown


def test_named_seeds_that_are_not_common_are_named(scores: Path, tmp_path: Path) -> None:
    table, path = pq.read_table(scores), tmp_path / "odd.parquet"
    names = [
        f"{'other' if (arm, seed) == ('m0.5', 2) else 'run'}-{seed}"
        for arm, seed in zip(table["arm"].to_pylist(), table["seed"].to_pylist(), strict=True)
    ]
    pq.write_table(change(table, "seed", names), path)
    v = judge_file(path, reference="mono").of("m0.5", "scifact")
    assert v.n_seeds == 3
    assert "seeds other-2, run-2 are not in every arm compared" in "; ".join(v.notes)
