"""What a report says of input that cannot carry an answer: something honest and specific, never a number
that pretends."""

from collections.abc import Callable
from dataclasses import replace

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from made_sweep import make_sweep, paper_like, replan

from sweeps.figures import draw_figures
from sweeps.plan import Plan
from sweeps.report import report_schema
from sweeps.report_numbers import report_numbers
from sweeps.report_page import render_page
from sweeps.report_tables import build_tables
from sweeps.results import load_results
from sweeps.store import Store


def seen(plan: Plan, store: Store) -> tuple[dict, str]:
    """The numbers, which keep the schema, and the text of the page, figures apart."""
    plan = replan(plan, store)
    report = report_numbers(plan, load_results(plan, store, every_measure=False))
    tables = build_tables(report)
    jsonschema.validate({**report, "tables": [], "figures": []}, report_schema())
    return report, render_page(report, tables, [])


def drop(store: Store, trial) -> None:
    store.delete(f"models/{trial.train_key}")
    store.delete(f"scores/{trial.train_key}")


def rescore(
    plan: Plan, store: Store, task: str, change: Callable[[np.ndarray], np.ndarray], arm: str | None = None
) -> None:
    """Scores of a task changed in place, of one arm or of all."""
    for trial in plan.trials:
        if arm is None or trial.arm.alias == arm:
            key = trial.scores[task]
            table, record = store.scores(trial.train_key, key), store.score_record(trial.train_key, key)
            values = change(table["value"].to_numpy().copy())
            at = table.column_names.index("value")
            table = table.set_column(at, table.schema.field("value"), pa.array(values)).drop_columns(
                "train_key"
            )
            own = {name: value for name, value in record.items() if name not in ("sha256", "bytes", "rows")}
            store.put_scores(trial.train_key, key, table, own)


def declared(report: dict) -> dict[str, dict]:
    return {row["arm"]: row for row in report["verdicts"]["rows"] if row["task"] == "macro"}


@pytest.fixture
def made(tmp_path) -> tuple[Plan, Store]:
    return make_sweep(tmp_path, seeds=(1, 2, 3, 4), shift=paper_like, noise=0.02, queries=60)


def test_a_reference_arm_without_scores_refuses_what_needs_it(made):
    plan, store = made
    for trial in plan.trials:
        if trial.arm.alias == "m1":
            drop(store, trial)
    report, text = seen(plan, store)
    assert not {"safe", "forest", "languages"} & {one.name.split("-")[0] for one in draw_figures(report)}
    assert {row["verdict"] for row in report["verdicts"]["rows"]} == {"refused"}
    assert "No verdict: the reference arm m1 has no scores: nothing to compare with." in text
    assert "no scores at mono_ratio 1, the point of comparison: no curve" in text
    assert all(row["difference"] is None for row in report["differences"])


def test_an_arm_for_which_the_sweep_has_no_reference_is_named(made):
    plan, store = made
    arms = tuple(replace(arm, reference=None) if arm.alias == "m0" else arm for arm in plan.arms)
    report, text = seen(replace(plan, arms=arms), store)
    assert set(declared(report)) == {"m0.5"}
    assert "m0: the sweep has no arm with mono_ratio 1 and the same other axes" in text


@pytest.mark.parametrize(("seeds", "words"), [((1,), "1 seed is too few"), ((1, 2), "2 seeds are too few")])
def test_too_few_seeds_get_no_verdict(tmp_path, seeds, words):
    report, text = seen(*make_sweep(tmp_path, seeds=seeds, shift=paper_like, noise=0.02, queries=60))
    assert words in text
    assert {row["verdict"] for row in declared(report).values()} == {"refused"}
    assert all(curve["safe"]["to"] == 1.0 for curve in report["effects"]["mono_ratio"] if curve["declared"])
    for row in declared(report).values():
        if len(seeds) == 1:
            assert (row["lower"], row["lower_95"]) == (None, None)
            assert row["query_lower"] < row["difference"] < row["query_upper"]
        else:
            assert "few_seeds" in row["flags"]
            assert "2 seeds are too few for a verdict here; at least 3 are needed" in row["notes"]
    if len(seeds) == 1:
        assert "queries only: " in text
        assert {one["kind"] for one in report["statements"]} == {"unknown"}


def test_unequal_seeds_use_the_common_ones_and_say_so(made):
    plan, store = made
    drop(store, next(trial for trial in plan.trials if trial.label == "m0 s2"))
    report, text = seen(plan, store)
    assert (declared(report)["m0"]["seeds"], declared(report)["m0.5"]["seeds"]) == (3, 4)
    assert "seeds 2 are not in every arm compared and are left out" in text
    assert "unequal seeds" in text


def test_failed_trials_are_named_and_their_balance_is_tested(tmp_path):
    plan, store = make_sweep(tmp_path, seeds=(1, 2, 3, 4, 5), shift=paper_like, noise=0.02, queries=60)
    for trial in plan.trials:
        if trial.arm.alias == "m0" and trial.seed != 1:
            drop(store, trial)
            store.put_failure(trial.train_key, {"reason": "killed: out of memory"})
    report, text = seen(plan, store)
    assert "4 of 16 trials lack results" in text
    assert "m0 s2: failed, killed: out of memory" in text
    assert "(1 of 5 seeds)" in text
    assert declared(report)["m0"]["verdict"] == "refused"
    assert declared(report)["m0.5"]["verdict"] != "refused"
    failures = report["robustness"]["failures"]
    assert failures["failed"] == {"m1": 0, "m0.5": 0, "m0": 4}
    assert 0 < failures["p"] < 0.05
    assert "Failed trials by arm: m0 4 of 5." in text
    assert "may be a selection" in text


def test_a_handful_of_queries_gets_no_verdict(tmp_path):
    report, text = seen(*make_sweep(tmp_path, seeds=(1, 2, 3), shift=paper_like, noise=0.02, queries=8))
    assert {row["verdict"] for row in report["verdicts"]["rows"]} == {"refused"}
    assert "4 independent queries: too few for an interval" in text
    assert all(row["lower"] is None for row in report["verdicts"]["rows"])


def test_constant_scores_are_refused(made):
    plan, store = made
    rescore(plan, store, "embedded-science", lambda values: np.zeros_like(values))
    report, text = seen(plan, store)
    rows = {(row["arm"], row["task"]): row for row in report["verdicts"]["rows"]}
    assert rows["m0", "embedded-science"]["flags"] == ["constant_scores"]
    assert rows["m0", "macro"]["verdict"] == "refused"
    assert rows["m0", "embedded-history"]["verdict"] == "degradation"
    assert "every score of these arms is one constant: the measure says nothing here" in text


def test_a_value_that_is_no_number_makes_its_file_count_as_lacking(made, monkeypatch):
    """The store refuses to write one, so the reading is given one."""
    plan, store = made
    spoiled = {trial.train_key for trial in plan.trials if trial.arm.alias == "m0.5"}
    read = Store.scores

    def scores(self: Store, train_key: str, score_key: str) -> pa.Table:
        table = read(self, train_key, score_key)
        if train_key not in spoiled or table["task"][0].as_py() != "embedded-history":
            return table
        values = table["value"].to_numpy().copy()
        values[7] = np.nan
        at = table.column_names.index("value")
        return table.set_column(at, table.schema.field("value"), pa.array(values))

    monkeypatch.setattr(Store, "scores", scores)
    report, text = seen(plan, store)
    assert len(report["damaged"]) == 4
    assert "m0.5 s1 on embedded-history: 1 of 240 values are no numbers, first in row 8:" in text
    assert declared(report)["m0.5"]["verdict"] == "refused"
    assert declared(report)["m0"]["verdict"] == "degradation"
    assert "4 of 13 trials lack results" in text


def test_machines_that_differ_are_marked(made, monkeypatch):
    plan, store = made
    from sweeps import report_numbers as room

    kinds = iter("ab" * 100)
    monkeypatch.setattr(room, "_machine", lambda record: f"GPU {next(kinds)}" if record.record else None)
    report, text = seen(plan, store)
    assert report["cost"]["mixed_hardware"]
    assert "Trials ran on 2 kinds of machine" in text
    assert "times do not compare" in text


def test_verdicts_across_unlike_hardware_are_marked(made):
    plan, store = made
    assert not any("unlike_machines" in row["flags"] for row in seen(plan, store)[0]["verdicts"]["rows"])
    for trial in plan.trials_of(plan.arm("m0")):
        path = f"models/{trial.train_key}/record.json"
        record = store.get_json(path)
        record["hardware"]["processor"] = "Another CPU" if trial.seed in (2, 3) else "Example CPU"
        store.put_json(path, record)
    report, text = seen(plan, store)
    marked = {row["arm"]: "unlike_machines" in row["flags"] for row in report["verdicts"]["rows"]}
    assert marked == {"m0.5": False, "m0": True}
    (note,) = [note for note in declared(report)["m0"]["notes"] if "unlike hardware" in note]
    assert "(2 seeds, such as Another CPU against Example CPU)" in note
    assert "trained on unlike hardware" in text
    assert "verdicts across them are marked" in text


def test_a_sweep_with_nothing_done_still_has_a_report(tmp_path):
    plan, store = make_sweep(tmp_path, seeds=(1,))
    store.delete("models")
    store.delete("scores")
    report, text = seen(plan, store)
    assert "4 of 4 trials lack results" in text
    assert "no arms to compare" in text
    assert "No answer yet" in text
    assert report["verdicts"]["rows"] == []
    assert draw_figures(report) == []
