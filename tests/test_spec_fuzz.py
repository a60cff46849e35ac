"""Mutated sweep files give a sweep or sentences; never a traceback, never a write."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small_data import write_small_data

from hybrid.backbones import resolve
from hybrid.errors import BadInput
from hybrid.loading import load_model
from sweeps.cli import main
from sweeps.plan import make_plan
from sweeps.spec import read_spec
from sweeps.store import Store

WHOLE = """
name: small
axes:
  grid: {mono_ratio: [1.0, 0.5], batch_size: [4, 8]}
  zip: {temperature: [0.1, 0.2]}
  include: [{mono_ratio: 0.7}]
  exclude: [{mono_ratio: 0.5, batch_size: 8}]
seeds: [1, 2]
hold: examples
train: {data: ["faq:train"], backbone: minilm-l6, examples: 64}
evaluate:
  select_on: {in_domain: ["faq:dev"], zero_shot: ["bugs:train"]}
  in_domain: ["faq:test"]
  zero_shot: [bugs]
  precision: auto
  lengths: {query: 32}
  allow_overlap: false
reference: {mono_ratio: 1.0}
guardrail: {group: zero_shot, measure: ndcg_at_10, margin: 0.01, level: 0.05}
resources: [{when: {batch_size: 8}, gpu: 1}, {cpu: 2}]
limits: {gpu_hours: 20, retries: 2}
tracking: {uri: null}
search: {optuna: {arms: 4, seed: 1, space: {mono_ratio: {low: 0, high: 1}}}}
export: {maximise: map, setting: null}
trust_remote_code: false
"""
ODD = st.one_of(
    st.sampled_from(
        [None, True, 0, -1, 1, 2, 1.5, 10**30, 1e308, float("nan"), float("-inf"), "", "x", "a\nb", "ü" * 99,
         "faq:train", "faq:", "::", "../..", "/", [], {}, [1], ["a"], [None], [[1, [2]]], {"a": 1},
         {"mono_ratio": [1.0]}, {"grid": {}}, "backbone", "sqlite:////nowhere"]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=9), part, max_size=3),
        max_leaves=6,
    ),
)  # fmt: skip
KEYS = st.sampled_from(["mono_ratio", "x", "grid", "zip", "seed", "examples", "when", "optuna"])


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, below in inside for place in _places(below, (*path, key)))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    write_small_data(folder / "data")
    return folder


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_sweep_files_give_a_plan_or_sentences(data: st.DataObject, folder: Path) -> None:
    spec = copy.deepcopy(yaml.safe_load(WHOLE))
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from([place for place in _places(spec) if place]))
        at = spec
        for key in parents:
            at = at[key]
        match data.draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "replace":
                at[last] = data.draw(ODD)
            case "remove":
                del at[last]
            case "add" if isinstance(at, dict):
                at[data.draw(KEYS)] = data.draw(ODD)
        if not spec:
            break
    path = folder / "a.yaml"
    path.write_text(yaml.safe_dump(spec, allow_unicode=True), encoding="utf-8")
    before = sorted(folder.rglob("*"))
    try:
        make_plan(read_spec(str(path), (), folder / "data"), Store(folder / "store"), folder / "data")
    except BadInput as error:
        for mistake in error.mistakes:
            assert mistake.startswith(str(path))
            assert mistake.splitlines() == [mistake]
    assert sorted(folder.rglob("*")) == before


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=ODD | st.fixed_dictionaries({}, optional={"architectures": ODD, "is_causal": ODD}))
@example(config=[])
@example(config=None)
@example(config={"architectures": 5})
@example(config={"architectures": [3]})
def test_a_backbone_s_odd_config_is_planned_or_refused_in_sentences(config: Any, folder: Path) -> None:
    backbone = folder / "backbone"
    backbone.mkdir(exist_ok=True)
    (backbone / "config.json").write_text(json.dumps(config))
    (backbone / "model.safetensors").write_bytes(b"")
    spec = yaml.safe_load(WHOLE)
    spec["train"]["backbone"] = str(backbone)
    path = folder / "b.yaml"
    path.write_text(yaml.safe_dump(spec, allow_unicode=True), encoding="utf-8")
    make_plan(read_spec(str(path), (), folder / "data"), Store(folder / "store"), folder / "data")
    with pytest.raises(BadInput, match=re.escape(f"{backbone}: no sentence-transformers model can be read")):
        load_model(resolve(str(backbone)), "cpu", trust_remote_code=False)


PIECES = st.one_of(
    st.sampled_from(
        ["\t", "\0", "\ufeff", "{", "[", "]", ": ", "- ", "#", "'", '"', "&a [*a]", "*a", "<<: *a", "---\n",
         "...\n", "? ", "!!python/object/apply:os.system ['touch PWNED']", "!!binary x", "%YAML 9",
         "[" * 3000, "name: small\n", "9" * 5000, "1e999", "2026-01-01", "0x", "\u2028", "\x85", "\udc80"]
    ),
    st.text(max_size=6),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_text_is_planned_or_refused_by_the_command(
    data: st.DataObject, folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text that is no YAML, or more than YAML: exit code 0 or 2, sentences, nothing executed or written."""
    text = WHOLE
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.sampled_from([at, at, at + 1, at + 9, len(text)]))
        text = text[:at] + data.draw(PIECES) + text[end:]
    path = folder / "a.yaml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    before = sorted(folder.rglob("*"))
    monkeypatch.chdir(folder)
    places = ["--data-root", str(folder / "data"), "--store", str(folder / "store")]
    code = main(["plan", str(path), *places])
    said = capfd.readouterr().err
    assert code in (0, 2)
    assert code == 0 or all(line.startswith((str(path), "store", "--")) for line in said.splitlines()), said
    assert sorted(folder.rglob("*")) == before
