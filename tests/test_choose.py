"""The rule that chooses: selection sets alone, guardrail by its bound, median seed."""

from dataclasses import replace

import pytest
from made_sweep import make_sweep, paper_like, replan

from hybrid.errors import BadInput
from sweeps.choose import choose
from sweeps.results import load_results
from sweeps.spec_sections import Evaluate, Export


def _choose(plan, store):
    return choose(plan, load_results(plan, store))


def test_the_guardrail_turns_the_best_arm_in_domain_away(tmp_path):
    """Without it the purely cross-lingual arm is best; it loses 6 points zero-shot where 1 is the margin."""
    plan, store = make_sweep(tmp_path / "a", shift=paper_like)
    choice = _choose(plan, store)
    assert choice.arm == "m1"
    reasons = {one.arm: one.reason for one in choice.candidates}
    assert reasons == {"m1": "it is a reference arm", "m0.5": "below the margin", "m0": "below the margin"}
    free, store = make_sweep(tmp_path / "b", shift=paper_like, export=Export(guardrail=False))
    assert _choose(free, store).arm == "m0"


def test_an_arm_within_the_margin_is_chosen(tmp_path):
    plan, store = make_sweep(
        tmp_path, shift=lambda _, setting, ratio: (1 - ratio) * (-0.009 if setting == "beir" else 0.05)
    )
    choice = _choose(plan, store)
    assert choice.arm == "m0"
    assert choice.candidates[0].difference == pytest.approx(-0.009)


def test_an_arm_that_is_not_shown_to_be_within_the_margin_is_not_chosen(tmp_path):
    """No loss on average, but queries vary too much for the bound to clear the margin."""
    plan, store = make_sweep(
        tmp_path,
        shift=lambda _, setting, ratio: 0.0 if setting == "beir" else 0.05 * (1 - ratio),
        noise=0.3,
    )
    choice = _choose(plan, store)
    assert choice.arm == "m1"
    assert {one.reason for one in choice.candidates[1:]} <= {
        "not shown to be within the margin",
        "below the margin",
    }


def test_reported_sets_never_choose(tmp_path):
    """Far better on every reported set, slightly worse on the selection sets: not chosen."""

    def shift(task: str, _setting: str, ratio: float) -> float:
        reported = task in ("embedded-qa:test", "embedded-science", "embedded-history")
        return (1 - ratio) * (0.2 if reported else -0.001)

    plan, store = make_sweep(tmp_path, shift=shift)
    assert _choose(plan, store).arm == "m1"


@pytest.mark.parametrize("setting", ["mono", "cross"])
def test_the_setting_named_in_the_rule_alone_counts(tmp_path, setting):
    def shift(_task: str, found: str, ratio: float) -> float:
        return {"mono": -0.05, "cross": 0.04}.get(found, 0.0) * (1 - ratio)

    plan, store = make_sweep(tmp_path, shift=shift, export=Export(setting=setting, guardrail=False))
    assert _choose(plan, store).arm == {"mono": "m1", "cross": "m0"}[setting]


def test_the_lowest_rank_distance_is_the_best(tmp_path):
    plan, store = make_sweep(
        tmp_path,
        shift=lambda _task, _setting, ratio: 0.05 * (1 - ratio),
        export=Export(maximise="rank_distance", guardrail=False),
    )
    assert _choose(plan, store).arm == "m0"


def test_the_seed_in_the_middle_stands_for_the_arm(tmp_path):
    plan, store = make_sweep(tmp_path, seeds=(1, 2, 3), noise=0.05)
    choice = _choose(plan, store)
    seeds = choice.candidates[0].seeds
    assert sorted(seeds.values())[1] == seeds[str(choice.seed)]


def test_an_arm_with_a_missing_seed_takes_no_part(tmp_path):
    plan, store = make_sweep(tmp_path, shift=lambda _task, _setting, ratio: 0.1 * (1 - ratio))
    lost = next(trial for trial in plan.trials if trial.label == "m0 s2")
    store.delete(f"scores/{lost.train_key}/{lost.scores['embedded-qa:dev']}.json")
    choice = _choose(replan(plan, store), store)
    assert choice.arm == "m0.5"
    assert {one.arm: one.reason for one in choice.candidates}["m0"] == "1 of 2 seeds complete"


def test_no_selection_sets_is_said_and_how_to_name_them(tmp_path):
    plan, store = make_sweep(tmp_path)
    evaluate = Evaluate(in_domain=("embedded-qa:test",), zero_shot=("embedded-science", "embedded-history"))
    plan = replace(plan, sweep=replace(plan.sweep, evaluate=evaluate))
    with pytest.raises(BadInput) as caught:
        _choose(plan, store)
    assert len(caught.value.mistakes) == 2
    assert all("evaluate.select_on" in mistake for mistake in caught.value.mistakes)


def test_nothing_to_choose_from_is_said(tmp_path):
    plan, store = make_sweep(tmp_path)
    store.delete("scores")
    with pytest.raises(BadInput, match="no arm can be chosen"):
        _choose(replan(plan, store), store)
