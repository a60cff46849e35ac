"""Memory and time of reading large data, which is generated: no text of it is real, no model is loaded.

    python benchmarks/reading.py [--documents 5416593] [--triples 39780811] [--out FILE.json]

A folder in BEIR's layout with as many documents as Climate-FEVER has is parsed, digested, and compared with
training pairs, as `sweeps prepare` does; and as many triples as mMARCO's are read. Each step is a process of
its own. "own" is the most memory that the process had to itself; "resident" also counts pages of mapped
files, which the system takes back when it needs them. 0 leaves a part out; its figures in FILE stay.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

QUERIES, RELEVANT = 1535, 3
PAIRS = 5_000

STEP = """
import json, sys, threading, time
from pathlib import Path
from hybrid.data.mmarco_triples import read_triples
from hybrid.data.overlap import contamination
from hybrid.data.tasks import load_task

peak, stop = 0, threading.Event()

def watch():
    global peak
    while not stop.wait(0.01):
        line = next(line for line in open("/proc/self/status") if line.startswith("RssAnon"))
        peak = max(peak, int(line.split()[1]))

watcher = threading.Thread(target=watch)
watcher.start()
start = time.perf_counter()
root, step = Path(sys.argv[1]), sys.argv[2]
if step == "triples":
    found = read_triples(root / "triples.train.ids.small.tsv")[1].num_rows
elif step == "overlap":
    found = contamination("own-pairs", "large", root).same_query
else:
    found = len(load_task("large", root).documents["en"])
seconds = time.perf_counter() - start
stop.set()
watcher.join()
high = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
shown = {"found": found, "seconds": round(seconds, 1), "own MB": round(peak / 1024)}
print(json.dumps(shown | {"resident MB": round(int(high.split()[1]) / 1024)}))
"""


def write_collection(root: Path, documents: int) -> None:
    """Documents of about 240 characters; the first relevant ones are those of the queries."""
    folder = root / "large"
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w") as file:
        for number in range(documents):
            text = " ".join(f"word{number * step % 99_991}" for step in range(1, 27))
            file.write(f'{{"_id": "doc-{number}", "title": "Title {number}", "text": "{text}"}}\n')
    with (folder / "queries.jsonl").open("w") as file:
        for number in range(QUERIES):
            file.write(
                json.dumps({"_id": f"q{number}", "text": f"is it word{number} or title {number}?"}) + "\n"
            )
    judged = "".join(f"q{q}\tdoc-{q * RELEVANT + i}\t1\n" for q in range(QUERIES) for i in range(RELEVANT))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    (root / "own-pairs").mkdir()
    with (root / "own-pairs" / "pairs.jsonl").open("w") as file:
        for number in range(PAIRS):
            row = {
                "id": str(number),
                "lang": "en",
                "question": f"Is it word{number * 2} or title {number * 2}?",
            }
            file.write(json.dumps({**row, "passage": f"It is word{number}."}) + "\n")


def write_triples(path: Path, lines: int) -> None:
    """About a hundred lines a query, as in mMARCO's, the queries in no order."""
    queries = max(1, lines // 100)
    with path.open("w") as file:
        for number in range(lines):
            query = number * 7_919 % queries
            file.write(f"{query}\t{query * 11 % 8_841_823}\t{number * 104_729 % 8_841_823}\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=5_416_593)
    parser.add_argument("--triples", type=int, default=39_780_811)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    known = json.loads(args.out.read_text(encoding="utf-8")) if args.out and args.out.exists() else {}
    result: dict[str, object] = {**known, "cores": os.cpu_count()}
    result["processor"] = platform.processor() or platform.machine()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        environment = {**os.environ, "HYBRID_CACHE": f"{folder}/cache", "HYBRID_OFFLINE": "1"}
        steps = []
        if args.documents:
            result["documents"] = args.documents
            write_collection(root, args.documents)
            steps += ["first reading", "second reading", "overlap"]
        if args.triples:
            result["triples written"] = args.triples
            write_triples(root / "triples.train.ids.small.tsv", args.triples)
            steps += ["triples"]
        for step in steps:
            command = [sys.executable, "-c", STEP, folder, step]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            result[step] = json.loads(done.stdout)
            print(step, done.stdout.strip(), flush=True)
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
