"""A collection in BEIR's layout: corpus.jsonl, queries.jsonl, qrels/<split>.tsv."""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml


@cache
def vocabulary() -> dict[str, dict[str, str]]:
    """Words and templates of the English collections, read from collections_en.yaml."""
    path = Path(__file__).with_name("collections_en.yaml")
    words: dict[str, dict[str, str]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return words


@dataclass
class Collection:
    """Documents, queries and graded judgements (query -> document -> gain), by split."""

    documents: list[dict[str, Any]] = field(default_factory=list)
    queries: list[dict[str, Any]] = field(default_factory=list)
    qrels: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)

    def add_document(self, name: str, title: str, text: str) -> None:
        self.documents.append({"_id": name, "title": title, "text": text, "metadata": {}})

    def add_query(self, split: str, name: str, text: str, gains: dict[str, int]) -> None:
        self.queries.append({"_id": name, "text": text, "metadata": {}})
        self.qrels.setdefault(split, {})[name] = gains

    def write(self, folder: Path) -> None:
        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        for name, rows in (("corpus", self.documents), ("queries", self.queries)):
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / f"{name}.jsonl").write_bytes(lines.encode())
        for split, judged in self.qrels.items():
            text = "query-id\tcorpus-id\tscore\n"
            for query, gains in judged.items():
                text += "".join(f"{query}\t{document}\t{gain}\n" for document, gain in gains.items())
            (folder / "qrels" / f"{split}.tsv").write_bytes(text.encode())
