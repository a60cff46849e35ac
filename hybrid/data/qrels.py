"""Relevance judgements in the files of BEIR and of trec_eval."""

from pathlib import Path

from hybrid.data.lines import refuse, text_lines
from hybrid.errors import BadInput

Qrels = dict[str, dict[str, int]]
"""Query id -> document id -> gain."""


def read_qrels(path: Path, *, trec: bool = False) -> tuple[Qrels, list[str]]:
    """Judgements by query, and notes.

    BEIR's lines are query id, document id and a whole number between tabs, the first line a header if its
    third field is no number. With `trec` they are query id, an unused field, document id and a whole
    number between blanks. A judgement that is repeated is counted; one that contradicts another is refused.
    """
    qrels: Qrels = {}
    mistakes: list[str] = []
    repeated = 0
    for number, line in text_lines(path):
        if not line.strip():
            continue
        cells = line.split() if trec else line.split("\t")
        if len(cells) != (4 if trec else 3):
            wanted = "four fields between blanks" if trec else "query-id, corpus-id and score between tabs"
            mistakes.append(f"{path}:{number}: {len(cells)} fields where {wanted} are wanted")
            continue
        query, document, score = (cells[0], *cells[-2:])
        try:
            gain = int(score)
        except ValueError:
            if number > 1 or trec:
                mistakes.append(f"{path}:{number}: the score {score!r} is no whole number")
            continue
        if not query or not document:
            mistakes.append(f"{path}:{number}: an id is empty")
            continue
        gains = qrels.setdefault(query, {})
        repeated += document in gains
        if gains.setdefault(document, gain) != gain:
            mistakes.append(
                f"{path}:{number}: query {query!r} and document {document!r} "
                f"have the score {gains[document]} already"
            )
    refuse(mistakes)
    if not qrels:
        raise BadInput(f"{path}: holds no judgement")
    return qrels, [f"{path.name} repeats {repeated} judgements"] if repeated else []
