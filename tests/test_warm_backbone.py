"""A copy of the backbone that a worker holds is what reading its files gives, whatever happened to others."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_sweep import write_small_backbone, write_small_sweep
from sweep_process import environment, planned

import sweeps.warm_backbone
from hybrid.backbones import BACKBONES, Backbone
from hybrid.encoder import Encoder
from hybrid.errors import BadInput
from sweeps.store import Store
from sweeps.warm_backbone import warm_encoder


def warm(folder: Path, length: int | None = None) -> Encoder:
    return warm_encoder(
        str(folder),
        max_query_length=length,
        max_passage_length=None,
        device="cpu",
        trust_remote_code=False,
    )


def files(encoder: Encoder, folder: Path) -> dict[str, bytes]:
    encoder.save(folder)
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["embedded-xlmr", "embedded-labse"])
def test_a_copy_is_what_the_files_give_after_another_was_trained_and_used(name: str, tmp_path: Path) -> None:
    used = warm(Path(name), length=16)
    with torch.no_grad():
        for weight in used.parameters():
            weight.zero_()
    used.tokenize(["one and another text"], "query", max_length=5)
    again, fresh = warm(Path(name)), Encoder.load(name)
    assert files(again, tmp_path / "again") == files(fresh, tmp_path / "fresh")
    assert again.max_query_length == fresh.max_query_length
    for one, other in zip(again.parameters(), fresh.parameters(), strict=True):
        assert one.data_ptr() % 64 == other.data_ptr() % 64  # products of matrices to the last bit
        assert one.requires_grad == other.requires_grad
    text = ["where is the source of the river?"]
    assert (again.encode(text, "query") == fresh.encode(text, "query")).all()


def test_one_is_held_and_another_takes_its_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_small_backbone(tmp_path / name)
        warm(tmp_path / name)
        held = sweeps.warm_backbone._held
        assert held is not None
        assert held.name == str(tmp_path / name)
        with pytest.raises(BadInput, match="positions"):
            warm(tmp_path / name, length=1000)


def test_a_copy_is_refused_for_no_more_than_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files leave prompts out of pooling and have none; the one of its row replaces them in the model."""
    folder = write_small_backbone(tmp_path / "model")
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps(json.loads(pooling.read_text()) | {"include_prompt": False}))
    monkeypatch.setitem(BACKBONES, "made", Backbone("made", str(folder), query_prompt="query: "))
    for encoder in (Encoder.load("made"), warm(Path("made")), warm(Path("made"))):
        assert encoder.query_prompt == "query: "


def test_weights_that_are_drawn_for_want_of_a_file_are_drawn_for_each_trial(tmp_path: Path) -> None:
    folder = write_small_backbone(tmp_path / "backbone")
    path = folder / "model.safetensors"
    whole = load_file(path)
    save_file({k: v for k, v in whole.items() if "layer.1.output" not in k}, path, metadata={"format": "pt"})
    torch.manual_seed(1)
    first = warm(folder).model.state_dict()
    torch.manual_seed(2)
    second = warm(folder).model.state_dict()
    drawn = [key for key, tensor in first.items() if not torch.equal(tensor, second[key])]
    assert drawn
    assert all("layer.1.output" in key for key in drawn)


@pytest.mark.long
def test_a_worker_reads_a_backbone_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five trials through Ray on one slot, four of which train, one that measures the untouched backbone."""
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))  # of both processes
    spec, data_root = write_small_sweep(tmp_path)
    script = Path(__file__).with_name("counted_loads.py")
    done = subprocess.run(
        [sys.executable, str(script), str(spec), str(data_root), str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=False,
        env=environment(OMP_NUM_THREADS="1", RAY_worker_niceness="0"),
    )
    assert done.returncode == 0, done.stderr
    plan, store = planned(tmp_path / "store", spec, data_root), Store(tmp_path / "store")
    counted = [store.get_json(f"loads/{trial.train_key}.json") for trial in plan.trials]
    assert len({one["process"] for one in counted}) == 1
    assert sum(one["loads"] for one in counted) == 1
