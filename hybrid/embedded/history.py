"""embedded-history: keywords or long requests against chronicle entries (English, BEIR layout).

An entry that reports the event asked for is judged 2; an entry that tells of its aftermath is judged 1.
"""

from random import Random

from hybrid.embedded.beir_layout import Collection, vocabulary

EVENTS = 280
_NOT_EVENTS = ("glossary", "town", "person", "goods", "season")


def make_history(seed: str, events: int = EVENTS) -> Collection:
    """Chronicle entries, 100 test requests and 60 for selection; the same seed gives the same text."""
    rng = Random(f"embedded world: history {seed}")
    words = vocabulary()["history"]
    towns, people = words["town"].split(), words["person"].split()
    goods, seasons = words["goods"].split("|"), words["season"].split("|")
    templates = {kind: text.strip().split("\n") for kind, text in words.items() if kind not in _NOT_EVENTS}
    chosen = rng.sample([(town, kind) for town in towns for kind in templates], events)

    entries: list[tuple[int, int, str]] = []  # (event, gain, text)
    told: list[dict[str, str]] = []  # event -> what fills the slots of its texts
    for number, (town, kind) in enumerate(chosen):
        fields = {
            "town": town,
            "person": rng.choice(people),
            "goods": rng.choice(goods),
            "season": rng.choice(seasons),
            "year": str(rng.randrange(1180, 1640)),
            "n": str(rng.randrange(7, 300)),
        }
        told.append(fields)
        entries.append((number, 2, templates[kind][rng.randrange(2)].format(**fields)))
        if rng.random() < 0.5:
            entries.append((number, 1, templates[kind][2 + rng.randrange(2)].format(**fields)))
    rng.shuffle(entries)

    collection = Collection()
    gains: dict[int, dict[str, int]] = {}
    for position, (number, gain, text) in enumerate(entries):
        collection.add_document(f"h{position:04d}", "", text)
        gains.setdefault(number, {})[f"h{position:04d}"] = gain
    for query in range(160):
        kind = chosen[query][1]
        text = templates[kind][4 + query % 2].format(**told[query])
        collection.add_query("test" if query < 100 else "train", f"r{query:03d}", text, gains[query])
    return collection
