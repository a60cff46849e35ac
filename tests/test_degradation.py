"""Verdicts on tables whose answer is known, and on irregular ones."""

import numpy as np
import pyarrow as pa
import pytest
from made_scores import change, score_table, where

from hybrid.errors import BadInput
from sweeps.degradation import Comparison, compare
from sweeps.pairing import read_scores
from sweeps.robustness import worst_cell


def judged(table: pa.Table, **options: object) -> Comparison:
    arms = list(dict.fromkeys(table["arm"].to_pylist()))
    settings = {"margin": 0.02, "resamples": 2000, **options}
    return compare(table, dict.fromkeys(arms, "mono"), **settings)  # type: ignore[arg-type]


def test_errors_at_the_boundary_stay_at_the_level() -> None:
    wrong = {"no_degradation": 0, "degradation": 0}
    for i in range(100):
        table = score_table(
            {"mono": 0.0, "a": -0.02, "b": -0.02, "c": -0.02}, seeds=3, sets={"scifact": 40}, seed=i
        )
        found = {v.verdict for v in judged(table, resamples=500).primary}
        for name in wrong:
            wrong[name] += name in found
    for name, count in wrong.items():  # P(≥ 11 of 100 at 5%) = 1.1%
        assert count < 11, name


# Verdicts whose answer is known


def test_large_small_and_open_differences() -> None:
    table = score_table(
        {"mono": 0.0, "same": 0.0, "worse": -0.06, "slightly": -0.01}, seeds=6, sd_residual=0.02
    )
    comparison = judged(table)
    assert comparison.of("same").verdict == "no_degradation"
    worse = comparison.of("worse")
    assert worse.verdict == "degradation"
    assert worse.upper is not None
    assert worse.upper < -0.02
    assert worse.difference == pytest.approx(-0.06, abs=0.01)
    assert comparison.of("worse", "fiqa").family.startswith("exploratory")
    assert {v.task for v in comparison.primary} == {"macro"}
    few = judged(score_table({"mono": 0.0, "same": 0.0}, seeds=2, sd_seed=0.01), margin=0.01).of("same")
    assert few.verdict == "inconclusive"
    assert few.needed is not None
    assert few.needed.seeds is not None
    assert "two_seeds" in few.flags


def test_lower_but_within_the_margin_is_no_degradation_with_a_flag() -> None:
    table = score_table({"mono": 0.0, "m0.5": -0.02}, seeds=6, sd_query=0.01, sd_residual=0.01, sd_seed=0.001)
    v = judged(table, margin=0.05).of("m0.5")
    assert (v.verdict, v.flags) == ("no_degradation", ("lower_within_margin",))


def test_a_bound_that_other_draws_could_put_beyond_the_margin_is_flagged() -> None:
    table = score_table({"mono": 0.0, "m0.5": -0.02, "m0.25": -0.05, "m0.0": -0.1}, seeds=6, sd_seed=0)
    lower = judged(table, margin=0.05).of("m0.5").lower
    assert lower is not None
    for margin, verdict in ((-lower + 1e-6, "no_degradation"), (-lower - 1e-6, "inconclusive")):
        v = judged(table, margin=margin).of("m0.5")
        assert (v.verdict, v.flags[-1]) == (verdict, "near_margin")
    assert "near_margin" not in judged(table, margin=1.05 * -lower).of("m0.5").flags
    alone = score_table({"mono": 0.0, "m0.5": -0.02}, seeds=6)
    exact = judged(alone, margin=0.05).of("m0.5").lower
    assert exact is not None
    assert "near_margin" not in judged(alone, margin=-exact + 1e-6).of("m0.5").flags


def test_a_refused_verdict_is_near_no_margin() -> None:
    table = score_table({"mono": 0.0, "m0.5": -0.02, "m0.25": -0.05, "m0.0": -0.1}, seeds=6, sd_seed=0)
    lower = judged(table, margin=0.05).of("m0.5").lower
    assert lower is not None
    assert "near_margin" in judged(table, margin=-lower + 1e-6).of("m0.5").flags
    refused = judged(table, margin=-lower + 1e-6, fewest_seeds=7).of("m0.5")
    assert refused.verdict == "refused"
    assert "near_margin" not in refused.flags


def test_an_arm_is_called_lower_only_where_other_draws_would_call_it_so() -> None:
    def flags(shift: float) -> tuple[float, tuple[str, ...]]:
        table = score_table({"mono": 0.0, "m0.5": shift, "m0.25": -0.05, "m0.0": -0.1}, seeds=6, sd_seed=0)
        v = judged(table, margin=0.05).of("m0.5")
        assert v.upper is not None
        return v.upper, v.flags

    upper, _ = flags(-0.02)
    at_zero = -0.02 - upper  # bounds move with the shift
    assert flags(at_zero - 1e-5)[0] == pytest.approx(-1e-5)
    assert "lower_within_margin" not in flags(at_zero - 1e-5)[1]
    assert "lower_within_margin" in flags(at_zero - 5e-3)[1]


def test_a_measure_that_is_better_when_lower_is_read_so() -> None:
    table = score_table(
        {"mono": 0.0, "more": 9.0, "less": -9.0}, measure="rank_distance", sd_query=5.0, seeds=6
    )
    comparison = judged(table, margin=3.0, measure="rank_distance")
    assert comparison.of("more").verdict == "degradation"
    assert comparison.of("less").verdict == "no_degradation"
    undeclared = judged(table, margin={"ndcg_at_10": 0.02}).of("more")
    assert (undeclared.verdict, undeclared.flags[-1]) == ("refused", "no_margin")
    assert undeclared.lower is not None


def test_the_order_of_rows_and_the_types_of_columns_change_nothing() -> None:
    table = score_table({"mono": 0.0, "m0.5": -0.01}, seeds=3)
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    for name in ("arm", "task", "query_id", "cluster_id", "measure"):
        shuffled = change(shuffled, name, shuffled[name].combine_chunks().dictionary_encode())
    shuffled = change(shuffled, "seed", np.array(shuffled["seed"].to_pylist(), dtype=float))
    one, other = judged(table).of("m0.5"), judged(shuffled).of("m0.5")
    assert (other.lower, other.upper) == pytest.approx((one.lower, one.upper))


def test_languages_are_averaged_within_a_query_and_do_not_add_queries() -> None:
    table = score_table({"mono": 0.0, "m0.5": -0.01}, seeds=3, sets={"xquad-r:test": 60})
    value = np.array(table["value"].to_pylist())
    rng = np.random.default_rng(0)
    spread = rng.normal(0, 0.1, table.num_rows)
    both = pa.concat_tables([change(table, "value", value + spread), change(table, "value", value - spread)])
    languages = pa.array(["de"] * table.num_rows + ["th"] * table.num_rows)
    plain, doubled = judged(table).of("m0.5"), judged(both).of("m0.5")
    cells = judged(both.append_column("query_lang", languages), languages=True)
    for other in (doubled, cells.of("m0.5")):
        assert other.n_queries == 60
        assert (other.lower, other.upper) == pytest.approx((plain.lower, plain.upper))
    assert cells.of("m0.5", "xquad-r:test/th").family.startswith("exploratory language")
    worst = worst_cell(cells, "m0.5", "xquad-r:test", "ndcg_at_10")
    of_both = [cells.of("m0.5", f"xquad-r:test/{name}").difference or 0.0 for name in ("de", "th")]
    assert worst is not None
    assert worst.difference == min(of_both)


def test_splits_of_a_set_count_by_their_queries_and_sets_equally() -> None:
    sets = {"scifact:train": 200, "scifact:test": 100, "fiqa": 50}
    comparison = judged(score_table({"mono": 0.0, "m0.5": 0.0}, sets=sets))
    train, test, fiqa = (comparison.of("m0.5", task).difference for task in sets)
    assert train is not None
    assert test is not None
    assert fiqa is not None
    assert comparison.of("m0.5").difference == pytest.approx(((2 * train + test) / 3 + fiqa) / 2)


def test_in_domain_is_apart_from_the_primary_family_and_settings_get_a_suffix() -> None:
    zero_shot = score_table({"mono": 0.0, "m0.5": 0.0})
    inside = score_table({"mono": 0.0, "m0.5": 0.05}, sets={"xquad-r:test": 80}, group="in_domain")
    table = pa.concat_tables(
        [zero_shot.append_column("setting", pa.array(["beir"] * zero_shot.num_rows)),
         inside.append_column("setting", pa.array(["cross"] * inside.num_rows))]
    )  # fmt: skip
    comparison = judged(table)
    assert {v.task for v in comparison.verdicts} == {
        "macro", "scifact", "fiqa", "xquad-r:test/cross", "macro/in_domain/cross"
    }  # fmt: skip
    assert {v.group for v in comparison.primary} == {"zero_shot"}


def test_an_untouched_model_is_set_against_every_seed() -> None:
    table = score_table({"mono": 0.0, "untouched": 0.05}, seeds=4)
    keep = ~where(table, arm="untouched") | where(table, seed=1)
    table = table.filter(pa.array(keep))
    seeds = [
        None if arm == "untouched" else s
        for arm, s in zip(table["arm"].to_pylist(), table["seed"].to_pylist(), strict=True)
    ]
    v = judged(change(table, "seed", pa.array(seeds))).of("untouched")
    assert (v.n_seeds, v.verdict) == (4, "no_degradation")
    fixed = change(table.filter(pa.array(where(table, seed=1))), "seed", pa.nulls(1200))
    v = judged(fixed).of("untouched")
    assert v.n_seeds == 0
    assert "fixed_models" in v.flags


# Irregular tables: a specific statement, never a number that pretends


def irregular() -> pa.Table:
    return score_table({"mono": 0.0, "m0.5": 0.0}, seeds=4)


def test_one_seed_gets_no_verdict() -> None:
    table = irregular()
    v = judged(table.filter(pa.array(where(table, seed=1)))).of("m0.5")
    assert (v.verdict, v.flags, v.lower, v.upper) == ("refused", ("one_seed",), None, None)
    assert v.query_only is not None
    assert v.difference is not None


def test_unequal_seeds_use_the_common_ones_and_say_so() -> None:
    table = irregular()
    v = judged(table.filter(pa.array(~(where(table, arm="m0.5") & where(table, seed=4))))).of("m0.5")
    assert (v.n_seeds, v.flags[0]) == (3, "unequal_seeds")
    assert "seeds 4 are not in every arm" in v.notes[0]
    apart = change(table, "seed", np.where(where(table, arm="m0.5"), 10, 0) + np.array(table["seed"]))
    assert judged(apart).of("m0.5").flags == ("no_common_seeds",)


def test_missing_queries_are_left_out_of_all_or_refused() -> None:
    table = irregular()
    one = where(table, arm="m0.5", query_id="fiqa-7") & where(table, seed=2)
    v = judged(table.filter(pa.array(~one))).of("m0.5", "fiqa")
    assert (v.n_queries, v.flags[0]) == (299, "missing_queries")
    many = where(table, arm="m0.5", task="fiqa") & (np.arange(table.num_rows) % 10 == 0)
    assert judged(table.filter(pa.array(~many))).of("m0.5").flags == ("missing_queries",)
    assert judged(table.filter(pa.array(~many))).of("m0.5").verdict == "refused"
    no_set = table.filter(pa.array(~where(table, arm="m0.5", task="fiqa")))
    assert judged(no_set).of("m0.5").flags == ("missing_scores",)
    assert judged(no_set).of("m0.5", "scifact").verdict == "no_degradation"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_value_that_is_no_number_refuses_what_needs_it_and_names_its_row(value: float | None) -> None:
    table = score_table({"mono": 0.0, "m0.5": 0.0, "m0.0": 0.0})
    values = table["value"].to_pylist()
    row = int(np.flatnonzero(where(table, arm="m0.5", task="fiqa"))[3])
    values[row] = value
    comparison = judged(change(table, "value", pa.array(values)))
    for task in ("fiqa", "macro"):
        v = comparison.of("m0.5", task)
        assert (v.verdict, v.flags, v.difference) == ("refused", ("not_a_number",), None)
        assert f"row {row + 1} " in v.notes[0]
        assert comparison.of("m0.0", task).verdict != "refused"
    assert comparison.of("m0.5", "scifact").verdict != "refused"


def test_repeated_rows_are_refused() -> None:
    table = irregular()
    twice = pa.concat_tables([table, table.slice(table.num_rows - 5)])
    assert judged(twice).of("m0.5", "fiqa").flags == ("duplicate_rows",)
    named = twice.append_column("query_lang", pa.array(["en"] * twice.num_rows))
    v = judged(named).of("m0.5", "fiqa")
    assert v.flags == ("duplicate_rows",)
    assert "repeats another row" in v.notes[0]


def test_a_handful_of_queries_gets_no_verdict_but_counts_in_the_macro() -> None:
    comparison = judged(score_table({"mono": 0.0, "m0.5": 0.0}, sets={"scifact": 300, "tiny": 4}))
    assert comparison.of("m0.5", "tiny").flags == ("handful_of_queries",)
    assert "few_queries" in comparison.of("m0.5").flags
    assert comparison.of("m0.5").lower is not None


def test_constant_scores_are_refused() -> None:
    table = irregular()
    flat = change(
        table, "value", np.where(where(table, task="fiqa"), 0.0, np.array(table["value"].to_pylist()))
    )
    comparison = judged(flat)
    assert comparison.of("m0.5", "fiqa").flags == ("constant_scores",)
    assert comparison.of("m0.5").verdict == "refused"
    assert comparison.of("m0.5", "scifact").verdict == "no_degradation"
    dead = change(
        table, "value", np.where(where(table, arm="m0.5"), 0.0, np.array(table["value"].to_pylist()))
    )
    v = judged(dead).of("m0.5")
    assert v.verdict == "degradation"
    assert "constant_scores" in v.flags


def test_equal_arms_are_bounded_by_the_rule_of_three() -> None:
    table = irregular()
    values = np.array(table["value"].to_pylist())
    values[where(table, arm="m0.5")] = values[where(table, arm="mono")]
    v = judged(change(table, "value", values)).of("m0.5", "fiqa")
    assert (v.difference, "no_variation" in v.flags) == (0.0, True)
    assert v.lower == pytest.approx(np.log(v.adjusted_level or 0) / 300)
    assert judged(change(table, "value", values)).of("m0.5").verdict == "no_degradation"


def test_copies_of_one_seed_are_called_copies() -> None:
    table = irregular()
    first = table.filter(pa.array(where(table, seed=1)))
    copies = pa.concat_tables([change(first, "seed", np.full(first.num_rows, s)) for s in (1, 2, 3)])
    assert "identical_seeds" in judged(copies).of("m0.5").flags


def test_equal_ids_of_different_sets_are_different_clusters_and_of_its_splits_the_same() -> None:
    """BEIR's queries are numbered, so that claims 5 of SciFact and Climate-FEVER have nothing in common."""

    def clusters(*sets: str) -> int | None:
        table = score_table({"mono": 0.0, "m0.5": 0.0}, sets=dict.fromkeys(sets, 60))
        numbers = [name.rpartition("-")[2] for name in table["query_id"].to_pylist()]
        for column in ("query_id", "cluster_id"):
            table = change(table, column, numbers)
        return judged(table).of("m0.5").n_clusters

    assert clusters("scifact:test", "climate-fever") == 120
    assert clusters("scifact:test", "scifact:train") == 60
    assert clusters("scifact", "scifact@pool") == clusters("scifact", "nano-scifact") == 60


def test_a_missing_reference_is_said() -> None:
    v = compare(irregular(), {"m0.5": "mono b32"}, margin=0.02).of("m0.5")
    assert (v.verdict, v.flags) == ("refused", ("missing_reference",))


def test_all_mistakes_of_a_table_are_named_at_once() -> None:
    table = irregular().drop_columns(["cluster_id"]).rename_columns(
        ["arm", "seed", "tasks", "group", "query_id", "measure", "value"]
    )  # fmt: skip
    table = change(table, "value", table["value"].cast(pa.string()))
    with pytest.raises(BadInput) as caught:
        read_scores(table)
    text = "\n".join(caught.value.mistakes)
    assert len(caught.value.mistakes) == 2
    assert "'task' is missing (is it 'tasks'?)" in text
    assert "'value' is string, not a number" in text
    clusters = [*irregular()["cluster_id"].to_pylist()[:-1], "elsewhere"]
    with pytest.raises(BadInput, match="several cluster_ids"):
        read_scores(change(irregular(), "cluster_id", clusters))
