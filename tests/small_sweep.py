"""A sweep small enough for a second: made data and encoder, two arms, two seeds, the untouched encoder."""

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from small_data import write_small_data
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

SPEC = """\
name: small
axes: {{grid: {{mono_ratio: [1.0, 0.0], batch_size: [4]}}}}
seeds: [1, 2]
train: {{backbone: "{backbone}", data: [faq:train], examples: {examples}}}
evaluate:
  select_on: {{in_domain: [faq:dev], zero_shot: [bugs:train]}}
  in_domain: [faq:test]
  zero_shot: [bugs]
{more}
"""


def write_small_sweep(folder: Path, *, examples: int = 40, more: str = "") -> tuple[Path, Path]:
    """Write data, encoder and sweep file below `folder`; returns the sweep file and the data root."""
    data_root = write_small_data(folder / "data")
    write_small_backbone(folder / "backbone")
    spec = folder / "small.yaml"
    spec.write_text(SPEC.format(backbone=folder / "backbone", examples=examples, more=more))
    return spec, data_root


def write_small_backbone(folder: Path) -> Path:
    """A BERT with two narrow layers and a vocabulary of bytes, the same weights every time."""
    vocabulary = {token: i for i, token in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]"))}
    vocabulary |= {chr(code): 4 + i for i, code in enumerate(range(33, 127))}
    vocabulary |= {f"##{chr(code)}": len(vocabulary) + i for i, code in enumerate(range(33, 127))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=130,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertModel(config)
    plain = folder / "transformer"
    model.save_pretrained(plain)
    wrapped.save_pretrained(plain)
    transformer = Transformer(str(plain), max_seq_length=128)
    pooling = Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling]).save(str(folder), create_model_card=False)
    return folder
