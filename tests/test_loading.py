"""Models as they ship: pooling that is added, half precision, code of their own, the rows of the catalog."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from made_pairs import make_pairs
from sentence_transformers import SentenceTransformer
from small_sweep import write_small_backbone
from test_train import config_of, digest_of

from hybrid import cli
from hybrid.backbones import BACKBONES, added_pooling, backbone_path, resolve
from hybrid.encoder import Encoder
from hybrid.errors import BadInput
from hybrid.train import train

TEXTS = ["what is it?", "wo war es und warum", "Кто написал роман?"]


def plain_model(name: str, folder: Path) -> Path:
    """The transformer of an embedded backbone alone, saved without a word on pooling or lengths."""
    encoder = Encoder.load(name)
    encoder.model[0].model.save_pretrained(folder)
    encoder.model.tokenizer.save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("model_max_length", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("name", ["embedded-xlmr", "embedded-labse"])
def test_a_transformer_without_pooling_gets_the_mean_and_a_note(name, tmp_path):
    folder = plain_model(name, tmp_path / "plain")
    (note,) = added_pooling(resolve(str(folder)))
    assert note.startswith(f"{folder}: a plain transformers model")
    assert "the mean of its tokens' vectors" in note
    encoder, whole = Encoder.load(str(folder)), Encoder.load(name)
    positions = whole.model[0].model.config.max_position_embeddings - 2 * (name == "embedded-xlmr")
    assert encoder.shipped_query_length == encoder.shipped_passage_length == positions
    long = ["so " * 1000]
    assert len(encoder.tokenize(long, "passage")[0]) == positions
    assert np.isfinite(encoder.encode(long, "passage")).all()
    for text in TEXTS:
        with torch.no_grad():
            states = (
                whole.model[0].model(**whole.model.tokenizer(text, return_tensors="pt")).last_hidden_state
            )
        mean = torch.nn.functional.normalize(states[0].mean(dim=0), dim=0)
        assert np.allclose(encoder.encode([text], "query")[0], mean, atol=1e-6)


def test_what_has_its_own_pooling_has_no_note():
    for name in ("embedded-xlmr", "embedded-labse"):
        assert added_pooling(resolve(name)) == []


def test_a_decoder_is_said_to_be_read_at_its_end(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    assert "its last token's vector" in added_pooling(resolve(str(tmp_path)))[0]


def test_a_model_in_half_precision_is_trained_and_measured_in_float32(tmp_path):
    whole = SentenceTransformer(str(write_small_backbone(tmp_path / "whole")), device="cpu").half()
    whole.save(str(tmp_path / "half"), create_model_card=False)
    whole.float().save(str(tmp_path / "rounded"), create_model_card=False)
    half, rounded = Encoder.load(str(tmp_path / "half")), Encoder.load(str(tmp_path / "rounded"))
    assert {weight.dtype for weight in half.parameters()} == {torch.float32}
    assert digest_of(half) == digest_of(rounded)
    for encoder in (half, rounded):
        train(config_of(encoder.backbone.name, steps=2), [make_pairs()], encoder)
    assert digest_of(half) == digest_of(rounded)
    half.save(tmp_path / "saved")
    assert digest_of(Encoder.load(str(tmp_path / "saved"))) == digest_of(half)


CODE = """
from pathlib import Path
Path({marker!r}).write_text("it ran")
from sentence_transformers.sentence_transformer.modules import Pooling
class Own(Pooling):
    pass
"""


@pytest.fixture
def with_code(tmp_path):
    """An encoder whose pooling is a class in its own folder, and the file that this class writes."""
    folder, marker = write_small_backbone(tmp_path / "coded"), tmp_path / "marker"
    (folder / "own_pooling.py").write_text(CODE.format(marker=str(marker)))
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "own_pooling.Own"
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder, marker


def test_code_of_a_folder_runs_only_if_asked(with_code, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder, marker = with_code
    with pytest.raises(BadInput, match=r"runs Python code from .* allow that with --trust-remote-code"):
        Encoder.load(str(folder))
    assert not marker.exists()
    trusted = Encoder.load(str(folder), trust_remote_code=True)
    assert type(trusted.model[1]).__name__ == "Own"
    assert marker.exists()


def test_an_architecture_that_only_the_folder_knows_is_refused_unasked(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(backbone_path(resolve("embedded-xlmr")), folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    marker = tmp_path / "marker"
    (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(marker)!r}).write_text('it ran')\n")
    with pytest.raises(BadInput, match="runs Python code from"):
        Encoder.load(str(folder))
    assert not marker.exists()


def test_the_command_refuses_code_with_its_other_mistakes(tmp_path, capfd):
    file = tmp_path / "config.yaml"
    file.write_text(
        "train: {backbone: gte-multilingual-base, data: [nothing], mono_ratio: 1.0, batch_size: 2, steps: 1, "
        "seed: 1}\n"
    )
    assert cli.main(["train", str(file), "--out", str(tmp_path / "out")]) == 2
    assert cli.main(["evaluate", "gte-multilingual-base", "--tasks", "nothing"]) == 2
    told = capfd.readouterr().err
    assert (
        told.count("'gte-multilingual-base' runs Python code from 'Alibaba-NLP/gte-multilingual-base'") == 2
    )
    assert told.count("'nothing' is no known data set") == 2


SHIPPED = {
    "xlm-r-base": ("FacebookAI/xlm-roberta-base", 512, ""),
    "xlm-r-large": ("FacebookAI/xlm-roberta-large", 512, ""),
    "labse": ("sentence-transformers/LaBSE", 256, ""),
    "me5-small": ("intfloat/multilingual-e5-small", 512, "query: "),
    "me5-base": ("intfloat/multilingual-e5-base", 512, "query: "),
    "me5-large": ("intfloat/multilingual-e5-large", 512, "query: "),
    "multilingual-minilm": ("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", 128, ""),
    "bge-m3": ("BAAI/bge-m3", 8192, ""),
    "gte-multilingual-base": ("Alibaba-NLP/gte-multilingual-base", 8192, ""),
    "minilm-l6": ("sentence-transformers/all-MiniLM-L6-v2", 256, ""),
}


def test_the_catalog_has_a_row_for_each_backbone_with_lengths_and_prompts_as_they_ship():
    rows = {name: BACKBONES[name] for name in BACKBONES if not name.startswith("embedded-")}
    assert {
        name: (row.source, row.max_query_length, row.query_prompt or "") for name, row in rows.items()
    } == SHIPPED
    assert all(row.max_passage_length == row.max_query_length for row in rows.values())
    assert {name for name, row in rows.items() if row.passage_prompt == "passage: "} == {
        "me5-small", "me5-base", "me5-large",
    }  # fmt: skip
    assert [name for name, row in rows.items() if row.remote_code] == ["gte-multilingual-base"]


def test_prompts_of_a_row_stand_before_every_text(monkeypatch):
    from dataclasses import replace

    row = replace(BACKBONES["embedded-xlmr"], query_prompt="query: ", passage_prompt="passage: ")
    monkeypatch.setitem(BACKBONES, "embedded-xlmr", row)
    prompted = Encoder.load("embedded-xlmr")
    monkeypatch.undo()
    plain = Encoder.load("embedded-xlmr")
    for kind in ("query", "passage"):
        expected = plain.encode([f"{kind}: {text}" for text in TEXTS], kind)
        assert (prompted.encode(TEXTS, kind) == expected).all()
