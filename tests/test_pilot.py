"""What a plan says its seeds and queries can settle, and what it will cost by arithmetic."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from made_sweep import make_sweep, replan

from hybrid.errors import BadInput
from sweeps.estimate import assumed_hours
from sweeps.pilot import queries_of, settles
from sweeps.power import smallest_detectable
from sweeps.spec import read_spec
from sweeps.spec_sections import Assume
from sweeps.store import Store


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two arms beside the reference, 4 seeds, differences that vary."""
    return make_sweep(tmp_path_factory.mktemp("store"), seeds=(1, 2, 3, 4), noise=0.1, queries=200)


def bare(plan):
    """The plan with nothing measured."""
    return replace(plan, scored=frozenset(), trained=frozenset())


def test_scores_of_the_store_give_the_difference(made):
    """The made differences vary by query within a seed alone, sd √2·0.1, 200 queries in each of two sets:
    D is a few standard errors of that, more of them than two for so few seeds."""
    plan, store = made
    found = settles(plan, store)
    assert found.measured
    assert found.mean is not None
    sd = math.sqrt(2) * 0.1 / math.sqrt(200 * 2 * 4)  # of the mean of two sets over four seeds
    assert 2.5 * sd < found.mean < 8 * sd
    assert found.comparisons == 2
    assert set(found.alone or ()) == {"embedded-science", "embedded-history"}
    assert max((found.alone or {}).values()) > found.mean
    assert "from 2 arms with 4 seeds" in found.source


def test_more_seeds_settle_less_but_never_less_than_the_limit(made):
    plan, store = made
    means = []
    for seeds in (2, 3, 5, 20):
        sweep = replace(plan.sweep, seeds=tuple(range(seeds)))
        pilot = settles(replace(plan, sweep=sweep), store, pilot=store)
        means.append(pilot.mean)
    assert means == sorted(means, reverse=True)
    assert pilot.limit is not None
    assert means[-1] >= pilot.limit


def test_the_sentence_agrees_with_the_numbers(made):
    plan, store = made
    found = settles(plan, store)
    assert found.mean is not None
    assert f"settle differences of {100 * found.mean:.1f} points of nDCG@10" in found.sentences[0]
    if found.mean > found.margin:
        assert any(re.search(r"where nothing changes takes", sentence) for sentence in found.sentences)


def test_a_pilot_in_another_store_counts_by_what_its_models_are(made, tmp_path):
    """The pilot's scores are found by task and configuration, not by this sweep's keys."""
    plan, pilot = made
    empty = Store(tmp_path / "store")
    renamed = replace(plan, sweep=replace(plan.sweep, name="other", seeds=(11, 12, 13, 14)), trials=())
    own, other = settles(plan, pilot), settles(renamed, empty, pilot=pilot)
    assert other.measured
    assert other.mean == pytest.approx(own.mean)
    assert str(pilot) in other.source


def test_a_pilot_without_these_tasks_is_bad_input(made, tmp_path):
    plan, _ = made
    with pytest.raises(BadInput, match="has no nDCG@10 of embedded-science or embedded-history"):
        settles(plan, Store(tmp_path), pilot=Store(tmp_path / "pilot"))


def test_a_damaged_score_file_is_no_pilot(tmp_path):
    plan, store = make_sweep(tmp_path, seeds=(1, 2), noise=0.05)
    for trial in plan.trials:
        path = f"scores/{trial.train_key}/{trial.scores['embedded-science']}.parquet"
        store.put_bytes(path, b"damaged")
    assert not settles(replan(plan, store), store).measured


def test_without_scores_the_assumptions_count_and_are_printed(made, tmp_path):
    plan, _ = made
    sweep = replace(plan.sweep, assume=Assume(sd_seed=0.004, sd_query=0.2, sd_within=0.1))
    sweep = replace(sweep, evaluate=read_spec("paper", files_later=True).evaluate)
    found = settles(replace(bare(plan), sweep=sweep), Store(tmp_path))
    want = smallest_detectable(
        4, {"scifact": 300, "climate-fever": 1535}, 0.004, 0.2, 0.1, level=0.05 / 2, power=0.8
    )
    assert not found.measured
    assert found.mean == pytest.approx(want.macro)
    assert found.source.startswith("assumed, not measured")
    assert "0.4 points between seeds" in found.source


def test_queries_are_counted_in_the_judgements_that_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "scifact"
    (folder / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl"):
        (folder / name).write_text("")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\t7\t1\n1\t8\t1\n2\t7\t1\n")
    assert queries_of("scifact", tmp_path / "data") == 2
    assert queries_of("climate-fever", None) == 1535  # as published
    assert queries_of("fiqa:train", None) is None
    assert queries_of("xquad-r", None) is None


def test_one_seed_and_unknown_queries_are_said(made, tmp_path):
    plan, store = made
    one = replace(plan, sweep=replace(plan.sweep, seeds=(1,)))
    found = settles(one, store)
    assert found.mean is None
    assert "one seed" in found.sentences[0]
    nowhere = settles(bare(plan), Store(tmp_path), tmp_path)
    assert nowhere.mean is None or nowhere.source.startswith("assumed")
    alone = replace(plan, arms=tuple(a for a in plan.arms if a.alias == "m1"))
    assert "nothing to settle" in settles(alone, store).sentences[0]


def test_a_handful_of_queries_is_said(tmp_path):
    plan, store = make_sweep(tmp_path / "few", seeds=(1, 2, 3), noise=0.1, queries=12)  # six clusters
    found = settles(plan, store)
    assert found.mean is None
    assert found.sentences == (
        "no verdict, whatever the seeds: embedded-science has 6, embedded-history has 6 independent queries, "
        "10 are needed",
    )


def test_the_stated_power_is_the_power():
    """Differences as the pilot's, with no true loss, and a margin of D: no degradation is shown in about 80
    of 100 experiments, by the bounds that decide."""
    from made_scores import score_table

    from sweeps.degradation import compare

    detect = smallest_detectable(4, {"a": 300, "b": 300}, 0.004, 0.1, 0.1, level=0.05, power=0.8)
    shown = 0
    for seed in range(200):
        table = score_table(
            {"mono": 0.0, "arm": 0.0}, seeds=4, sets={"a": 300, "b": 300}, seed=seed,
            sd_seed=0.004 / math.sqrt(2), sd_query=0.1 / math.sqrt(2), sd_residual=0.1 / math.sqrt(2),
        )  # fmt: skip
        verdict = compare(table, {"arm": "mono"}, margin=detect.macro).of("arm").verdict
        shown += verdict == "no_degradation"
    # The seeds of the two sets are drawn apart here and taken as common there, so power is a little higher.
    assert 0.72 <= shown / 200 <= 0.97


def test_hours_follow_from_the_stated_hardware():
    plan = make_paper_plan()
    found = assumed_hours(plan)
    assert found is not None
    step = 6 * 86e6 * (64 + 128) * 100
    assert found.training_hours == pytest.approx(18 * 20_000 * step / 90e12 / 3600)
    documents = 5183 + 5416593 + 1e6 * np.sum([2.06, 10.37, 0.51, 9.54, 0.54, 4.93]) + 13014 + 20534
    assert found.measuring_hours == pytest.approx(20 * 2 * 86e6 * 100 * documents / 90e12 / 3600)
    assert "not a measurement" in found.sentence
    unsaid = replace(plan.sweep, assume=Assume(hardware="x", tflops=1.0))
    assert "lacks the size of" in assumed_hours(replace(plan, sweep=unsaid)).sentence
    assert assumed_hours(replace(plan, sweep=replace(plan.sweep, assume=Assume()))) is None


def make_paper_plan():
    from sweeps.plan import make_plan

    return make_plan(read_spec("paper", files_later=True), Store("/nonexistent/store"))


def test_what_is_assumed_is_checked(tmp_path):
    spec = tmp_path / "a.yaml"
    spec.write_text(
        "name: a\naxes: {grid: {mono_ratio: [1.0, 0.5]}}\nevaluate: {zero_shot: [embedded-science]}\n"
        "assume: {tflops: 90, weights: {embeded-xlmr: 1}, documents: {scifact: 1}, sd_seed: -1}\n"
    )
    with pytest.raises(BadInput) as raised:
        read_spec(str(spec))
    assert "a.yaml:4: assume.sd_seed: must be at least 0, not -1" in str(raised.value)
    spec.write_text(spec.read_text().replace(", sd_seed: -1", ""))
    with pytest.raises(BadInput) as raised:
        read_spec(str(spec))
    text = str(raised.value)
    assert "assume.weights.embeded-xlmr: is none of this sweep; did you mean embedded-xlmr?" in text
    assert "assume.documents.scifact: is none of this sweep" in text
    assert "assume.hardware: is missing beside tflops" in text
