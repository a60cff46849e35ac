"""Make the embedded backbones: tokenizers, pretraining, saving.

    python -m hybrid.embedded.pretrain --out DIR

- `xlmr-tiny`: XLM-R's architecture, Unigram tokenizer, mean pooling. Masked language modelling on monolingual
  text together with an unsupervised contrastive objective: two random pieces of one text are positives. A
  masked language model alone is no sentence encoder. It never sees which sentences are translations.
- `labse-tiny`: BERT's architecture, WordPiece tokenizer, [CLS] pooling, tanh layer, L2 norm, as LaBSE ships.
  The same two objectives, and in every second step translation ranking on parallel sentences in place of
  pieces (Feng et al. 2022).

On one machine the same files come out each time; the losses of the committed files are in pretrain.jsonl.
"""

import argparse
import json
import os
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from tokenizers import pre_tokenizers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, linear, normalize
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    XLMRobertaConfig,
    XLMRobertaModel,
    XLMRobertaTokenizer,
)
from transformers.utils import logging as transformers_logging

from hybrid.embedded.pretraining_text import PretrainingText, pretraining_text
from hybrid.embedded.vocabulary import MARK, learn_pieces
from hybrid.embedded.words import LANGUAGES

MODELS = ("xlmr-tiny", "labse-tiny")
VOCABULARY = 5000
WIDTH = 128
MAX_LENGTH = 128  # tokens
SHAPE: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "vocab_size": VOCABULARY,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
STEPS = 800
RATE = 1e-3
MASKED_WEIGHT = 0.2  # of masked language modelling beside the contrastive loss
BATCH_TOKENS = 2048  # of masked language modelling
PAIRS = 48  # of a contrastive batch
LONGEST_PIECE = 20  # words
SEED = 7

Row = tuple[str, int, float]
Streams = dict[str, Iterator[list[tuple[str, str]]]]


def unigram_tokenizer(lines: Sequence[str]) -> Any:
    """XLM-R's tokenizer with a vocabulary learnt from `lines`."""
    counts = Counter(word for line in lines for word in unicodedata.normalize("NFKC", line).split())
    pieces = learn_pieces(counts, VOCABULARY - 5)
    special = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
    vocabulary = [*special, *pieces, ("<mask>", 0.0)]
    return XLMRobertaTokenizer(vocab=vocabulary, model_max_length=MAX_LENGTH)


def wordpiece_tokenizer(lines: Sequence[str]) -> Any:
    """BERT's cased tokenizer with a vocabulary learnt from `lines`."""
    split = pre_tokenizers.BertPreTokenizer()
    counts = Counter(word for line in lines for word, _ in split.pre_tokenize_str(line))
    pieces = [piece for piece, _ in learn_pieces(counts, VOCABULARY - 4) if piece != MARK]
    named = [piece[1:] if piece.startswith(MARK) else f"##{piece}" for piece in pieces]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *named]
    return BertTokenizer(
        vocab={piece: number for number, piece in enumerate(vocabulary)},
        do_lower_case=False,
        strip_accents=False,
        model_max_length=MAX_LENGTH,
    )


def batches_by_length(ids: list[list[int]], rng: Random) -> Iterator[list[list[int]]]:
    """Endless batches of at most BATCH_TOKENS padded tokens, each of texts of about one length."""
    while True:
        order = sorted(range(len(ids)), key=lambda i: (len(ids[i]) + rng.random() * 6, i))
        batches: list[list[list[int]]] = [[]]
        for i in order:
            if (len(batches[-1]) + 1) * max(len(ids[i]), len(ids[i - 1])) > BATCH_TOKENS:
                batches.append([])
            batches[-1].append(ids[i])
        rng.shuffle(batches)
        yield from batches


def pad(ids: Sequence[list[int]], fill: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, (batch, longest)."""
    longest = max(map(len, ids))
    padded = torch.tensor([row + [fill] * (longest - len(row)) for row in ids])  # (batch, longest)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])  # (batch, longest)
    return padded, mask


class MaskedHead(nn.Module):
    """BERT's prediction head; its output matrix is the embedding matrix of the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.bias = nn.Parameter(torch.zeros(VOCABULARY))

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """Token scores (n, vocabulary) of hidden vectors (n, width)."""
        return linear(self.norm(gelu(self.dense(hidden))), embedding, self.bias)


class MaskedText:
    """Masked language modelling: 15% of tokens are predicted; 80% of them masked, 10% replaced, 10% kept."""

    def __init__(self, model: Any, tokenizer: Any, lines: Sequence[str]) -> None:
        self.model, self.tokenizer, self.head = model, tokenizer, MaskedHead()
        ids = tokenizer(list(lines), truncation=True, max_length=MAX_LENGTH)["input_ids"]
        self.batches = batches_by_length(ids, Random(SEED))
        self.generator = torch.Generator().manual_seed(SEED)
        self.special = torch.tensor(tokenizer.all_special_ids)

    def loss(self) -> Tensor:
        tokens, mask = pad(next(self.batches), self.tokenizer.pad_token_id)  # (batch, length)
        draw = torch.rand(tokens.shape, generator=self.generator)
        chosen = (draw < 0.15) & ~torch.isin(tokens, self.special)
        inputs = torch.where(chosen & (draw < 0.12), self.tokenizer.mask_token_id, tokens)
        other = torch.randint(5, VOCABULARY, tokens.shape, generator=self.generator)
        inputs = torch.where(chosen & (draw >= 0.12) & (draw < 0.135), other, inputs)
        hidden = self.model(input_ids=inputs, attention_mask=mask).last_hidden_state  # (batch, length, width)
        scores = self.head(
            hidden[chosen], self.model.embeddings.word_embeddings.weight
        )  # (chosen, vocabulary)
        return cross_entropy(scores, tokens[chosen])


def contrastive_loss(encoder: SentenceTransformer, batch: list[tuple[str, str]]) -> Tensor:
    """InfoNCE in both directions over the pairs of a batch, cosine / 0.05."""
    left, right = (
        normalize(encoder(encoder.preprocess([pair[side] for pair in batch]))["sentence_embedding"], dim=-1)
        for side in (0, 1)
    )  # (pairs, width) each
    scores = left @ right.T / 0.05  # (pairs, pairs)
    target = torch.arange(len(batch))
    return (cross_entropy(scores, target) + cross_entropy(scores.T, target)) / 2


def random_piece(words: list[str], rng: Random) -> str:
    """A run of a third to all of the words, at most LONGEST_PIECE, each dropped with probability 0.15."""
    length = min(rng.randint(max(2, len(words) // 3), max(2, len(words))), LONGEST_PIECE)
    start = rng.randint(0, max(0, len(words) - length))
    kept = [word for word in words[start : start + length] if rng.random() > 0.15]
    return " ".join(kept or words[start : start + 1])


def cropped_pairs(text: PretrainingText) -> Iterator[list[tuple[str, str]]]:
    """Batches of two random pieces of one text (Izacard et al. 2022), each batch in one language."""
    rng = Random(SEED)
    while True:
        chosen = rng.sample(rng.choices(text.passages, (1, 1, 1, 1, 2))[0], PAIRS)
        yield [(random_piece(passage.split(), rng), random_piece(passage.split(), rng)) for passage in chosen]


def translation_pairs(text: PretrainingText) -> Iterator[list[tuple[str, str]]]:
    """Batches of translations, each pair in two languages drawn at random."""
    rng = Random(SEED)
    while True:
        batch = []
        for row in rng.sample(text.translations, PAIRS):
            first, second = rng.sample(LANGUAGES, 2)
            batch.append((row[first], row[second]))
        yield batch


def save(encoder: SentenceTransformer, folder: Path) -> None:
    """Write in sentence-transformers format with float16 weights on disk that load as float32."""
    encoder.save(str(folder), create_model_card=False)
    weights = folder / "model.safetensors"
    halves = {key: value.half().contiguous() for key, value in load_file(weights).items()}
    save_file(halves, weights, metadata={"format": "pt"})
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)


def pretrain(encoder: SentenceTransformer, masked: MaskedText, streams: Streams, steps: int) -> Iterator[Row]:
    """Train in place: each step a batch of masked text and one of pairs, from the streams in turn.

    Yields (objective, step, mean loss since the last row) every 100 steps.
    """
    parameters = [*encoder.parameters(), *masked.head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01, betas=(0.9, 0.98))
    warm = max(1, steps // 20)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (steps - step) / max(1, steps - warm))
    )
    names = list(streams)
    losses: dict[str, list[float]] = {name: [] for name in ("masked", *names)}
    encoder.train()
    for step in range(1, steps + 1):
        name = names[step % len(names)]
        pairs = contrastive_loss(encoder, next(streams[name]))
        tokens = masked.loss()
        (pairs + MASKED_WEIGHT * tokens).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses[name].append(pairs.item())
        losses["masked"].append(tokens.item())
        if step % 100 == 0:
            for objective, values in losses.items():
                yield objective, step, sum(values) / len(values)
                values.clear()


def make(name: str, text: PretrainingText, out: Path, steps: int) -> None:
    """Pretrain one backbone; save it under out/<name> and its losses as out/<name>.jsonl."""
    torch.manual_seed(SEED)
    positions = MAX_LENGTH
    if name == "xlmr-tiny":
        tokenizer = unigram_tokenizer(text.lines)
        positions += 2  # RoBERTa's positions start after the padding index
        config = XLMRobertaConfig(
            **SHAPE, max_position_embeddings=positions, type_vocab_size=1, layer_norm_eps=1e-5
        )
        model: Any = XLMRobertaModel(config)
        streams = {"pieces": cropped_pairs(text)}
    else:
        tokenizer = wordpiece_tokenizer(text.lines)
        model = BertModel(BertConfig(**SHAPE, max_position_embeddings=positions))
        streams = {"pieces": cropped_pairs(text), "translation ranking": translation_pairs(text)}
    with TemporaryDirectory() as bare:  # sentence-transformers takes a model from files alone
        model.save_pretrained(bare)
        tokenizer.save_pretrained(bare)
        transformer = Transformer(bare, max_seq_length=MAX_LENGTH)
    layers: list[Any] = [transformer, Pooling(WIDTH, "mean" if name == "xlmr-tiny" else "cls")]
    if name == "labse-tiny":
        layers += [Dense(WIDTH, WIDTH), Normalize()]
    encoder = SentenceTransformer(modules=layers, device="cpu")
    masked = MaskedText(transformer.auto_model, tokenizer, text.lines)
    with (out / f"{name}.jsonl").open("w", encoding="utf-8") as log:
        for objective, step, loss in pretrain(encoder, masked, streams, steps):
            row = {"model": name, "objective": objective, "step": step, "loss": round(loss, 4)}
            log.write(json.dumps(row) + "\n")
            log.flush()
    save(encoder, out / name)


def main() -> None:
    parser = argparse.ArgumentParser(description="Pretrain the embedded backbones on CPU.")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder to write the models and their losses to"
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=1, help="changes the order of floating-point sums")
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    options.out.mkdir(parents=True, exist_ok=True)
    text = pretraining_text()
    for name in options.models:
        started = time.process_time()
        make(name, text, options.out, options.steps)
        print(f"{name}: {time.process_time() - started:.0f} s of processor time")


if __name__ == "__main__":
    main()
