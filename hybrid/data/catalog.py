"""The data sets known by name, one record each.

A checksum stands here only if the bytes were seen; a set without checksums is unverified. Any other
folder under the data root in one of the layouts of docs/data.md is a data set by its folder's name.
"""

from collections.abc import Mapping

from hybrid.data.languages import MMARCO_LANGUAGES, MR_TYDI_LANGUAGES
from hybrid.data.source import DataSet

_BEIR = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets/{}.zip"
_PACKAGED = "CC-BY-SA-4.0 for BEIR's packaging; see the home page for the source's own"
_LAREQA = "https://raw.githubusercontent.com/google-research-datasets/lareqa/{}/xquad-r/{}.json"
_LAREQA_COMMIT = "9bc8c7fb6dd8d01d72a05a93c2cb96882b0d299c"

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
    unpacks: str | None = None,
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
        unpacks=unpacks,
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

_HUB = "https://huggingface.co/datasets/{}/resolve/main/{}"

_NANO = {  # name after "nano-" -> (name at its source, set it is drawn from)
    "arguana": ("NanoArguAna", "arguana"),
    "climate-fever": ("NanoClimateFEVER", "climate-fever"),
    "dbpedia-entity": ("NanoDBPedia", "dbpedia-entity"),
    "fever": ("NanoFEVER", "fever"),
    "fiqa": ("NanoFiQA2018", "fiqa"),
    "hotpotqa": ("NanoHotpotQA", "hotpotqa"),
    "msmarco": ("NanoMSMARCO", "msmarco"),
    "nfcorpus": ("NanoNFCorpus", "nfcorpus"),
    "nq": ("NanoNQ", "nq"),
    "quora": ("NanoQuoraRetrieval", "quora"),
    "scidocs": ("NanoSCIDOCS", "scidocs"),
    "scifact": ("NanoSciFact", "scifact"),
    "webis-touche2020": ("NanoTouche2020", "webis-touche2020"),
}
_PARQUET = "train-00000-of-00001.parquet"

_MIRACL = {  # language -> files of its corpus, dev queries, passages, by its README; None: not known
    "ar": (5, 2896, 2061414), "bn": (1, 411, 297265), "de": None, "en": (66, 799, 32893221),
    "es": (21, 648, 10373953), "fa": (5, 632, 2207172), "fi": (4, 1271, 1883509), "fr": (30, 343, 14636953),
    "hi": (2, 350, 506264), "id": (3, 960, 1446315), "ja": (14, 860, 6953614), "ko": (3, 213, 1486752),
    "ru": (20, 1252, 9543918), "sw": (1, 482, 131924), "te": (2, 828, 518079), "th": (2, 733, 542166),
    "yo": None, "zh": (10, 393, 4934368),
}  # fmt: skip
_MR_TYDI = "https://git.uwaterloo.ca/jimmylin/mr.tydi/-/raw/master/data/mrtydi-v1.1-{}.tar.gz"


def _nano(short: str, at_source: str, parent: str) -> DataSet:
    files = [f"{part}/{_PARQUET}" for part in ("corpus", "queries", "qrels")]
    return DataSet(
        f"nano-{short}",
        layout="nano-beir",
        languages=("en",),
        licence="see the home page",
        home=f"https://huggingface.co/datasets/zeta-alpha-ai/{at_source}",
        splits=("train",),
        default_split="train",
        files={name: _HUB.format(f"zeta-alpha-ai/{at_source}", name) for name in files},
        drop_self_hits=short in ("arguana", "quora"),
        sources=(parent,),
        note="queries and pool drawn from the full set: its scores are not the full set's",
    )


def _miracl(language: str, sizes: tuple[int, int, int] | None) -> DataSet:
    shards, queries, documents = sizes or (None, None, None)
    named = f"miracl-v1.0-{language}"
    judged = [
        f"{named}/{part}/{part}.{named}-{split}.tsv"
        for part in ("topics", "qrels")
        for split in (("dev",) if shards is None else ("train", "dev"))
    ]
    corpus = [f"miracl-corpus-v1.0-{language}/docs-{i}.jsonl.gz" for i in range(shards or 0)]
    files = {name: _HUB.format("miracl/miracl", name) for name in judged}
    files |= {name: _HUB.format("miracl/miracl-corpus", name) for name in corpus}
    return DataSet(
        f"miracl-{language}",
        layout="miracl",
        languages=(language,),
        licence="Apache-2.0",
        home="https://huggingface.co/datasets/miracl/miracl",
        splits=("dev",) if shards is None else ("train", "dev"),
        default_split="dev",
        queries=queries,
        documents=documents,
        files=files if shards else {},
        sources=("miracl", "mrtydi"),
        stands_in="miracl",
    )


def _mr_tydi(language: str, in_full: str) -> DataSet:
    return DataSet(
        f"mrtydi-{language}",
        layout="mrtydi",
        languages=(language,),
        licence="Apache-2.0",
        home="https://github.com/castorini/mr.tydi",
        splits=("train", "dev", "test"),
        default_split="test",
        archive=_MR_TYDI.format(in_full),
        unpacks=f"mrtydi/mrtydi-v1.1-{in_full}",
        sources=("mrtydi",),
        stands_in="mrtydi",
    )


_MMARCO_FILES = (  # queries first: while collections are missing, fetching is known to have been cut off
    "data/triples.train.ids.small.tsv",
    *(f"data/google/queries/train/{name}_queries.train.tsv" for name in MMARCO_LANGUAGES.values()),
    *(f"data/google/collections/{name}_collection.tsv" for name in MMARCO_LANGUAGES.values()),
)
_XTREME_SQUAD = "https://storage.googleapis.com/xtreme_translations/SQuAD/translate-train"
_XTREME_SQUAD_FILES = tuple(
    f"squad.translate.train.en-{lang}.json"
    for lang in ("ar", "de", "el", "es", "hi", "ru", "th", "tr", "vi", "zh")
)

_TRAINING = (
    DataSet(
        "mmarco",
        layout="mmarco",
        languages=tuple(MMARCO_LANGUAGES),
        licence="Apache-2.0; MS MARCO terms for the text",
        home="https://huggingface.co/datasets/unicamp-dl/mmarco",
        splits=(),
        default_split=None,
        files={name: _HUB.format("unicamp-dl/mmarco", name) for name in _MMARCO_FILES},
        gigabytes=58,
        sources=("msmarco",),
        note="58 GB in all languages; a folder may hold any of them, and MS MARCO's qrels.train.tsv",
    ),
    DataSet(
        "squad-translate-train",
        layout="squad-translate",
        languages=("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"),
        licence="CC-BY-SA-4.0 for SQuAD; see the home page for the translations",
        home="https://github.com/google-research/xtreme",
        splits=(),
        default_split=None,
        files={
            "train-v1.1.json": "https://rajpurkar.github.io/SQuAD-explorer/dataset/train-v1.1.json",
            **{name: f"{_XTREME_SQUAD}/{name}" for name in _XTREME_SQUAD_FILES},
        },
        sources=("squad",),
    ),
    DataSet(
        "mkqa",
        layout="mkqa",
        languages=(),
        licence="CC-BY-SA-3.0",
        home="https://github.com/apple/ml-mkqa",
        splits=(),
        default_split=None,
        files={"mkqa.jsonl.gz": "https://github.com/apple/ml-mkqa/raw/master/dataset/mkqa.jsonl.gz"},
        sources=("nq",),
    ),
)

_ROWS = (
    DataSet(
        "xquad-r",
        layout="parallel-qa",
        languages=tuple(_XQUAD_SHA256),
        licence="CC-BY-SA-4.0",
        home="https://github.com/google-research-datasets/lareqa",
        splits=_ARTICLES,
        default_split=None,
        queries=11 * 1190,
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
            unpacks="cqadupstack",
            sources=("cqadupstack",),
        )
        for forum, (queries, documents) in _FORUMS.items()
    ),
    *(_nano(short, *names) for short, names in _NANO.items()),
    *(_miracl(language, sizes) for language, sizes in _MIRACL.items()),
    *(_mr_tydi(language, in_full) for language, in_full in MR_TYDI_LANGUAGES.items()),
    *_TRAINING,
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
