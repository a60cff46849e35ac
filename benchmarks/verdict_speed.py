"""How long the statistics take, and in how much memory, on a sweep of full size.

    python benchmarks/verdict_speed.py [--arms 60 --seeds 5 --sets 15 --queries 1000] [--out FOLDER]

Generates a table of score rows, runs `sweeps verdict` on it as a command, then what the report adds: the
curve of every line of arms, the Pareto front and the best arm, 10,000 draws each. Writes verdict_speed.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

MEASURED = """
import json, resource, sys, time
import pyarrow.parquet as pq
from sweeps.dose import dose_response
from sweeps.macro import Aim
from sweeps.pairing import read_scores
from sweeps.pareto import pareto_front
from sweeps.robustness import best_arm
start = time.perf_counter()
columns = ["arm", "task", "group", "query_id", "cluster_id", "measure"]
scores = read_scores(pq.read_table(sys.argv[1], read_dictionary=columns))
read = time.perf_counter() - start
arms, aim = list(scores.arms), Aim()
lines = [arms[at : at + 5] for at in range(0, len(arms), 5)]
for line in lines:
    curve = {1 - at / 4: arm for at, arm in enumerate(line)}
    dose_response(scores, curve, aim, margin=0.01, sequences=len(lines))
sets = list(dict.fromkeys(block.task for block in scores.blocks))
pareto_front(scores, arms, [Aim(task=sets[0]), Aim(without=sets[0])])
best_arm(scores, arms, aim)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"read": read, "all": time.perf_counter() - start, "peak": peak}))
"""


def write_table(path: Path, arms: int, seeds: int, sets: int, queries: int) -> None:
    """Score rows of arms × seeds × sets × queries; arm 0 is the reference, others lose up to two points."""
    rng = np.random.default_rng(0)
    names = [f"arm {arm}" for arm in range(arms)]
    ids = pa.array([f"query {query}" for query in range(queries)])
    writer: pq.ParquetWriter | None = None
    for one_set in range(sets):
        difficulty = rng.uniform(0.2, 0.8, queries)
        parts = []
        for arm, name in enumerate(names):
            own = difficulty - 0.02 * arm / arms + rng.normal(0, 0.05, queries)
            for seed in range(1, seeds + 1):
                value = own + rng.normal(0, 0.003) + rng.normal(0, 0.05, queries)
                words = {"arm": name, "task": f"set {one_set}", "group": "zero_shot", "measure": "ndcg_at_10"}
                same = {key: pa.repeat(pa.scalar(word), queries) for key, word in words.items()}
                own_ids = {"query_id": ids, "cluster_id": ids}
                number = {"seed": pa.repeat(pa.scalar(seed), queries), "value": pa.array(value)}
                parts.append(pa.table({**same, **own_ids, **number}))
        table = pa.concat_tables(parts)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in (("arms", 60), ("seeds", 5), ("sets", 15), ("queries", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.parquet"
        write_table(path, given.arms, given.seeds, given.sets, given.queries)
        start = time.perf_counter()
        command = [sys.executable, "-m", "sweeps", "verdict", str(path), "--reference", "arm 0", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # kilobytes on Linux
        verdicts = json.loads(done.stdout)["verdicts"]
        more = subprocess.run(
            [sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=True
        )
        rest = json.loads(more.stdout)
    rows = given.arms * given.seeds * given.sets * given.queries
    text = (
        "# The statistics on a sweep of full size\n\n"
        f"{given.arms} arms × {given.seeds} seeds × {given.sets} sets × {given.queries:,} queries: {rows:,} "
        f"score rows, {len(verdicts)} verdicts, 10,000 draws.\n\n"
        "| | seconds | peak memory, GiB |\n|---|---:|---:|\n"
        f"| `sweeps verdict`, the whole command | {seconds:.1f} | {peak:.2f} |\n"
        f"| curves, Pareto front, best arm, reading included | {rest['all']:.1f} | {rest['peak']:.2f} |\n"
    )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "verdict_speed.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
