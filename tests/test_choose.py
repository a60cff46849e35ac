"""The rule that chooses: selection sets alone, guardrail by its bound, median seed."""

from dataclasses import replace

import pytest
from made_sweep import make_sweep, paper_like, replan

from hybrid.errors import BadInput
from sweeps.choose import choose, choose_each, choose_front
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


def test_with_three_seeds_the_verdict_decides(tmp_path):
    """The arm that is as good on the guardrail's sets is kept, the one three points below is not, both by
    bounds in which seeds and queries are crossed."""

    def shift(_task: str, setting: str, ratio: float) -> float:
        if setting == "beir":
            return -0.03 if ratio == 0.0 else 0.0
        return 0.05 * (1 - ratio)

    plan, store = make_sweep(tmp_path, seeds=(1, 2, 3), shift=shift, noise=0.005, queries=200)
    choice = _choose(plan, store)
    assert choice.arm == "m0.5"
    reasons = {one.arm: one.reason for one in choice.candidates}
    assert reasons["m0.5"] == "it keeps the guardrail"
    assert reasons["m0"] == "below the margin"
    assert "seeds and queries crossed" in choice.rule
    few, store = make_sweep(tmp_path / "few", seeds=(1, 2), shift=shift)
    assert "query variation only: 2 of at least 3 seeds" in _choose(few, store).rule


def test_failed_trials_are_said_in_the_choice(tmp_path):
    plan, store = make_sweep(tmp_path, shift=lambda _task, _setting, ratio: 0.1 * (1 - ratio))
    lost = next(trial for trial in plan.trials if trial.label == "m0 s2")
    store.delete(f"scores/{lost.train_key}")
    store.delete(f"models/{lost.train_key}/DONE")
    store.put_failure(lost.train_key, {"reason": "out of memory"})
    choice = _choose(replan(plan, store), store)
    assert choice.arm == "m0.5"
    assert "m0 (1 of 2 seeds complete, 1 failed)" in choice.statement


def test_a_winner_for_each_value_of_an_axis(tmp_path):
    """LaBSE's arms are better; each backbone still has its own winner, and the rule says among which."""

    def shift(_task: str, _setting: str, ratio: float) -> float:
        return 0.01 * (1 - ratio)

    plan, store = make_sweep(tmp_path, backbones=("embedded-xlmr", "embedded-labse"), shift=shift)
    choices = choose_each(plan, load_results(plan, store), "backbone")
    assert [choice.arm for choice in choices] == ["m0 xlmr", "m0 labse"]
    assert [choice.title for choice in choices] == ["champion-embedded-xlmr", "champion-embedded-labse"]
    assert choices[1].rule.endswith("Among the arms with backbone embedded-labse.")
    assert all("labse" in one.arm for one in choices[1].candidates)
    with pytest.raises(BadInput, match="--each lr: is no axis of made; its axes: mono_ratio, backbone"):
        choose_each(plan, load_results(plan, store), "lr")


def test_the_front_is_every_arm_that_none_beats_in_both(tmp_path):
    """In-domain rises and zero-shot falls with less monolingual training, but m0 loses on both."""
    in_domain = {1.0: 0.0, 0.75: 0.02, 0.5: 0.05, 0.0: -0.1}
    zero_shot = {1.0: 0.0, 0.75: -0.02, 0.5: -0.08, 0.0: -0.1}

    def shift(_task: str, setting: str, ratio: float) -> float:
        return (zero_shot if setting == "beir" else in_domain)[ratio]

    plan, store = make_sweep(tmp_path, mono_ratios=tuple(in_domain), shift=shift)
    choices = choose_front(plan, load_results(plan, store))
    assert sorted(choice.arm for choice in choices) == ["m0.5", "m0.75", "m1"]
    below = next(choice for choice in choices if choice.arm == "m0.5")
    assert below.title == "front-m0-5"
    assert "one of 3 on the front" in below.statement
    assert "Guardrail: below the margin." in below.statement


def test_an_incomplete_front_is_said(tmp_path):
    plan, store = make_sweep(tmp_path)
    store.delete("scores")
    with pytest.raises(BadInput, match="no arm is complete on both groups"):
        choose_front(replan(plan, store), load_results(replan(plan, store), store))
