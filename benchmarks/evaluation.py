"""How fast evaluation is, against BEIR and sentence-transformers, both measured in this run.

    python benchmarks/evaluation.py --data-root DIR [--documents 400] [--questions 60] [--out FILE.json]

Model: all-MiniLM-L6-v2. Both sides get the same texts on the same machine with the same threads. With
`--documents 0 --questions 0` all of SciFact and XQuAD-R are taken, which is long on a CPU.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

MILLION = """
import sys, time
import numpy as np
from pathlib import Path
from hybrid.search import Candidates, VectorFile, search
count, queries, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
rng = np.random.default_rng(0)
def unit(rows):
    vectors = rng.standard_normal((rows, 384), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
stored = VectorFile(folder / "documents.f32", 384)
for start in range(0, count, 50_000):
    stored.append(unit(min(50_000, count - start)))
candidates = Candidates.of(stored, [f"{number:08}" for number in range(count)])
wanted = rng.integers(0, count, size=(queries, 1))
start = time.perf_counter()
found = search(unit(queries), candidates, wanted=wanted, top=100)
seconds = time.perf_counter() - start
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(seconds, int(peak.split()[1]) / 1024, found.top.shape)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, default=os.environ.get("HYBRID_DATA_ROOT"))
    parser.add_argument("--documents", type=int, default=400, help="of SciFact; 0: all 5,183")
    parser.add_argument(
        "--questions", type=int, default=60, help="of XQuAD-R, in each language; 0: all 1,190"
    )
    parser.add_argument("--million", type=int, default=1_000_000, help="synthetic documents to search")
    parser.add_argument("--only", choices=["rate", "scifact", "xquad", "million"], action="append")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "rate": matrix_rate,
        "scifact": lambda: against_beir(args.data_root, args.documents),
        "xquad": lambda: against_sentence_transformers(args.data_root, args.questions),
        "million": lambda: million(args.million),
    }
    wanted = args.only or list(parts)
    if args.data_root is None and {"scifact", "xquad"} & set(wanted):
        parser.error("give --data-root or HYBRID_DATA_ROOT, the folder that holds scifact and xquad-r")
    results: dict[str, Any] = {"machine": machine()}
    print_part("machine", results["machine"])
    for name in wanted:
        results[name] = parts[name]()
        print_part(name, results[name])
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n")


def print_part(name: str, values: dict[str, Any]) -> None:
    print(f"\n{name}")
    for key, value in values.items():
        print(
            f"  {key:<58} {value:>12.4g}" if isinstance(value, float) else f"  {key:<58} {value!s:>12}",
            flush=True,
        )


def machine() -> dict[str, Any]:
    import torch

    from hybrid.hardware import cpu_precision

    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "precision of the hardware": cpu_precision(),
        "load before": os.getloadavg()[0],
    }


def precisions() -> list[Any]:
    from hybrid.hardware import cpu_precision

    return ["fp32", "bf16"] if cpu_precision() == "bf16" else ["fp32"]


def matrix_rate() -> dict[str, Any]:
    """Matrix products of MiniLM's largest feed-forward shape: 4,096 tokens, 384 by 1,536."""
    return {f"GFLOP/s {precision}": products_per_second(precision) / 1e9 for precision in precisions()}


def products_per_second(precision: str) -> float:
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    tokens, weights = torch.randn(4096, 384).to(dtype), torch.randn(1536, 384).to(dtype)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(30):
            start = time.perf_counter()
            torch.nn.functional.linear(tokens, weights)
            best = min(best, time.perf_counter() - start)
    return 2 * 4096 * 384 * 1536 / best


def against_beir(data_root: Path, documents: int) -> dict[str, Any]:
    """SciFact's test claims: BEIR's exact search and evaluation, and ours."""
    from beir.retrieval.evaluation import EvaluateRetrieval
    from beir.retrieval.search.dense import DenseRetrievalExactSearch

    from hybrid.config import EvalConfig
    from hybrid.data.records import Texts
    from hybrid.data.tasks import load_task
    from hybrid.encoder import Encoder
    from hybrid.evaluate import evaluate, macro

    task = load_task("scifact", data_root)
    corpus, queries = task.documents["en"], task.queries["en"]
    kept = np.linspace(0, len(corpus) - 1, documents or len(corpus)).astype(int).tolist()
    texts = Texts([corpus.ids[row] for row in kept], [corpus.texts[row] for row in kept])
    task = replace(task, documents={"en": texts})
    encoder = Encoder.load("minilm-l6")

    class Model:
        def encode_queries(self, queries: list[str], batch_size: int, **_: Any) -> Any:
            return encoder.model.encode(queries, batch_size=batch_size, show_progress_bar=False)

        def encode_corpus(self, corpus: list[dict[str, str]], batch_size: int, **_: Any) -> Any:
            passages = [document["text"] for document in corpus]
            return encoder.model.encode(passages, batch_size=batch_size, show_progress_bar=False)

    collection = {name: {"text": text} for name, text in zip(texts.ids, texts.texts, strict=True)}
    claims = dict(zip(queries.ids, queries.texts, strict=True))
    qrels = {query: dict(gains) for query, gains in task.qrels["en"].items()}

    def theirs() -> dict[str, float]:
        retriever = EvaluateRetrieval(
            DenseRetrievalExactSearch(Model(), batch_size=128), score_function="cos_sim"
        )
        ndcg, _, recall, _ = retriever.evaluate(qrels, retriever.retrieve(collection, claims), [10, 100])
        return {"nDCG@10": ndcg["NDCG@10"], "Recall@100": recall["Recall@100"]}

    seconds, scores = timed(theirs)
    results: dict[str, Any] = {"documents": len(texts), "queries": len(queries)}
    results |= {"BEIR seconds": seconds, **{f"BEIR {name}": value for name, value in scores.items()}}
    for precision in precisions():
        with encoding_time(encoder) as encoding:
            ours, table = timed(lambda: evaluate(encoder, task, EvalConfig(precision=precision)))  # noqa: B023
        means = macro(table)
        rate = encoder_products(encoder, claims.values(), texts.texts) / encoding[0]
        results |= {
            f"ours {precision} seconds": ours,
            f"ours {precision} times as fast": seconds / ours,
            f"ours {precision} nDCG@10": means["scifact", "beir", "ndcg_at_10"],
            f"ours {precision} Recall@100": means["scifact", "beir", "recall_at_100"],
            f"ours {precision} share of time not encoding": 1 - encoding[0] / ours,
            f"ours {precision} share of the matrix-product rate": rate / products_per_second(precision),
        }
    return results


def encoder_products(encoder: Any, queries: Any, documents: Any) -> float:
    """Floating-point operations of the encoder's matrix products, over tokens that are not padding."""
    config = encoder.model[0].model.config
    per_token = (
        2
        * config.num_hidden_layers
        * (4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size)
    )
    token_ids = encoder.tokenize(list(queries), "query") + encoder.tokenize(list(documents), "passage")
    lengths = np.array([len(ids) for ids in token_ids], dtype=np.float64)
    attention = 4 * config.num_hidden_layers * config.hidden_size * float((lengths**2).sum())
    return float(per_token * lengths.sum() + attention)


def against_sentence_transformers(data_root: Path, questions: int) -> dict[str, Any]:
    """XQuAD-R's 132 settings: `InformationRetrievalEvaluator` once for each, and ours at once.

    Of each kind of setting the evaluator is timed on some, and that is multiplied by how many there are.
    """
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    from hybrid.config import EvalConfig
    from hybrid.data.tasks import load_task
    from hybrid.encoder import Encoder
    from hybrid.evaluate import evaluate

    task = smaller(load_task("xquad-r", data_root), questions)
    encoder = Encoder.load("minilm-l6")
    languages = list(task.documents)

    def theirs(query_lang: str, doc_langs: list[str]) -> float:
        documents = {
            name: text
            for lang in doc_langs
            for name, text in zip(task.documents[lang].ids, task.documents[lang].texts, strict=True)
        }
        of_language = task.queries[query_lang]
        relevant = {
            query: {
                name for name, gain in task.qrels[query_lang][query].items() if gain > 0 and name in documents
            }
            for query in of_language.ids
        }
        queries = dict(zip(of_language.ids, of_language.texts, strict=True))
        return timed(
            lambda: InformationRetrievalEvaluator(queries, documents, relevant, write_csv=False)(
                encoder.model
            )
        )[0]

    pairs = [("en", "en"), ("ar", "de"), ("de", "th"), ("en", "zh"), ("hi", "hi")]
    one = [theirs(query_lang, [doc_lang]) for query_lang, doc_lang in pairs]
    pooled = [theirs(query_lang, languages) for query_lang in ("en",)]
    settings = len(languages) ** 2
    estimate = float(settings * np.mean(one) + len(languages) * np.mean(pooled))
    results: dict[str, Any] = {
        "questions in each language": len(task.queries["en"]),
        "candidates": sum(map(len, task.documents.values())),
        "settings": settings + len(languages),
        "settings timed with the evaluator": len(one) + len(pooled),
        "evaluator seconds (timed ones times their number)": estimate,
    }
    for precision in precisions():
        seconds = timed(lambda: evaluate(encoder, task, EvalConfig(precision=precision)))[0]  # noqa: B023
        results |= {
            f"ours {precision} seconds": seconds,
            f"ours {precision} times as fast": estimate / seconds,
        }
    return results


def smaller(task: Any, questions: int) -> Any:
    """The first questions in each language, and the documents of the paragraphs they are asked of."""
    from hybrid.data.records import Texts

    if not questions:
        return task

    def first(texts: Texts, kept: list[int]) -> Texts:
        clusters = None if texts.clusters is None else [texts.clusters[row] for row in kept]
        return Texts([texts.ids[row] for row in kept], [texts.texts[row] for row in kept], clusters)

    share = questions / len(task.queries["en"])
    queries = {lang: first(texts, list(range(questions))) for lang, texts in task.queries.items()}
    needed = {
        name for lang, texts in queries.items() for query in texts.ids for name in task.qrels[lang][query]
    }
    documents = {}
    for lang, texts in task.documents.items():
        kept = [row for row, name in enumerate(texts.ids) if name in needed or row < share * len(texts)]
        documents[lang] = first(texts, kept)
    return replace(task, queries=queries, documents=documents)


def million(count: int) -> dict[str, Any]:
    """Synthetic unit vectors of dimension 384 in a file, 1,000 queries: exact ranks and the best 100."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", MILLION, str(count), "1000", folder]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return {
        "documents": count,
        "queries": 1000,
        "seconds": float(shown[0]),
        "peak resident MB": float(shown[1]),
    }


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


@contextmanager
def encoding_time(encoder: Any) -> Iterator[list[float]]:
    """A list whose item is the seconds spent in `encoder.encode`."""
    spent, encode = [0.0], encoder.encode

    def counted(*args: Any, **kwargs: Any) -> Any:
        seconds, vectors = timed(lambda: encode(*args, **kwargs))
        spent[0] += seconds
        return vectors

    encoder.encode = counted
    try:
        yield spent
    finally:
        del encoder.encode


if __name__ == "__main__":
    main()
    print(
        f"\npeak resident of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"
    )
