"""A large collection is read, searched and pooled without ever being in memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import hashlib, sys, threading, time
from pathlib import Path
import numpy as np
import hybrid.bm25
import hybrid.evaluate
from hybrid.config import EvalConfig
from hybrid.data.tasks import load_task
from hybrid.document_pool import build_pool
from hybrid.evaluate import evaluate

hybrid.evaluate._NUMBERS_IN_MEMORY = 2**20  # as for a collection many times as large
hybrid.evaluate._TEXTS_AT_ONCE = 5_000
hybrid.bm25._BLOCK = 5_000

class Hashed:
    dim, device, shipped_query_length, shipped_passage_length = 64, "cpu", 64, 64
    def encode(self, texts, kind, *, precision, max_length, progress=None):
        rows = [hashlib.shake_128(text.encode()).digest(64) for text in texts]
        return np.frombuffer(b"".join(rows), np.int8).reshape(-1, 64).astype(np.float32) / 600

peak, stop = 0, threading.Event()

def watch():  # memory that is the process's own; pages of mapped files can be taken back at any time
    global peak
    while not stop.wait(0.005):
        line = next(line for line in open("/proc/self/status") if line.startswith("RssAnon"))
        peak = max(peak, int(line.split()[1]))

watcher = threading.Thread(target=watch)
watcher.start()
task = load_task("large", Path(sys.argv[1]))
table = evaluate(Hashed(), task, EvalConfig())
pool = build_pool(task, 10, {"hashed": Hashed}, EvalConfig(), name="large@pool")
stop.set()
watcher.join()
print(len(task.documents["en"]), table.num_rows, len(pool.documents), peak / 1024)
"""


def write_large(root: Path, documents: int) -> Path:
    """A folder in BEIR's layout with that many documents of about 600 characters, and 20 queries."""
    folder = root / "large"
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w") as file:
        for number in range(documents):
            words = " ".join(f"w{(number * step) % 9973}" for step in range(1, 110))
            file.write(json.dumps({"_id": f"d{number}", "title": f"t{number}", "text": words}) + "\n")
    with (folder / "queries.jsonl").open("w") as file:
        for number in range(20):
            file.write(json.dumps({"_id": f"q{number}", "text": f"w{number} w{number + 7} t{number}"}) + "\n")
    judged = "".join(f"q{number}\td{number * 31}\t1\n" for number in range(20))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return root


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_memory_grows_by_a_few_numbers_a_document_and_not_by_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading, digest, evaluation and pool of 40,000 and of 240,000 documents, each in a process of its own.

    A document's text takes 700 bytes and its vector 256; what may stay is its place among equal scores,
    hashes of its id and content, flags: at 150 bytes, 5.4 million documents take 0.8 GB.
    """
    monkeypatch.setenv("HYBRID_CACHE", str(tmp_path / "cache"))
    peaks = {}
    for count in (40_000, 240_000):
        root = write_large(tmp_path / str(count), count)
        command = [sys.executable, "-c", MEASURE, str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        documents, rows, pooled, peak = done.stdout.split()
        assert (int(documents), int(rows)) == (count, 20 * 4)
        assert 20 < int(pooled) <= 20 + 2 * 10 * 20
        peaks[count] = float(peak)
    print(f"peak resident, MB: {peaks}")
    per_document = (peaks[240_000] - peaks[40_000]) * 2**20 / 200_000  # bytes
    assert per_document < 150
