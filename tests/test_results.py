"""Scores joined with arms, seeds and groups, and paired differences: against values known by construction."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from made_sweep import TASKS, make_sweep, paper_like, replan, score_table

from hybrid.score_table import macro
from sweeps.comparisons import judge
from sweeps.results import RESULT_SCHEMA, _macro, load_results
from sweeps.series import blocks_of, differences_of, series_and_values, series_id


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_sweep(tmp_path_factory.mktemp("store"), shift=paper_like)


@pytest.fixture(scope="module")
def results(made):
    return load_results(*made)


def test_every_row_of_every_trial_is_there_under_its_arm_seed_and_group(made, results):
    plan, store = made
    assert results.scores.schema.names == RESULT_SCHEMA.names
    expected = sum(
        len(store.scores(trial.train_key, key)) * len(plan.tasks[task])
        for trial in plan.trials
        for task, key in trial.scores.items()
    )
    assert len(results.scores) == expected
    assert set(pc.unique(results.scores["group"]).to_pylist()) == set().union(*plan.tasks.values())
    untouched = results.scores.filter(pc.equal(results.scores["arm"], "untouched"))
    assert untouched["seed"].null_count == len(untouched) > 0
    assert [record.state for record in results.trials] == ["done"] * len(plan.trials)


def test_the_summary_is_the_macro_mean_that_evaluation_itself_gives(made, results):
    plan, store = made
    trial = plan.trials[2]
    wanted = macro(store.scores(trial.train_key, trial.scores["embedded-qa:test"]))
    found = {
        (row["task"], row["setting"], row["measure"]): row["value"]
        for row in results.rows("in_domain")
        if (row["arm"], row["seed"]) == (trial.arm.alias, trial.seed)
    }
    assert found == pytest.approx(wanted)


def test_what_is_missing_failed_or_damaged_is_named_and_not_filled_in(tmp_path):
    plan, store = make_sweep(tmp_path)
    done, lacking, failed, damaged = plan.trials[1:5]
    store.delete(f"scores/{lacking.train_key}/{lacking.scores['embedded-science']}.json")
    store.delete(f"models/{failed.train_key}")
    for key in failed.scores.values():
        store.delete(f"scores/{failed.train_key}/{key}.json")
    store.put_failure(failed.train_key, {"reason": "out of memory", "log": "…"})
    path = f"scores/{damaged.train_key}/{damaged.scores['embedded-history']}.parquet"
    store.put_bytes(path, b"not a table")
    results = load_results(replan(plan, store), store)
    states = {record.trial.label: record for record in results.trials}
    assert states[done.label].state == "done"
    assert states[lacking.label].state == "cut off"
    assert states[lacking.label].missing_tasks == ("embedded-science",)
    assert states[failed.label].state == "failed"
    assert states[failed.label].failure["reason"] == "out of memory"
    assert states[damaged.label].missing_tasks == ("embedded-history",)
    assert len(results.damaged) == 1
    assert path in results.damaged[0]


def test_a_store_without_anything_gives_empty_tables(tmp_path):
    plan, store = make_sweep(tmp_path)
    for folder in ("models", "scores"):
        store.delete(folder)
    results = load_results(replan(plan, store), store)
    assert len(results.scores) == len(results.summary) == 0
    assert {record.state for record in results.trials} == {"missing"}


def test_differences_are_those_put_in(made, results):
    """The shift is the same for every query, so the difference is known."""
    plan, _ = made
    found = differences_of(judge(plan, results), blocks_of(plan))
    checked = 0
    for one in found:
        group, task, setting, measure = one["series"].split("/")
        if one["arm"] == "m0" and measure in ("map", "ndcg_at_10") and task != "macro":
            truth = paper_like(task, setting, 0.0) - paper_like(task, setting, 1.0)
            assert one["difference"] == pytest.approx(truth, abs=1e-9)
            assert one["lower"] < truth < one["upper"]
            assert one["all_lower"] <= one["lower"]
            assert (one["seeds"], one["queries"], one["clusters"]) == (2, 40, 20)
            assert group in ("in_domain", "zero_shot")
            checked += 1
    assert checked == 3 + 2  # mAP in three settings of one set, nDCG@10 of two collections
    whole = next(o for o in found if o["series"] == "zero_shot/macro/beir/ndcg_at_10" and o["arm"] == "m0")
    assert whole["queries"] == 80


def test_splits_of_one_set_count_by_their_queries(results):
    """Where a group has two splits of a set, their mean is weighted, and the set counts once."""
    cells = results.cells.to_pylist()
    rows = [
        {**row, "group": "zero_shot"}
        for row in cells
        if row["task"] in ("embedded-science", "embedded-science:train", "embedded-history")
    ]
    for row in rows:
        row["queries"] = {"embedded-science": 30, "embedded-science:train": 10}.get(row["task"], 40)
    table = pa.Table.from_pylist(rows, schema=results.cells.schema)
    _, values = series_and_values(replace(results, cells=table, summary=_macro(table)))
    seeds = {
        one["series"]: one["seeds"]["1"]
        for one in values
        if one["arm"] == "m1" and "ndcg_at_10" in one["series"]
    }
    of = {task: seeds[f"zero_shot/{task}/beir/ndcg_at_10"] for task in {row["task"] for row in rows}}
    science = 0.75 * of["embedded-science"] + 0.25 * of["embedded-science:train"]
    expected = (science + of["embedded-history"]) / 2
    assert seeds["zero_shot/macro/beir/ndcg_at_10"] == pytest.approx(expected)


def test_untouched_backbone_is_set_against_every_seed(made, results):
    plan, _ = made
    rows = differences_of(judge(plan, results), blocks_of(plan))
    one = next(
        row
        for row in rows
        if row["arm"] == "untouched"
        and row["series"] == series_id("in_domain", "embedded-qa:test", "mono", "map")
    )
    assert one["difference"] == pytest.approx(-paper_like("embedded-qa:test", "mono", 1.0), abs=1e-9)
    assert one["seeds"] == 2


def test_a_mean_over_sets_is_given_only_where_all_sets_are_there(tmp_path):
    plan, store = make_sweep(tmp_path, mono_ratios=(1.0,), seeds=(1,))
    trial = plan.trials[1]
    store.delete(f"scores/{trial.train_key}/{trial.scores['embedded-science']}.json")
    _, values = series_and_values(load_results(replan(plan, store), store))
    arms = {value["arm"] for value in values if value["series"] == "zero_shot/macro/beir/ndcg_at_10"}
    assert arms == {"untouched"}


def test_blocks_hold_arms_that_differ_in_the_reference_axes_alone(tmp_path):
    plan, _ = make_sweep(tmp_path, backbones=("embedded-xlmr", "embedded-labse"), batch_sizes=(16, 32))
    blocks = blocks_of(plan)
    assert [block["title"] for block in blocks] == [
        "backbone embedded-xlmr, batch_size 16",
        "backbone embedded-xlmr, batch_size 32",
        "backbone embedded-labse, batch_size 16",
        "backbone embedded-labse, batch_size 32",
    ]
    assert blocks[3]["arms"] == ["m1 labse b32", "m0.5 labse b32", "m0 labse b32"]
    assert blocks[3]["untouched"] == ["untouched labse"]


@pytest.mark.long
def test_forty_trials_of_fifty_thousand_rows_are_read_and_compared_as_one_table(tmp_path):
    languages = [f"l{number}" for number in range(11)]
    plan, store = make_sweep(tmp_path, mono_ratios=(1.0, 0.0), seeds=(1,), queries=100, languages=languages)
    assert set(TASKS) == set(plan.trials[0].scores)
    plan = replace(plan, trials=tuple(plan.trials[1 + at % 2] for at in range(40)))
    assert len(load_results(plan, store).scores) > 40 * 50_000


def test_made_tables_are_the_same_queries_every_time():
    first, second = (score_table("t", "parallel", lambda _, base: base) for _ in range(2))
    assert first.equals(second)


def test_fewer_rows_in_memory_change_no_number(made):
    """What the report, tracking and export read is enough for all they show."""
    from sweeps.report_numbers import report_numbers

    plan, store = made
    whole, headline = load_results(plan, store), load_results(plan, store, every_measure=False)
    assert len(headline.scores) < len(whole.scores) / 2
    assert report_numbers(plan, headline) == report_numbers(plan, whole)
