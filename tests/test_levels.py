"""Evaluation levels: their names, in sweep files and elsewhere, and what is refused."""

from pathlib import Path

import pytest
from data_files import write_beir, write_parallel

from hybrid.data.catalog import DATASETS
from hybrid.data.levels import DEPTH, fullest, is_pool, queries_of, read_level
from hybrid.data.locate import check_names, locate
from hybrid.data.tasks import load_task
from hybrid.errors import BadInput
from sweeps.macro import set_of
from sweeps.spec import read_spec

SPEC = """\
name: levels
axes: {grid: {mono_ratio: [1.0, 0.0]}}
train: {data: [embedded-qa:train]}
evaluate:
  zero_shot: ZERO_SHOT
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYBRID_OFFLINE", "1")
    monkeypatch.delenv("HYBRID_DATA_ROOT", raising=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("scifact", "climate-fever"):
        write_beir(tmp_path / "root" / name)
    write_parallel(tmp_path / "root" / "faq")
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("written", "name", "queries"),
    [
        ("scifact", "scifact", "scifact"),
        ("scifact@full", "scifact", "scifact"),
        ("scifact:test@pool", "scifact:test@pool", "scifact"),
        ("scifact:train@pool", "scifact:train@pool", "scifact:train"),
        (f"scifact@pool-{DEPTH}", "scifact@pool", "scifact"),
        ("scifact@pool-50", "scifact@pool-50", "scifact"),
        ("scifact@nano", "nano-scifact", "scifact"),
        ("msmarco:dev@nano", "nano-msmarco", "msmarco"),
        ("birds:test@pool", "birds:test@pool", "birds"),
    ],
)
def test_every_task_at_a_level_has_one_name(written: str, name: str, queries: str) -> None:
    assert read_level(written).name == name
    assert read_level(name).name == name
    assert queries_of(name) == queries
    assert is_pool(name) == ("@pool" in written)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("scifact@pol", "there is no level 'pol'; did you mean scifact@pool?"),
        ("scifact@everything", "levels are nano, pool, full"),
        ("scifact@", "there is no level ''"),
        ("scifact@pool-0", "a pool's depth is a whole number from 1 on"),
        ("scifact@pool-ten", "a pool's depth is a whole number from 1 on"),
        ("scifact@full-3", "only a pool has a depth; write scifact@full"),
        ("scifacts@nano", "NanoBEIR has no set of 'scifacts'; did you mean scifact@nano?"),
        ("scifact:train@nano", "NanoBEIR's queries are of scifact:test; write scifact@nano"),
    ],
)
def test_what_is_no_level_is_refused_with_the_fix(written: str, sentence: str) -> None:
    with pytest.raises(BadInput) as raised:
        read_level(written)
    (found,) = raised.value.mistakes
    assert found.startswith(f"{written}: ")
    assert sentence in found


def test_every_set_of_nanobeir_is_a_level_of_its_parent() -> None:
    nano = [name for name in DATASETS if name.startswith("nano-")]
    assert len(nano) == 13
    for name in nano:
        parent = name.removeprefix("nano-")
        assert read_level(f"{parent}@nano").name == name
        assert queries_of(name) == parent
        assert parent in DATASETS[name].provenance


def test_of_one_task_at_several_levels_the_fullest_counts() -> None:
    names = ("nano-scifact", "scifact@pool", "scifact", "fiqa@pool-50", "fiqa@pool", "scifact:train@pool")
    assert fullest(names) == ("scifact", "fiqa@pool", "scifact:train@pool")
    assert {set_of(name) for name in names} == {"nano-scifact", "scifact", "fiqa"}


def test_names_are_looked_for_at_their_level(root: Path) -> None:
    assert check_names(["scifact@pool", "scifact:test@pool-7"], role="task", data_root=root) == []
    source = locate("scifact@pool", root, role="task")
    assert (source.dataset.name, source.split) == ("scifact", "test")
    (found,) = check_names(["faq@pool"], role="task", data_root=root)
    assert found == "faq@pool: a pool is of one large collection; measure faq in full"
    (found,) = check_names(["scifact@pool"], role="train", data_root=root)
    assert found == "scifact@pool: a level is for measuring; train on scifact"
    (found,) = check_names(["scifact@nano"], role="task", data_root=root)
    assert "nano-scifact is not under the data root" in found


def test_a_pool_is_measured_in_a_sweep_alone(root: Path) -> None:
    with pytest.raises(BadInput, match=r"scifact@pool: a pool is made of the backbones of a sweep"):
        load_task("scifact@pool", root)


def read(tmp_path: Path, root: Path, zero_shot: str):
    path = tmp_path / "levels.yaml"
    path.write_text(SPEC.replace("ZERO_SHOT", zero_shot))
    return read_spec(str(path), data_root=root)


def test_a_level_is_written_as_a_field_or_in_the_name(tmp_path: Path, root: Path) -> None:
    sweep = read(
        tmp_path,
        root,
        "[scifact, {task: scifact, level: pool}, {task: climate-fever, level: pool, depth: 50}, "
        "{task: climate-fever@pool}]",
    )
    assert sweep.evaluate.zero_shot == (
        "scifact", "scifact@pool", "climate-fever@pool-50", "climate-fever@pool",
    )  # fmt: skip
    assert sweep.evaluate.groups["zero_shot"] == ("scifact", "climate-fever@pool")
    assert sweep.evaluate.groups["levels"] == ("scifact@pool", "climate-fever@pool-50")
    assert sweep.evaluate.tasks["scifact@pool"] == ("levels",)
    assert set(sweep.evaluate.tasks) == set(sweep.evaluate.zero_shot)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("{task: scifact, level: pol}", "zero_shot[0].level: there is no level 'pol'; did you mean pool?"),
        ("{task: scifact, lvel: pool}", "zero_shot[0].lvel: unknown field; did you mean level?"),
        ("{level: pool}", "zero_shot[0]: names no task"),
        ("{task: scifact, depth: 9}", "zero_shot[0].depth: only a pool has a depth"),
        ("{task: scifact, level: pool, depth: 0}", "zero_shot[0].depth: must be a whole number from 1"),
        ("{task: scifact@pool, level: nano}", "zero_shot[0].task: has its level in its name already"),
        ("{task: faq, level: pool}", "faq@pool: a pool is of one large collection"),
        ("scifact@pol", "there is no level 'pol'; did you mean scifact@pool?"),
        ("[scifact@pool, scifact@pool-100]", "scifact@pool is listed twice"),
    ],
)  # fmt: skip
def test_mistakes_in_a_level_name_line_and_field(
    tmp_path: Path, root: Path, entry: str, sentence: str
) -> None:
    with pytest.raises(BadInput) as raised:
        read(tmp_path, root, entry if entry.startswith("[") else f"[{entry}]")
    found = [mistake for mistake in raised.value.mistakes if sentence in mistake]
    assert found, raised.value.mistakes
    assert "levels.yaml:5: " in found[0]


@pytest.mark.parametrize("level", ["scifact@pool", "{task: scifact, level: pool}"])
def test_a_level_does_not_hide_that_choosing_and_reporting_share_queries(
    tmp_path: Path, root: Path, level: str
) -> None:
    more = f"[scifact]\n  select_on: {{zero_shot: [{level}]}}"
    with pytest.raises(BadInput, match="scifact@pool chooses and scifact reports, but they share queries"):
        read(tmp_path, root, more)
    assert read(tmp_path, root, more + "\n  allow_overlap: true").notes


def test_a_set_made_from_a_training_set_is_not_zero_shot(tmp_path: Path, root: Path) -> None:
    (root / "mkqa").mkdir()
    (root / "mkqa" / "mkqa.jsonl").write_text('{"example_id": 1, "queries": {}, "answers": {}}\n')
    write_beir(root / "nq")
    path = tmp_path / "trained.yaml"
    path.write_text(SPEC.replace("ZERO_SHOT", "[nq]").replace("embedded-qa:train", "mkqa"))
    with pytest.raises(BadInput, match="nq is no zero-shot task of a model trained on mkqa"):
        read_spec(str(path), data_root=root)


def test_what_backbones_had_seen_is_said_before_a_run(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "seen.yaml"
    for name in ("nq", "climate-fever-pool", "quora"):
        write_beir(root / name)
    spec = SPEC.replace("ZERO_SHOT", "[nq, scifact, climate-fever-pool, quora]")
    backbones = "grid: {backbone: [minilm-l6, me5-small, some-one/his-model, embedded-labse], "
    path.write_text(spec.replace("grid: {", backbones))
    notes = read_spec(str(path), data_root=root).notes
    said = [note for note in notes if "train" in note and not note.startswith("train.")]
    trained = "is zero-shot with respect to fine-tuning alone: {} was itself trained on that collection"
    assert said == [
        f"nq {trained.format('minilm-l6')}",
        "scifact may not be new to minilm-l6: it was trained on text of that kind",
        f"quora {trained.format('minilm-l6')}",
        f"nq {trained.format('me5-small')}",
        "scifact may not be new to me5-small: it was trained on text of that kind",
        f"quora {trained.format('me5-small (unconfirmed)')}",
        "what some-one/his-model was trained on before is not known: no set can be said to be new to it",
    ]
