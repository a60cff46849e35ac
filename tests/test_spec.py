"""Sweep files: what holds becomes a sweep, what does not is told in full, with lines and fixes."""

import re
from pathlib import Path

import pytest
import yaml
from small_data import write_small_data

from hybrid.config import TrainConfig
from hybrid.errors import BadInput
from sweeps.spec import SECTIONS, SHIPPED, Sweep, read_spec, shipped_names
from sweeps.spec_axes import default
from sweeps.spec_fields import FOLLOWS, TRAIN_FIELDS
from sweeps.spec_sections import (
    Assume,
    Evaluate,
    Export,
    Guardrail,
    Lengths,
    Limits,
    Optuna,
    ResourceRule,
    SelectOn,
    Tracking,
)
from sweeps.spec_source import read_source

SMALL = """\
name: small
axes:
  grid: {mono_ratio: [1.0, 0.5], batch_size: [4, 8]}
train: {data: [faq:train], backbone: minilm-l6, examples: 64}
evaluate:
  select_on: {in_domain: [faq:dev], zero_shot: [bugs:train]}
  in_domain: [faq:test]
  zero_shot: [bugs]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def read(tmp_path: Path, root: Path):
    def read_text(text: str, *overrides: str) -> Sweep:
        path = tmp_path / "a.yaml"
        path.write_text(text, encoding="utf-8")
        return read_spec(str(path), overrides, root)

    return read_text


def mistakes(read, text: str, *overrides: str) -> list[str]:
    with pytest.raises(BadInput) as raised:
        read(text, *overrides)
    return [re.sub(r"^\S*/(?=a\.yaml:)", "", mistake) for mistake in raised.value.mistakes]


def test_a_small_file_holds_and_has_defaults(read) -> None:
    sweep = read(SMALL)
    assert [dict(point) for point in sweep.points] == [
        {"mono_ratio": m, "batch_size": b} for m in (1.0, 0.5) for b in (4, 8)
    ]
    assert sweep.seeds == (1, 2, 3)
    assert sweep.hold == "examples"
    assert sweep.reference == {"mono_ratio": 1.0}
    assert sweep.train["learning_rate"] == TrainConfig.model_fields["learning_rate"].default
    assert sweep.guardrail.margin == 0.01
    assert sweep.evaluate.tasks["bugs"] == ("zero_shot",)
    assert sweep.notes == ()


def test_name_axes_and_evaluate_are_enough_and_the_rest_is_said(read) -> None:
    sweep = read("name: a\naxes: {grid: {mono_ratio: [1, 0]}}\nevaluate: {zero_shot: [bugs]}\n")
    assert sweep.train["backbone"] == "embedded-xlmr"
    assert [note.split(":")[0] for note in sweep.notes] == [
        "train.backbone is not given",
        "train.data is not given",
        "train.batch_size is not given",
        "train.examples is not given",
    ]


def test_every_mistake_comes_at_once_with_its_line(read) -> None:
    text = """\
name: bad name
axes:
  grid: {mono_ratio: [1.0, 0.5, 0.5, 1.5], backbone: [minilm-l7], batchsize: [32], batch_size: []}
seeds: [1, 1, x]
hold: example
trian: {}
train: {data: [fqa:train], learning_rate: abc, steps: 3, temprature: 1}
evaluate:
  in_domain: [faq:tset]
  zero_shot: [bugs, bugs]
  precision: fp16
reference: {mono_ratio: 0.7}
guardrail: {measure: ndcg@10, margin: -1}
resources: [{gpu: 1.5}]
limits: {gpu_hours: 0}
export: {maximise: rank_distance}
search: {optuna: {armz: 3}}
"""
    found = mistakes(read, text)
    for start in (
        "a.yaml:1: name: the text 'bad name' is no name",
        "a.yaml:3: axes.grid.mono_ratio[2]: 0.5 is listed twice",
        "a.yaml:3: axes.grid.mono_ratio[3]: must be at most 1, not 1.5",
        "a.yaml:3: axes.grid.backbone[0]: backbone 'minilm-l7' is unknown. Did you mean 'minilm-l6'?",
        "a.yaml:3: axes.grid.batchsize: unknown axis; did you mean batch_size?",
        "a.yaml:3: axes.grid.batch_size: is an empty axis",
        "a.yaml:4: seeds[1]: 1 is listed twice",
        "a.yaml:4: seeds[2]: must be a whole number, not the text 'x'",
        "a.yaml:5: hold: must be 'examples' or 'updates'",
        "a.yaml:6: trian: unknown field; did you mean train?",
        "a.yaml:7: train.data[0]: 'fqa' is no known data set",
        "a.yaml:7: train.learning_rate: must be a number",
        "a.yaml:7: train.steps: cannot be set: give `examples`",
        "a.yaml:7: train.temprature: unknown field; did you mean temperature?",
        "a.yaml:9: evaluate.in_domain[0]: faq:tset: faq has no split 'tset'",
        "a.yaml:10: evaluate.zero_shot[1]: bugs is listed twice",
        "a.yaml:11: evaluate.precision: must be 'fp32', 'bf16' or 'auto'",
        "a.yaml:12: reference.mono_ratio: 0.7 is not in the grid; take one of 1.0, 0.5",
        "a.yaml:13: guardrail.measure: unknown measure ndcg@10; did you mean ndcg_at_10?",
        "a.yaml:13: guardrail.margin: must be greater than 0, not -1",
        "a.yaml:14: resources[0].gpu: must be a fraction up to 1 or a whole number, not 1.5",
        "a.yaml:15: limits.gpu_hours: must be greater than 0, not 0",
        "a.yaml:16: export.maximise: rank_distance is no measure where more is better",
        "a.yaml:17: search.optuna.armz: unknown field; did you mean arms?",
    ):
        assert any(mistake.startswith(start) for mistake in found), f"{start!r} not in {found}"
    lines = [int(mistake.split(":")[1]) for mistake in found]
    assert lines == sorted(lines)
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("data: [faq:train]", "data: [faq]"), "faq:dev is measured and faq trained on"),
        (("zero_shot: [bugs:train]", "zero_shot: [bugs:test]"), "bugs:test chooses and bugs reports"),
        (("in_domain: [faq:test]", "in_domain: [faq:dev]"), "faq:dev chooses and faq:dev reports"),
        (
            ("data: [faq:train]", "data: [faq:train, bugs:train]"),
            "bugs is no zero-shot task of a model trained on",
        ),
        (("in_domain: [faq:test]", "in_domain: [bugs]"), "bugs stands under in_domain and under zero_shot"),
    ],
)
def test_overlaps_are_mistakes_unless_allowed(read, change: tuple[str, str], sentence: str) -> None:
    text = SMALL.replace(*change)
    assert any(sentence in mistake for mistake in mistakes(read, text))
    allowed = read(text + "  allow_overlap: true\n")
    assert any(sentence in note for note in allowed.notes)


def test_axes_zip_include_exclude(read) -> None:
    text = SMALL.replace(
        "  grid: {mono_ratio: [1.0, 0.5], batch_size: [4, 8]}\n",
        "  grid: {mono_ratio: [1.0, 0.5, 0.0]}\n"
        "  zip: {batch_size: [4, 8], learning_rate: [1e-5, 2e-5]}\n"
        "  exclude: [{mono_ratio: 0.0, batch_size: 8}]\n"
        "  include: [{mono_ratio: 0.9, batch_size: 4, learning_rate: 1e-5}]\n",
    )
    assert [tuple(point.values()) for point in read(text).points] == [
        (1.0, 4, 1e-5),
        (1.0, 8, 2e-5),
        (0.5, 4, 1e-5),
        (0.5, 8, 2e-5),
        (0.0, 4, 1e-5),
        (0.9, 4, 1e-5),
    ]


def test_an_included_axis_elsewhere_has_the_value_of_train(read) -> None:
    text = SMALL.replace("batch_size: [4, 8]}", "batch_size: [4]}\n  include: [{temperature: 0.1}]")
    assert [tuple(point.values()) for point in read(text, "train.temperature=0.02").points] == [
        (1.0, 4, 0.02),
        (0.5, 4, 0.02),
        (1.0, 4, 0.1),
        (0.5, 4, 0.1),
    ]


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ("{}", "there is no axis"),
        ("[1]", "must be a mapping with `grid`"),
        ("{mono_ratio: [1.0]}", "stands beside `grid`"),
        ("{grid: {mono_ratio: 1.0}}", "must be a list of values; write mono_ratio: [1.0]"),
        ("{grid: {seed: [1]}}", "list them under `seeds`"),
        ("{grid: {mono_ratio: ['1.0']}}", "must be a number, not the text '1.0'"),
        ("{grid: {mono_ratio: [1.0]}, zip: {batch_size: [4, 2], temperature: [1]}}", "must be equally long"),
        ("{grid: {mono_ratio: [1.0]}, exclude: [{mono_ratio: 0.3}]}", "excludes nothing"),
        ("{grid: {mono_ratio: [1.0]}, exclude: [{mono_ratio: 1.0}]}", "no arm is left"),
        ("{grid: {mono_ratio: [0.5]}}", "the reference arm mono_ratio 1.0 is not in the grid"),
        ("{grid: {mono_ratio: [1.0, .nan]}}", "must be a finite number"),
        ("{grid: {mono_ratio: [1.0, 0.5], batch_size: [4, 8]}, exclude: [{mono_ratio: 1.0, batch_size: 8}]}",
         "1 of 3 arms have no reference arm; add mono_ratio 1.0, batch_size 8"),
    ],
)  # fmt: skip
def test_axes_that_do_not_hold(read, axes: str, sentence: str) -> None:
    text = SMALL.replace("axes:\n  grid: {mono_ratio: [1.0, 0.5], batch_size: [4, 8]}", f"axes: {axes}")
    found = mistakes(read, text)
    assert any(sentence in mistake for mistake in found), found


def test_a_product_that_explodes_is_refused_quickly(read) -> None:
    ratios = ", ".join(str(i / 1000) for i in range(1001))
    text = SMALL.replace("[1.0, 0.5]", f"[{ratios}]").replace("[4, 8]", f"{list(range(2, 1002))}")
    assert "makes 1001000 arms" in mistakes(read, text)[0]


def test_every_training_field_can_be_an_axis(read) -> None:
    values = {
        "backbone": "[minilm-l6]",
        "data": "[[faq:train]]",
        "mono_ratio": "[1.0]",
        "batch_size": "[4]",
        "languages": "[[en, de], null]",
        "schedule": "[exact, bernoulli]",
        "passage": "[sentence, paragraph]",
        "learning_rate": "[5e-5, 0.1]",
        "weight_decay": "[0, 0.1]",
        "warmup": "[0.1]",
        "decay": "[linear]",
        "clip_norm": "[1.0]",
        "temperature": "[0.05]",
        "symmetric": "[true, false]",
        "max_query_length": "[32]",
        "max_passage_length": "[64]",
        "chunk_size": "[null, 8]",
        "precision": "[fp32, auto]",
        "threads": "[1, 2]",
        "examples": "[64]",
        "updates": "[4]",
        "weights": "[[2.0]]",
        "mono_languages": "[uniform, size]",
        "language_pairs": "[['en->de=2', 'any->en']]",
        "hard_negatives": "[0, 1]",
        "adapter": "[none, lora]",
        "lora_rank": "[8]",
        "lora_alpha": "[8, 16]",
        "lora_dropout": "[0.1]",
        "stop_on": "[null, 'faq:dev']",
        "stop_measure": "[loss, map]",
        "stop_languages": "[[en]]",
        "stop_every": "[10]",
        "patience": "[2]",
        "merge": "[0.0, 0.5, 1.0]",
    }
    beside = dict.fromkeys(("lora_rank", "lora_alpha", "lora_dropout"), "adapter: lora")
    beside |= dict.fromkeys(
        ("stop_measure", "stop_languages", "stop_every", "patience"), "stop_on: 'faq:dev'"
    )  # fmt: skip
    assert set(values) == set(TRAIN_FIELDS)
    assert set(TRAIN_FIELDS) | set(FOLLOWS) == set(TrainConfig.model_fields) | {"examples", "updates"}
    for field, listed in values.items():
        data = ["data: [faq:train]"] if field != "data" else []
        train = f"train: {{{', '.join([*data, *filter(None, [beside.get(field)])])}}}\n"
        sweep = read(
            f"name: a\naxes: {{grid: {{{field}: {listed}}}}}\n{train}evaluate: {{zero_shot: [bugs]}}\n"
        )
        assert len(sweep.points) == len(sweep.axes[field])


def test_hold_is_what_the_length_is_given_in(read) -> None:
    assert read(SMALL.replace("examples: 64", "updates: 9")).hold == "updates"
    assert (
        "keep the one that stays equal"
        in mistakes(read, SMALL.replace("examples: 64", "examples: 64, updates: 9"))[0]
    )
    assert "give train.updates instead" in mistakes(read, SMALL + "hold: updates\n")[0]


def test_overrides_are_yaml_and_blamed_on_the_command_line(read) -> None:
    sweep = read(
        SMALL, "train.learning_rate=3e-4", "seeds=[7]", "axes.grid.batch_size=[4]", "limits.retries=0"
    )
    assert sweep.train["learning_rate"] == 3e-4
    assert sweep.seeds == (7,)
    assert sweep.limits.retries == 0
    assert len(sweep.points) == 2
    assert sweep.text.endswith("# --set limits.retries=0\n")
    assert mistakes(read, SMALL, "train.learning_rat=1") == [
        "--set: train.learning_rat: unknown field; did you mean learning_rate?"
    ]
    assert "write --set field=value" in mistakes(read, SMALL, "seeds")[0]
    assert "no such place" in mistakes(read, SMALL, "name.x=1")[0]


def test_scalars_are_those_of_yaml_1_2() -> None:
    source = read_source(
        "a: [5e-5, 1e3, no, on, yes, 010, 1:30, 2024-01-01, true, ~, .5, -1, '1']\n", "a.yaml"
    )
    assert source.value == {
        "a": [5e-5, 1000.0, "no", "on", "yes", 10, "1:30", "2024-01-01", True, None, 0.5, -1, "1"]
    }


def test_norwegian_is_a_language(read) -> None:
    assert read(SMALL, "train.languages=[no, en]").train["languages"] == ("no", "en")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: [a\n", "a.yaml:2: not YAML"),
        ("\tname: a\n", "a.yaml:1: not YAML"),
        ("", "a.yaml:1: a sweep file is a mapping"),
        ("- a\n", "a.yaml:1: a sweep file is a mapping"),
        ("a: &a [*a]\n", "a.yaml:1: a[0]: an alias that contains itself"),
        (SMALL + "name: again\n", "a.yaml:9: name: written twice (first on line 1)"),
        (SMALL + "seeds: !!python/object:os.system [1]\n", "a.yaml:9: seeds"),
        ("a: \x00\n", "a.yaml:1: not YAML"),
    ],
)
def test_what_is_no_yaml_names_the_line(read, text: str, sentence: str) -> None:
    if "python/object" in text:  # a tag is ignored, never obeyed
        assert read(text).seeds == (1,)
        return
    assert any(mistake.startswith(sentence) for mistake in mistakes(read, text))


def test_a_bomb_of_aliases_is_refused(read) -> None:
    rows = ["a: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"b{i}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]" for i in range(8)]
    assert "more than" in mistakes(read, "\n".join(rows))[0]


def test_not_utf8_and_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"name: \xff\n")
    with pytest.raises(BadInput, match="not UTF-8"):
        read_spec(str(path))
    with pytest.raises(BadInput, match="did you mean quickstart"):
        read_spec("quickstrat")
    with pytest.raises(BadInput, match="is a folder"):
        read_spec(str(tmp_path))


def test_a_data_root_without_the_files_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(SMALL.replace("faq", "xquad-r"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput) as raised:
        read_spec(str(path), (), tmp_path / "empty")
    assert any(
        "a.yaml:4: train.data[0]: xquad-r is not under the data root" in m for m in raised.value.mistakes
    )
    assert any("'bugs' is no known data set" in m for m in raised.value.mistakes)


def test_resources_and_search_rules(read) -> None:
    text = SMALL + "resources: [{gpu: 1}, {when: {batchsize: 4}}]\n"
    found = mistakes(read, text)
    assert "has no `when` and so hides the rules after it" in found[0]
    assert "did you mean batch_size?" in found[1]
    space = "search: {optuna: {space: {mono_ratio: {low: 0.9, high: 0.1}, backbone: {low: 0, high: 1}}}}\n"
    found = mistakes(read, SMALL + space)
    assert "low must be less than high" in found[0]
    assert "is no axis of this sweep" in found[1]
    held = read(SMALL + "search: {optuna: {arms: 3, space: {mono_ratio: {low: 0, high: 1, step: 0.05}}}}\n")
    assert held.search is not None
    assert held.search.space["mono_ratio"].step == 0.05
    without = SMALL.replace("  select_on: {in_domain: [faq:dev], zero_shot: [bugs:train]}\n", "")
    assert "needs tasks under evaluate.select_on" in mistakes(read, without + "search: {}\n")[0]


def test_tracking_is_an_address(read) -> None:
    for uri in ("http://127.0.0.1:5000", "sqlite:////tmp/a.db", "postgresql+psycopg2://host/db"):
        assert read(SMALL + f"tracking: {{uri: '{uri}'}}\n").tracking.uri == uri
    for uri in ("mlruns", "file:///tmp/mlruns", "127.0.0.1:5000"):
        assert "no address MLflow tracks to" in mistakes(read, SMALL + f"tracking: {{uri: '{uri}'}}\n")[0]


def test_code_of_a_backbone_runs_only_if_the_file_says_so(read) -> None:
    text = SMALL.replace("minilm-l6", "gte-multilingual-base")
    assert "allow it: trust_remote_code: true" in mistakes(read, text)[0]
    sweep = read(text + "trust_remote_code: true\n")
    assert sweep.trust_remote_code
    assert any("runs code of its repository" in note for note in sweep.notes)


def test_shipped_files_open_with_the_command_that_runs_them() -> None:
    assert {"quickstart", "xquad-minilm", "xquad-minilm-reduced"} <= set(shipped_names())
    for name in shipped_names():
        text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
        assert text.startswith(f"# sweeps run {name}"), name
        assert read_source(text, name).value["name"] == name


def test_the_quickstart_is_what_the_readme_says() -> None:
    sweep = read_spec("quickstart")
    assert sweep.axes == {
        "mono_ratio": (1.0, 0.75, 0.5, 0.25, 0.0),
        "backbone": ("embedded-xlmr", "embedded-labse"),
        "batch_size": (16, 32),
    }
    assert len(sweep.seeds) >= 2


def _documented() -> dict[str, dict[str, str]]:
    """Heading of docs/sweep-file.md → field → the cell beside it."""
    page = (Path(__file__).parents[1] / "docs" / "sweep-file.md").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = {}
    heading = ""
    for line in page.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif match := re.match(r"\| `([a-z_.]+)` \| (.*?) \|", line):
            found.setdefault(heading, {})[match[1]] = match[2].strip("`")
    return found


def test_the_reference_page_has_every_field_and_its_default() -> None:
    documented = _documented()
    assert set(documented["Top level"]) == set(SECTIONS)
    assert set(documented["train"]) == set(TRAIN_FIELDS)
    for field, shown in documented["train"].items():
        if field not in ("updates", "threads"):
            assert yaml.safe_load(shown.replace("5e-05", "0.00005")) == _plain(default(field)), field
    sections = {
        "guardrail": Guardrail, "resources": ResourceRule, "limits": Limits, "tracking": Tracking,
        "export": Export, "assume": Assume,
    }  # fmt: skip
    for heading, section in sections.items():
        assert set(documented[heading]) == set(section.model_fields), heading
        for field, shown in documented[heading].items():
            assert yaml.safe_load(shown) == section().model_dump()[field], (heading, field)
    nested = {
        "evaluate": {
            *(f"select_on.{field}" for field in SelectOn.model_fields),
            *(f"lengths.{field}" for field in Lengths.model_fields),
            *(field for field in Evaluate.model_fields if field not in ("select_on", "lengths")),
        },
        "search": {f"optuna.{field}" for field in Optuna.model_fields},
    }
    for heading, fields in nested.items():
        assert set(documented[heading]) == fields, heading
    for field, shown in documented["evaluate"].items():
        value = Evaluate().model_dump()
        for part in field.split("."):
            value = value[part]
        assert yaml.safe_load(shown) == _plain(value), field


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def test_the_examples_of_the_reference_page_hold(read) -> None:
    page = (Path(__file__).parents[1] / "docs" / "sweep-file.md").read_text(encoding="utf-8")
    whole, axes, english = re.findall(r"```yaml\n(.*?)```", page, flags=re.S)
    local = {"xquad-r": "faq", "scifact": "bugs", "climate-fever-pool": "laws"}
    for name, here in local.items():
        whole = whole.replace(name, here)
    assert len(read(whole).points) == 6
    start, end = whole.index("axes:"), whole.index("seeds:")
    sweep = read(whole[:start] + axes + whole[end:].replace(", learning_rate: 5e-5", ", backbone: minilm-l6"))
    assert len(sweep.points) == 5 + 2
    rest = whole[end:].replace("reference: {mono_ratio: 1.0}\n", "")
    sweep = read(whole[:start] + english + rest)
    assert [point["languages"] for point in sweep.points] == [None, None, ("en",)]
    assert sweep.reference == {"mono_ratio": 1.0, "languages": None}
