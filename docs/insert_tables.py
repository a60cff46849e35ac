"""Put generated tables into README.md and the pages below docs: python docs/insert_tables.py

Between `<!-- table: FILE -->` and `<!-- end -->` stands the text of FILE, a table that `sweeps report` or a
benchmark wrote; a test fails where the two differ.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARKED = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.S)


def with_tables(text: str) -> str:
    """The text with every marked table as its file has it."""
    return MARKED.sub(lambda m: f"{m[1]}{(ROOT / m[2]).read_text(encoding='utf-8').strip()}\n{m[3]}", text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
