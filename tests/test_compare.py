"""Two sweeps side by side: arms that agree, paired differences, what differs, what is refused."""

import json
from dataclasses import replace

import pytest
from made_sweep import make_sweep, replan

from hybrid.errors import BadInput
from sweeps import cli
from sweeps.compare import compare_sweeps, compared_tables
from sweeps.tables import markdown


def sweep(folder, name, *, add=0.0, train=(), **options):
    """A sweep whose trained arms all score `add` more than they would, with trials of its own."""
    plan, store = make_sweep(
        folder / name, name=name, shift=lambda _t, _s, _r: add, noise=0.02, salt=len(name), **options
    )
    fields = {**plan.sweep.train, **dict(train)}
    return replace(plan, sweep=replace(plan.sweep, train=fields, text=f"name: {name}\n")), store


def both(one, other):
    return compare_sweeps((one[0], other[0]), (one[1], other[1]))


def rows(compared, **wanted):
    return [row for row in compared.rows if all(getattr(row, k) == v for k, v in wanted.items())]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    a = sweep(folder, "slower", seeds=(1, 2, 3), train={"learning_rate": 1e-4}.items())
    b = sweep(folder, "fast", seeds=(1, 2, 3), train={"learning_rate": 3e-4}.items(), add=0.05,
              mono_ratios=(1.0, 0.5))  # fmt: skip
    return both(a, b)


def test_a_known_difference_is_found_and_covered(compared):
    found = rows(compared, arm="m0.5", setting="beir", measure="ndcg_at_10")
    assert [row.task for row in found] == ["embedded-science", "embedded-history"]
    for row in found:
        assert row.difference == pytest.approx(row.b - row.a)
        assert row.lower < row.difference < row.upper
        assert row.lower - 0.02 < 0.05 < row.upper + 0.02
        assert (row.seeds, row.queries) == (3, 40)
    ranks = rows(compared, arm="m1", measure="rank_distance")
    assert ranks[0].difference == pytest.approx(-5, abs=2)


def test_what_differs_is_listed_and_nothing_else(compared):
    fields = {name: (a, b) for name, a, b in compared.differs}
    assert fields["learning_rate"] == ("0.0001", "0.0003")
    assert fields["mono_ratio"] == ("1.0 | 0.5 | 0.0", "1.0 | 0.5")
    assert set(fields) == {"learning_rate", "mono_ratio"}
    assert "only in slower: m0" in compared.notes


def test_tables_are_markdown_and_json_is_whole(compared):
    tables = compared_tables(compared)
    assert [table.name for table in tables] == [
        "differs", "embedded-qa:test", "embedded-science", "embedded-history",
    ]  # fmt: skip
    text = markdown(tables[2])
    assert "| nDCG@10 | m1 |" in text
    assert json.loads(json.dumps(compared.as_json()))["level"] == 0.95


def test_the_same_trials_differ_by_nothing(tmp_path):
    plan, store = make_sweep(tmp_path, noise=0.05)
    other = replace(plan, sweep=replace(plan.sweep, name="again", text="name: again\n"))
    for row in compare_sweeps((plan, other), (store, store)).rows:
        assert (row.difference, row.lower, row.upper) == (0.0, 0.0, 0.0)
        assert row.note == "the same trials in both"


def test_an_axis_of_one_is_matched_with_what_is_fixed_in_the_other(tmp_path):
    """Batch size is swept in one and 16 in the other: only its arms with 16 stand beside each other."""
    a = sweep(tmp_path, "a", batch_sizes=(16, 32), mono_ratios=(1.0, 0.5))
    b = sweep(tmp_path, "bb", batch_sizes=(16,), mono_ratios=(1.0, 0.5))
    found = both(a, b)
    assert {row.arm for row in found.rows} == {"m1 b16 | m1", "m0.5 b16 | m0.5", "untouched"}
    assert "only in a: m1 b32, m0.5 b32" in found.notes


def test_levels_are_those_of_the_seeds_that_are_compared(tmp_path):
    more, fewer = sweep(tmp_path, "a", seeds=(1, 2, 3)), sweep(tmp_path, "bb", seeds=(2, 3), add=0.01)
    for row in both(more, fewer).rows:
        assert row.difference == pytest.approx(row.b - row.a)


def test_few_seeds_and_no_common_seeds_are_said(tmp_path):
    a, one = sweep(tmp_path, "a", seeds=(1,)), sweep(tmp_path, "one", seeds=(1,), add=0.01)
    row = rows(both(a, one), arm="m1", task="embedded-science")[0]
    assert row.note == "one common seed: query variation only"
    assert row.lower is not None
    other = sweep(tmp_path, "other", seeds=(7, 8))
    row = rows(both(a, other), arm="m1", task="embedded-science")[0]
    assert row.difference is None
    assert row.a is not None
    assert row.b is not None
    assert "share no seed" in row.note


def test_failed_trials_are_named(tmp_path):
    a, (plan, store) = sweep(tmp_path, "a"), sweep(tmp_path, "bb")
    lost = next(trial for trial in plan.trials if trial.label == "m0 s2")
    store.delete(f"scores/{lost.train_key}")
    store.put_failure(lost.train_key, {"reason": "out of memory"})
    found = both(a, (replan(plan, store), store))
    assert any("bb: 1 of 7 trials are not complete: m0 s2" in note for note in found.notes)
    assert rows(found, arm="m0", task="embedded-science")[0].seeds == 1


def test_nothing_to_compare_is_one_sentence(tmp_path):
    plan, store = sweep(tmp_path, "a")
    with pytest.raises(BadInput, match="the same sweep in the same store"):
        compare_sweeps((plan, plan), (store, store))
    elsewhere = plan.sweep.evaluate.model_copy(update={"in_domain": (), "zero_shot": ("scifact",)})
    other = replace(plan, sweep=replace(plan.sweep, name="b", text="b", evaluate=elsewhere))
    with pytest.raises(BadInput, match="report no task in common"):
        compare_sweeps((plan, other), (store, store))
    empty, bare = sweep(tmp_path, "empty")
    bare.delete("scores")
    with pytest.raises(BadInput, match="has no scores of empty yet"):
        both((plan, store), (replan(empty, bare), bare))


def test_sets_with_other_content_are_not_compared(tmp_path):
    plan, store = sweep(tmp_path, "a")
    other, changed = sweep(tmp_path, "bb")
    for trial in other.trials:
        path = f"scores/{trial.train_key}/{trial.scores['embedded-science']}.json"
        record = changed.get_json(path)
        changed.put_json(path, record | {"task_digest": "0" * 20})
    found = both((plan, store), (other, changed))
    assert any("embedded-science: its files are not the same" in note for note in found.notes)
    assert not rows(found, task="embedded-science")


def test_the_command_answers_for_mistakes(tmp_path, capfd):
    words = ["compare", "quickstart", "quickstrat", "--store", str(tmp_path), "--json"]
    assert cli.main(words) == 2
    assert "did you mean quickstart?" in json.loads(capfd.readouterr().out)["mistakes"][0]
    assert cli.main(["compare", "quickstart", "quickstart", "--store", str(tmp_path)]) == 2
    assert "nothing to compare" in capfd.readouterr().err
