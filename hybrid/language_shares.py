"""How often each language and each ordered pair of languages is drawn, where that is not uniform."""

import re
from collections.abc import Sequence

ANY = "any"

_ENTRY = re.compile(r"(?P<query>[\w-]+?)->(?P<passage>[\w-]+)(=(?P<share>\d+(\.\d+)?))?")


def pair_shares(
    entries: Sequence[str], languages: Sequence[str]
) -> tuple[dict[tuple[str, str], float], list[str]]:
    """(query language, passage language) → share of cross-lingual rows, summing to 1; and what is wrong.

    An entry is `en->de` or `en->de=2`, where `any` stands for every language; without a number its share
    is 1. Of several entries that name a pair the last one counts; a pair that none names is never drawn.
    """
    shares: dict[tuple[str, str], float] = {}
    mistakes: list[str] = []
    for entry in entries:
        match = _ENTRY.fullmatch(entry)
        if match is None:
            mistakes.append(
                f"language_pairs: '{entry}' is no pair; write QUERY->PASSAGE or QUERY->PASSAGE=SHARE, "
                f"for example en->de=2 or any->en."
            )
            continue
        sides = match["query"], match["passage"]
        unknown = [side for side in sides if side != ANY and side not in languages]
        if unknown:
            mistakes.append(
                f"language_pairs: '{unknown[0]}' in '{entry}' is no language of this training; "
                f"its languages are {', '.join(languages)}, and {ANY} stands for all of them."
            )
        elif sides[0] == sides[1] != ANY:
            mistakes.append(
                f"language_pairs: '{entry}' is no pair of two languages; "
                f"mono_ratio decides how much is monolingual."
            )
        else:
            queries, passages = (languages if side == ANY else (side,) for side in sides)
            shares.update({(q, p): float(match["share"] or 1) for q in queries for p in passages if q != p})
    total = sum(shares.values())
    if not mistakes and total <= 0:
        mistakes.append("language_pairs: gives no pair a share above 0; name at least one, such as any->any.")
    return {pair: share / total for pair, share in shares.items() if share > 0 and total > 0}, mistakes
