"""A dual encoder with shared weights: texts in, unit vectors out.

Shapes: batch = texts in a batch, length = tokens of its longest text, dim = size of an embedding.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from hybrid.backbones import Backbone, forbidden_code, resolve
from hybrid.data.records import Precision
from hybrid.data.tokens import TokenRows, Told, tokens_of
from hybrid.errors import BadInput
from hybrid.hardware import cpu_precision
from hybrid.loading import check_model, load_model, no_progress_bars, positions_of, prompt

Kind = Literal["query", "passage"]
TokenIds = NDArray[np.int32]

_TEXTS_TOKENISED_TOGETHER = 4096
_NO_LIMIT = 2**30  # tokens


def hardware_precision(device: str = "cpu") -> Precision:
    """`bf16` if the device multiplies bfloat16 matrices in hardware, otherwise `fp32`."""
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "fp32"
    return cpu_precision()


class Encoder:
    """A sentence-transformers model that embeds queries and passages, each with its prompt and length.

    `shipped_query_length` and `shipped_passage_length` are what the model's files (or its row in
    `BACKBONES`) say; `max_query_length` and `max_passage_length` what was asked for on loading.
    With `keeps_tokens`, token ids are kept in this machine's cache, for this and every other process.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        backbone: Backbone,
        *,
        max_query_length: int | None = None,
        max_passage_length: int | None = None,
        keeps_tokens: bool = False,
    ) -> None:
        self.model = model
        self.keeps_tokens = keeps_tokens
        self.backbone = backbone
        transformer: Any = model[0]
        longest = min(model.max_seq_length or 512, positions_of(model) or _NO_LIMIT)
        self.shipped_query_length = int(backbone.max_query_length or transformer.query_length or longest)
        self.shipped_passage_length = int(
            backbone.max_passage_length or transformer.document_length or longest
        )
        self.max_query_length = max_query_length or self.shipped_query_length
        self.max_passage_length = max_passage_length or self.shipped_passage_length
        self.query_prompt = prompt(backbone.query_prompt, model, ("query",))
        self.passage_prompt = prompt(backbone.passage_prompt, model, ("document", "passage", "corpus"))
        model.prompts = {"query": self.query_prompt, "document": self.passage_prompt}

    @classmethod
    def load(
        cls,
        name_or_path: str,
        *,
        max_query_length: int | None = None,
        max_passage_length: int | None = None,
        device: str = "cpu",
        trust_remote_code: bool = False,
        keeps_tokens: bool = False,
    ) -> Self:
        """Load a row of `BACKBONES`, a folder, or a model of the hub. Lengths in tokens; None: as it ships.

        Raises BadInput, with every mistake, for a model that cannot be had or lengths it cannot take.
        """
        backbone = resolve(name_or_path)
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise BadInput("device 'cuda': this machine has no GPU that torch can use; take device 'cpu'.")
        if refused := forbidden_code(backbone, trust_remote_code):
            raise BadInput(refused)
        model = load_model(backbone, device, trust_remote_code)
        mistakes = check_model(name_or_path, model, max_query_length, max_passage_length)
        if mistakes:
            raise BadInput(mistakes)
        return cls(
            model,
            backbone,
            max_query_length=max_query_length,
            max_passage_length=max_passage_length,
            keeps_tokens=keeps_tokens,
        )

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self.model.get_embedding_dimension() or 0)

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    def parameters(self) -> Iterator[nn.Parameter]:
        """All weights, for an optimiser."""
        return iter(self.model.parameters())

    def tokenize(self, texts: Sequence[str], kind: Kind, *, max_length: int | None = None) -> list[TokenIds]:
        """Token ids of each text: prompt and special tokens included, cut to `max_length` tokens.

        Returns one int32 array of shape (length of the text,) per text. `max_length` None: the
        encoder's own for that kind. Raises BadInput if the model has fewer positions than that.
        """
        before = self.query_prompt if kind == "query" else self.passage_prompt
        length = max_length or (self.max_query_length if kind == "query" else self.max_passage_length)
        positions = positions_of(self.model)
        if positions is not None and length > positions:
            raise BadInput(
                f"max length {length} of a {kind}: the model has positions for {positions} tokens."
            )
        if not len(texts):
            return []
        encoded = self.model.tokenizer(
            [before + text for text in texts],
            truncation="longest_first",
            max_length=length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        return [np.asarray(ids, dtype=np.int32) for ids in encoded["input_ids"]]

    def kept_tokens(
        self,
        texts: Sequence[str | None],
        kind: Kind,
        *,
        max_length: int | None = None,
        identity: Sequence[str | int] | None = None,
        told: Told | None = None,
    ) -> TokenRows | None:
        """What `tokenize` returns, from this machine's cache, where it is put if it is not there yet.

        `identity` names the texts in their order, so that they need not be hashed to be found.
        None if this encoder keeps no tokens, or its tokenizer is one whose state has no one written form.
        """
        digest = self.tokenizer_digest if self.keeps_tokens else None
        if digest is None:
            return None
        prompt = self.query_prompt if kind == "query" else self.passage_prompt
        length = max_length or (self.max_query_length if kind == "query" else self.max_passage_length)
        return tokens_of(
            texts,
            lambda block: self.tokenize(block, kind, max_length=length),
            key=[digest, prompt, length],
            identity=identity,
            told=told,
        )

    @cached_property
    def tokenizer_digest(self) -> str | None:
        """20 hexadecimal digits of all that decides token ids, but for prompt and length."""
        tokenizer: Any = self.model.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            return None
        state = json.loads(backend.to_str())
        parts = {name: part for name, part in state.items() if name not in ("truncation", "padding")}
        sides = (tokenizer.truncation_side, getattr(tokenizer, "split_special_tokens", False))
        text = json.dumps([tokenizers.__version__, sides, parts], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]

    def collate(self, token_ids: Sequence[TokenIds]) -> tuple[Tensor, Tensor]:
        """Pad token ids to the longest: input ids and attention mask, each int64 of shape (batch, length)."""
        tokenizer = self.model.tokenizer
        length = max(len(ids) for ids in token_ids)
        padding = tokenizer.pad_token_id or 0
        input_ids = np.full((len(token_ids), length), padding, dtype=np.int64)  # (batch, length)
        attention_mask = np.zeros_like(input_ids)  # (batch, length)
        for row, ids in enumerate(token_ids):
            place = slice(length - len(ids), None) if tokenizer.padding_side == "left" else slice(len(ids))
            input_ids[row, place] = ids
            attention_mask[row, place] = 1
        return torch.from_numpy(input_ids).to(self.device), torch.from_numpy(attention_mask).to(self.device)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Unit vectors (batch, dim), float32, with gradient; pooled as the model's own files say."""
        features = self.model[0]({"input_ids": input_ids, "attention_mask": attention_mask})
        return self._pool(features)

    def _pool(self, features: dict[str, Tensor]) -> Tensor:
        """What follows the transformer, in float32 whatever that computed in: (batch, dim)."""
        features["token_embeddings"] = features["token_embeddings"].float()  # (batch, length, hidden)
        for module in list(self.model)[1:]:
            features = module(features)
        return F.normalize(features["sentence_embedding"].float(), dim=-1)  # (batch, dim)

    def encode(
        self,
        texts: Sequence[str],
        kind: Kind,
        *,
        precision: Precision = "fp32",
        batch_tokens: int = 4096,
        max_length: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Embed texts: unit vectors of shape (texts, dim), float32, in the order given.

        Texts of like length share a batch of at most `batch_tokens` tokens, padding included. Texts with
        the same tokens are embedded once, so that they get the same vector to the last bit.
        `precision` bf16 multiplies matrices in bfloat16, and sums residuals, norms and pooling in float32;
        raises BadInput if the device has it not in hardware. `progress` is called after every batch with the
        number of texts embedded so far; the last call, if there are texts, is with all of them.
        """
        if precision == "bf16" and hardware_precision(self.device.type) != "bf16":
            device = self.device.type
            raise BadInput(f"precision bf16: this {device} does not compute it in hardware; take fp32.")
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)  # (texts, dim)
        embedded = 0
        same_as = np.arange(len(texts))  # (texts,) the row that has the same tokens and is embedded
        training = self.model.training
        self.model.eval()
        transformer = self.model[0]
        if precision == "bf16":
            transformer = _with_bfloat16_weights(transformer)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16")
        try:
            with torch.inference_mode():
                for rows, token_ids in self._batches(texts, kind, batch_tokens, max_length, same_as):
                    input_ids, attention_mask = self.collate(token_ids)  # (batch, length)
                    with autocast:
                        features = transformer({"input_ids": input_ids, "attention_mask": attention_mask})
                    vectors[rows] = self._pool(features).cpu().numpy()  # (batch, dim)
                    embedded += len(rows)
                    if progress is not None:
                        progress(embedded)
        finally:
            self.model.train(training)
        repeated = np.flatnonzero(same_as != np.arange(len(texts)))
        vectors[repeated] = vectors[same_as[repeated]]
        if progress is not None and len(repeated):
            progress(len(texts))
        return vectors

    def _batches(
        self,
        texts: Sequence[str],
        kind: Kind,
        batch_tokens: int,
        max_length: int | None,
        same_as: NDArray[np.int64],
    ) -> Iterator[tuple[NDArray[np.int64], list[TokenIds]]]:
        """Rows and token ids of each batch, longest texts first, so that too little memory shows at once.

        Texts are sorted by characters, cut into chunks, and sorted by tokens within a chunk; the
        next chunk is tokenised while this one is embedded. A row whose tokens came before is left out,
        and `same_as` is told.
        """
        first_with: dict[bytes, int] = {}
        order = np.argsort([-len(text) for text in texts], kind="stable")  # (texts,)
        kept = self.kept_tokens(texts, kind, max_length=max_length)

        def tokenize(start: int) -> list[TokenIds]:
            rows = order[start : start + _TEXTS_TOKENISED_TOGETHER]
            if kept is not None:
                return [kept[int(row)] for row in rows]
            return self.tokenize([texts[int(row)] for row in rows], kind, max_length=max_length)

        with ThreadPoolExecutor(max_workers=1) as pool:
            ahead = pool.submit(tokenize, 0)
            for chunk_start in range(0, len(order), _TEXTS_TOKENISED_TOGETHER):
                rows = order[chunk_start : chunk_start + _TEXTS_TOKENISED_TOGETHER]  # (chunk,)
                token_ids = ahead.result()
                ahead = pool.submit(tokenize, chunk_start + len(rows))
                for row, ids in zip(rows, token_ids, strict=True):
                    same_as[row] = first_with.setdefault(ids.tobytes(), int(row))
                new = np.flatnonzero(same_as[rows] == rows)
                lengths = np.array([len(token_ids[index]) for index in new])
                by_length = new[np.argsort(-lengths, kind="stable")]  # (chunk,) places in the chunk
                start = 0
                while start < len(by_length):
                    longest = len(token_ids[by_length[start]])
                    batch = by_length[start : start + max(1, batch_tokens // longest)]  # (batch,)
                    yield rows[batch], [token_ids[index] for index in batch]
                    start += len(batch)

    def unknown_share(self, texts: Sequence[str]) -> float:
        """Share in [0, 1] of the texts' tokens, special ones aside, that the vocabulary does not know."""
        tokenizer = self.model.tokenizer
        encoded = (
            tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if len(texts) else []
        )
        tokens = sum(len(ids) for ids in encoded)
        unknown = sum(ids.count(tokenizer.unk_token_id) for ids in encoded)
        return unknown / tokens if tokens else 0.0

    def save(self, path: Path | str) -> None:
        """Write the model in sentence-transformers format; prompts go with it."""
        with no_progress_bars():
            self.model.save(str(path), create_model_card=False)


def _with_bfloat16_weights(transformer: nn.Module) -> nn.Module:
    """The module with bfloat16 matrices, so that autocast need not convert them in every batch.

    All else, such as the embeddings and the tokenizer, is shared with the original.
    """
    shared = [*transformer.parameters(), getattr(transformer, "processor", None)]
    converted = copy.deepcopy(transformer, {id(part): part for part in shared if part is not None})
    for module in converted.modules():
        if isinstance(module, nn.Linear):
            for name, parameter in list(module.named_parameters(recurse=False)):
                half = nn.Parameter(parameter.detach().to(torch.bfloat16), requires_grad=False)
                setattr(module, name, half)
    return converted
