"""Early stopping: when it looks, what it keeps, and that a cut-off run stops at the same place."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from made_pairs import make_pairs
from small_data import write_small_data
from small_sweep import write_small_backbone
from test_train import digest_of

from hybrid.config import EvalConfig, TrainConfig
from hybrid.data.pairs import load_pairs
from hybrid.data.records import Task, Texts
from hybrid.encoder import Encoder, hardware_precision
from hybrid.errors import BadInput
from hybrid.evaluate import evaluate
from hybrid.loss import info_nce
from hybrid.score_table import macro
from hybrid.stopping import SelectionSet, Stopping, load_selection_set
from hybrid.train import train

PRECISIONS = ["fp32", *(["bf16"] if hardware_precision() == "bf16" else [])]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> str:
    return str(write_small_backbone(tmp_path_factory.mktemp("backbone") / "model"))


def config_of(backbone: str, **changes: Any) -> TrainConfig:
    fields = {
        "backbone": backbone, "data": ("made",), "mono_ratio": 0.5, "batch_size": 8, "steps": 30, "seed": 3,
        "learning_rate": 1e-3, "stop_on": "held", "stop_every": 4, "patience": 2,
    }  # fmt: skip
    return TrainConfig(**(fields | changes))


class Scripted(SelectionSet):
    """A selection set whose values are given, so that it is known when to stop and what to keep."""

    def __init__(self, config: TrainConfig, values: list[float]) -> None:
        super().__init__(config, make_pairs())
        object.__setattr__(self, "values", list(values))

    def value(self, encoder: Encoder) -> float:  # noqa: ARG002
        return self.values.pop(0)  # type: ignore[attr-defined]


def held_pairs() -> Any:
    made = make_pairs(24, per_cluster=1)
    return replace(
        made, digest="held", questions={k: [f"held {t}" for t in v] for k, v in made.questions.items()}
    )


@pytest.mark.parametrize(
    ("values", "best", "stopped"),
    [
        ([0.1, 0.3, 0.2, 0.25, 9.0], 8, 16),  # two looks without a better one
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 30, 30),  # the last step is a look, too
        ([0.5, 0.5, 0.5], 4, 12),  # equal is not better
    ],
)
def test_it_stops_and_keeps_the_weights_of_the_best_look(backbone, values, best, stopped):
    config = config_of(backbone)
    encoder = Encoder.load(backbone)
    result = train(config, [make_pairs()], encoder, selection=Scripted(config, values))
    assert result.stopping is not None
    assert (result.steps, result.stopping["best_step"], result.stopping["stopped_at"]) == (
        best,
        best,
        stopped,
    )
    assert len(result.curve) == stopped
    assert result.mixture["steps"] == best

    plain = Encoder.load(backbone)
    with pytest.raises(_EnoughError):
        train(
            config.model_copy(update={"stop_on": None}), [make_pairs()], plain, on_progress=_stop_after(best)
        )
    assert digest_of(encoder) == digest_of(plain)


def test_looking_changes_nothing_but_where_it_ends(backbone):
    config = config_of(backbone, steps=8, patience=9)
    looked, blind = Encoder.load(backbone), Encoder.load(backbone)
    best_last = SelectionSet(config, held_pairs())
    result = train(config, [make_pairs()], looked, selection=best_last)
    assert result.steps == 8
    train(config.model_copy(update={"stop_on": None}), [make_pairs()], blind)
    assert digest_of(looked) == digest_of(blind)


@pytest.mark.parametrize("changes", [{}, {"precision": PRECISIONS[-1], "chunk_size": 4, "adapter": "lora"}])
@pytest.mark.parametrize("cut", [6, 11])
def test_cut_off_and_resumed_it_stops_at_the_same_step_with_the_same_weights(
    backbone, tmp_path, cut, changes
):
    config = config_of(backbone, learning_rate=0.02, **changes)
    selection = SelectionSet(config, held_pairs())
    whole, resumed = Encoder.load(backbone), Encoder.load(backbone)
    expected = train(config, [make_pairs()], whole, selection=selection)
    assert expected.stopping is not None
    assert expected.stopping["stopped_at"] < 30  # else nothing is shown
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(_EnoughError):
        train(
            config, [make_pairs()], Encoder.load(backbone), selection=selection,
            checkpoint=checkpoint, checkpoint_seconds=0.0, on_progress=_stop_after(cut),
        )  # fmt: skip
    found = train(config, [make_pairs()], resumed, selection=selection, checkpoint=checkpoint)
    assert found.resumed_from == cut - 1
    assert found.stopping == expected.stopping
    assert digest_of(resumed) == digest_of(whole)


def test_a_checkpoint_of_another_selection_set_is_refused(backbone, tmp_path):
    config, checkpoint = config_of(backbone), tmp_path / "checkpoint"
    with pytest.raises(_EnoughError):
        train(
            config, [make_pairs()], Encoder.load(backbone), selection=SelectionSet(config, held_pairs()),
            checkpoint=checkpoint, checkpoint_seconds=0.0, on_progress=_stop_after(3),
        )  # fmt: skip
    other = SelectionSet(config, replace(held_pairs(), digest="another"))
    with pytest.raises(BadInput, match="another configuration"):
        train(config, [make_pairs()], Encoder.load(backbone), selection=other, checkpoint=checkpoint)


def test_the_papers_rule_is_the_lowest_loss_on_english(backbone):
    config = config_of(backbone, stop_languages=("en",), batch_size=6)
    held, encoder = held_pairs(), Encoder.load(backbone)
    with torch.no_grad():
        asked, told = (
            torch.from_numpy(encoder.encode(texts, kind))
            for texts, kind in ((held.questions["en"], "query"), (held.passages["en"], "passage"))
        )
    order = np.random.default_rng(0).permutation(24)
    losses = [
        info_nce(asked[rows], told[rows], temperature=config.temperature).item()
        for rows in order.reshape(4, 6)
    ]
    assert SelectionSet(config, held).value(encoder) == pytest.approx(-np.mean(losses), rel=1e-5)
    everything = SelectionSet(config.model_copy(update={"stop_languages": None}), held)
    assert everything.value(encoder) != pytest.approx(-np.mean(losses), rel=1e-5)


def test_a_measure_is_the_one_that_evaluate_gives(backbone):
    texts = {
        lang: Texts([f"{lang}:{i}" for i in range(8)], [f"{lang} text {i}" for i in range(8)])
        for lang in "ab"
    }
    queries = {
        lang: Texts([f"q{i}" for i in range(8)], [f"what {i} {lang}" for i in range(8)]) for lang in "ab"
    }
    qrels = {q: {f"q{i}": {f"{lang}:{i}": 1 for lang in "ab"} for i in range(8)} for q in "ab"}
    task = Task("held", ("mono", "cross"), queries, texts, qrels, "held")
    config = config_of(backbone, stop_measure="map")
    encoder = Encoder.load(backbone)
    lengths = EvalConfig(max_query_length=64, max_document_length=128)
    means = macro(evaluate(encoder, task, lengths))
    expected = (means["held", "mono", "map"] + means["held", "cross", "map"]) / 2
    assert SelectionSet(config, task).value(encoder) == pytest.approx(expected)
    absent = SelectionSet(config.model_copy(update={"stop_measure": "recall_at_100"}), task)
    with pytest.raises(BadInput, match="stop_measure: held has no recall_at_100"):
        absent.value(encoder)


def test_the_set_is_read_as_pairs_for_the_loss_and_as_a_task_for_a_measure(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    root = write_small_data(tmp_path / "data")
    config = config_of("b", stop_on="faq:dev")
    found = load_selection_set(config, root)
    assert found is not None
    assert found.digest == load_pairs("faq:dev", root).digest
    assert found.languages == ("de", "en")
    measured = load_selection_set(config.model_copy(update={"stop_measure": "map"}), root)
    assert measured is not None
    assert isinstance(measured.held, Task)
    assert load_selection_set(config.model_copy(update={"stop_on": None}), root) is None
    with pytest.raises(BadInput, match="stop_languages: 'xx' is not in faq:dev, which has de, en"):
        load_selection_set(config.model_copy(update={"stop_languages": ("xx",)}), root)


def test_looks_are_counted_from_the_best():
    stopping = Stopping(every=5, patience=2)
    assert [step for step in range(1, 13) if stopping.due(step, 12)] == [5, 10, 12]
    assert [stopping.look(step, value) for step, value in ((5, 0.2), (10, 0.1), (15, 0.3))] == [
        True,
        False,
        True,
    ]
    assert not stopping.enough
    stopping.look(20, 0.3)
    assert (stopping.best_step, stopping.enough) == (15, False)
    stopping.look(25, 0.1)
    assert stopping.enough


class _EnoughError(Exception):
    pass


def _stop_after(steps: int) -> Any:
    def stop(progress: Any) -> None:
        if progress.step == steps:
            raise _EnoughError

    return stop
