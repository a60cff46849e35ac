"""The data sets known by name, one record each.

A checksum stands here only if the bytes were seen; a set without checksums is unverified. Any other
folder under the data root in one of the layouts of docs/data.md is a data set by its folder's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_BEIR = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets/{}.zip"
_PACKAGED = "CC-BY-SA-4.0 for BEIR's packaging; see the home page for the source's own"
_LAREQA = "https://raw.githubusercontent.com/google-research-datasets/lareqa/{}/xquad-r/{}.json"
_LAREQA_COMMIT = "9bc8c7fb6dd8d01d72a05a93c2cb96882b0d299c"


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set before its files are read."""

    name: str
    layout: str  # of hybrid.data.layouts.LAYOUTS
    languages: tuple[str, ...]
    licence: str
    home: str  # page that documents it
    splits: tuple[str, ...]
    default_split: str | None  # None: the whole set
    queries: int | None = None  # of the default split
    documents: int | None = None
    archive: str | None = None  # URL of a zip or tar.gz whose top folder is the data set's
    files: Mapping[str, str] = field(
        default_factory=dict
    )  # path in the folder -> URL, where there is no archive
    revision: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)  # path in the folder -> checksum of bytes seen
    drop_self_hits: bool = False
    sources: tuple[str, ...] = ()  # collections its text or queries come from: sharing one is not zero-shot
    synthetic: bool = False
    note: str = ""

    @property
    def verified(self) -> bool:
        """Whether the bytes that a download must have are known."""
        return bool(self.sha256)

    @property
    def provenance(self) -> frozenset[str]:
        """The set itself and what it was made from."""
        return frozenset((self.name, *self.sources))


@dataclass(frozen=True)
class Source:
    """One split of a data set, and the folder that holds it or will."""

    name: str  # as written in a sweep file, for example "xquad-r:test"
    dataset: DataSet
    split: str | None  # None: the whole set
    folder: Path


_XQUAD_SHA256 = {
    "ar": "c52922d3b8ac1ae03ed5ac38647ad59870dca3dda2beefe18ecdc30729acb69d",
    "de": "16fb0f4bf4916154b585a20c24c66074591c9718a1affe764ff4697572328949",
    "el": "163fd43ee785a30eb534ae2061e9eaa766a7ee4e8ffce5e4b422480c150f64b6",
    "en": "7b0954f39297c27a31fef610f0883337dd2907fa8699151dc922afdd0fa12ffe",
    "es": "f8e836b2d91009c4363e04315f7ede363eedbbb49c67dda60de6c4aa782f58de",
    "hi": "ea45ba8ae4513d1533b222bebdc02a90bc319c055d3aeea68584a053d2e92872",
    "ru": "7f4dff853538b9a5fcc28c070b8bb983a5c5d190ac747b8e005a1ada9cab18f1",
    "th": "c3a041864c3a9fb0b4dd91cfdf99cf36b411b3e704c58a303c97bc6dc786cfe4",
    "tr": "f3e8c13002bbce154a4578f535f7533cb70f3da08840e6b62735935baec7bd94",
    "vi": "e35926bf5cc6fc6ecbdfca49467aabeb454f08d152d7818143a906bd31dde995",
    "zh": "80c2cde7b9c2fb134c303cbb52f2ba396ead9eb0014aec43993543d2ba9e93ed",
}
_SCIFACT_SHA256 = {
    "corpus.jsonl": "dec31c8182f3d744c7d2c09423756fd1d17cbef75808db13ba01cc0aab4d1ac6",
    "queries.jsonl": "8ff84a7c903f722981cd8d595c022660140c51867b27608a6d4910db86080313",
    "qrels/test.tsv": "68c0ac63f1c24b9e8ce497649694f09b2d0850bab7ec2b103cc66996f5f8b3a3",
    "qrels/train.tsv": "ac0902d9b1cb717df182aaff1306175877fdb8f55bb5c3e8597ad694fc8e539f",
}
_ARTICLES = ("train", "dev", "test")  # splits by article, see hybrid.data.article_splits


def _beir(
    name: str,
    queries: int,
    documents: int,
    licence: str,
    *,
    splits: tuple[str, ...] = ("test",),
    default_split: str = "test",
    archive: str | None = None,
    sources: tuple[str, ...] = (),
    drop_self_hits: bool = False,
    sha256: Mapping[str, str] | None = None,
    note: str = "",
) -> DataSet:
    return DataSet(
        name,
        layout="beir",
        languages=("en",),
        licence=licence,
        home="https://github.com/beir-cellar/beir/wiki/Datasets-available",
        splits=splits,
        default_split=default_split,
        queries=queries,
        documents=documents,
        archive=_BEIR.format(archive or name),
        sha256=sha256 or {},
        drop_self_hits=drop_self_hits,
        sources=sources,
        note=note,
    )


_FORUMS = {  # name -> (queries, documents)
    "android": (699, 22998),
    "english": (1570, 40221),
    "gaming": (1595, 45301),
    "gis": (885, 37637),
    "mathematica": (804, 16705),
    "physics": (1039, 38316),
    "programmers": (876, 32176),
    "stats": (652, 42269),
    "tex": (2906, 68184),
    "unix": (1072, 47382),
    "webmasters": (506, 17405),
    "wordpress": (541, 48605),
}

_TRAINED = ("train", "dev", "test")

_ROWS = (
    DataSet(
        "xquad-r",
        layout="parallel-qa",
        languages=tuple(_XQUAD_SHA256),
        licence="CC-BY-SA-4.0",
        home="https://github.com/google-research-datasets/lareqa",
        splits=_ARTICLES,
        default_split=None,
        queries=1190,
        documents=13014,
        files={f"{lang}.json": _LAREQA.format(_LAREQA_COMMIT, lang) for lang in _XQUAD_SHA256},
        revision=_LAREQA_COMMIT,
        sha256={f"{lang}.json": digest for lang, digest in _XQUAD_SHA256.items()},
        sources=("squad", "xquad"),
    ),
    DataSet(
        "mlqa-r",
        layout="parallel-qa",
        languages=("ar", "de", "en", "es", "hi", "vi", "zh"),
        licence="CC-BY-SA-4.0",
        home="https://github.com/google-research-datasets/lareqa",
        splits=_ARTICLES,
        default_split=None,
        queries=4199,
        documents=20534,
        sources=("mlqa",),
        note="2- to 4-way parallel; its builder is in the repository of its home page",
    ),
    _beir("scifact", 300, 5183, "CC-BY-4.0", splits=("train", "test"), sha256=_SCIFACT_SHA256),
    _beir("nfcorpus", 323, 3633, _PACKAGED, splits=_TRAINED, note="graded judgements"),
    _beir("arguana", 1406, 8674, _PACKAGED, drop_self_hits=True),
    _beir("scidocs", 1000, 25657, _PACKAGED),
    _beir("fiqa", 648, 57638, _PACKAGED, splits=_TRAINED),
    _beir("trec-covid", 50, 171332, _PACKAGED, note="graded judgements"),
    _beir("webis-touche2020", 49, 382545, _PACKAGED, note="graded judgements"),
    _beir("nq", 3452, 2681468, _PACKAGED),
    _beir("hotpotqa", 7405, 5233329, _PACKAGED, splits=_TRAINED),
    _beir("fever", 6666, 5416568, _PACKAGED, splits=_TRAINED),
    _beir("climate-fever", 1535, 5416593, _PACKAGED),
    _beir("dbpedia-entity", 400, 4635922, _PACKAGED, splits=("dev", "test"), note="graded judgements"),
    _beir("quora", 10000, 522931, _PACKAGED, splits=("dev", "test"), drop_self_hits=True),
    _beir(
        "msmarco",
        6980,
        8841823,
        "MS MARCO terms, non-commercial research",
        splits=_TRAINED,
        default_split="dev",
        note="test is TREC DL 2019 with graded judgements",
    ),
    *(
        _beir(
            f"cqadupstack/{forum}",
            queries,
            documents,
            _PACKAGED,
            archive="cqadupstack",
            sources=("cqadupstack",),
        )
        for forum, (queries, documents) in _FORUMS.items()
    ),
    DataSet(
        "climate-fever-pool",
        layout="beir",
        languages=("en",),
        licence="not stated; evidence from Wikipedia, CC-BY-SA-3.0",
        home="https://github.com/tdiggelm/climate-fever-dataset",
        splits=("test", "all_graded"),
        default_split="test",
        queries=1061,
        documents=5240,
        sources=("climate-fever",),
        note="claims over their annotated evidence sentences alone: not comparable with Climate-FEVER",
    ),
    DataSet(
        "embedded-qa",
        layout="parallel-qa",
        languages=(),
        licence="Apache-2.0",
        home="hybrid/embedded/world.py",
        splits=_ARTICLES,
        default_split=None,
        synthetic=True,
    ),
    *(
        DataSet(
            name,
            layout="beir",
            languages=("en",),
            licence="Apache-2.0",
            home="hybrid/embedded/world.py",
            splits=("train", "test"),
            default_split="test",
            synthetic=True,
        )
        for name in ("embedded-science", "embedded-history")
    ),
)

DATASETS: dict[str, DataSet] = {row.name: row for row in _ROWS}
