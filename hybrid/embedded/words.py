"""Words in four languages: the lexicon, invented names, and how they are inflected.

A `Word` has, for each language, one text per grammatical form; the form "" is the default one. Forms are
named by case (nom, gen, dat, acc, ins, prep), by gender (m, f, n) or `short` (a person's surname).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from random import Random

import yaml

LANGUAGES = ("en", "de", "es", "ru")
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Word:
    """One thing that can fill a slot: language -> form -> text. `gender` picks between `{slot:m|f}`."""

    forms: dict[str, dict[str, str]]
    gender: str = "m"

    def text(self, language: str, form: str = "") -> str:
        return self.forms[language][form]


def same(text: str) -> Word:
    """A word that is written alike in all languages and never inflected, such as a year."""
    return Word({language: {"": text} for language in LANGUAGES})


@cache
def lexicon() -> dict[str, list[Word]]:
    """Kind of word -> its words, read from lexicon.yaml."""
    kinds = yaml.safe_load((_FOLDER / "lexicon.yaml").read_text(encoding="utf-8"))
    return {
        kind: [_word(line, entry.get("forms", {})) for line in entry["words"].strip().split("\n")]
        for kind, entry in kinds.items()
    }


def _word(line: str, forms: dict[str, list[str]]) -> Word:
    columns = [column.strip() for column in line.split("|")]
    if len(columns) == 2:  # a syllable: Latin | Cyrillic
        columns = [columns[0]] * 3 + [columns[1]]
    texts: dict[str, dict[str, str]] = {}
    for language, column in zip(LANGUAGES, columns, strict=True):
        parts = column.split("/")
        texts[language] = {"": parts[0], **dict(zip(forms.get(language, [""]), parts, strict=True))}
    return Word(texts)


_AGES = (56, 57, 58, 59, 65, 66, 67, 68, 69, 75, 76, 77, 78, 79, 86, 88, 90)
"""Ages that take the genitive plural in Russian (56 лет), as the templates have it."""


def number(value: int) -> Word:
    """A whole number with the thousands separator of each language."""
    digits = f"{value:,}"
    spaced = digits.replace(",", " ") if value >= 10_000 else str(value)
    return Word(
        {
            "en": {"": digits},
            "de": {"": digits.replace(",", ".")},
            "es": {"": spaced},
            "ru": {"": spaced},
        }
    )


_HARD = {"nom": "", "gen": "а", "dat": "у", "acc": "", "ins": "ом", "prep": "е"}  # masculine, inanimate
_SOFT_A = {"nom": "а", "gen": "ы", "dat": "е", "acc": "у", "ins": "ой", "prep": "е"}  # feminine in -а


def decline_russian(name: str, *, animate: bool = False) -> dict[str, str]:
    """All cases of a name that ends in a hard consonant (masculine) or in -а (feminine); "" is nominative."""
    if name.endswith("а"):
        cases = {case: name[:-1] + ending for case, ending in _SOFT_A.items()}
    else:
        cases = {case: name + ending for case, ending in _HARD.items()}
        if animate:
            cases["acc"] = cases["gen"]
    return {"": cases["nom"], **cases}


def _russian_head(cases: str, rest: dict[str, str] | str) -> dict[str, str]:
    """A declined head noun (six cases, space-separated) followed by `rest`, declined with it or fixed."""
    names = ("nom", "gen", "dat", "acc", "ins", "prep")
    heads = dict(zip(names, cases.split(), strict=True))
    full = {case: f"{head} {rest if isinstance(rest, str) else rest[case]}" for case, head in heads.items()}
    return {"": full["nom"], **full}


def _german(articles: str, rest: str, genitive: str | None = None) -> dict[str, str]:
    """A noun group after its articles in nominative, genitive, dative, accusative."""
    nom, gen, dat, acc = articles.split()
    return {
        "": f"{nom} {rest}",
        "gen": f"{gen} {genitive or rest}",
        "dat": f"{dat} {rest}",
        "acc": f"{acc} {rest}",
    }


def _plain(text: str) -> dict[str, str]:
    return {"": text}


def city(latin: str, cyrillic: str) -> Word:
    forms = {"en": _plain(latin), "de": _plain(latin), "es": _plain(latin), "ru": decline_russian(cyrillic)}
    return Word(forms, gender="f" if cyrillic.endswith("а") else "m")


def person(first: Word, last: Word, gender: str) -> Word:
    """First and last name. Foreign surnames ending in a consonant are declined for men only in Russian."""
    latin = f"{first.text('en')} {last.text('en')}"
    short = last.text("en")
    given = decline_russian(first.text("ru"), animate=True)
    family = decline_russian(last.text("ru"), animate=True)
    if gender == "f":
        family = dict.fromkeys(family, last.text("ru"))
    russian = {case: f"{given[case]} {family[case]}" for case in given}
    west = {"": latin, "short": short}
    forms = {"en": west, "de": west, "es": west, "ru": {**russian, "short": family[""]}}
    return Word(forms, gender)


def river(latin: str, cyrillic: str) -> Word:
    return Word(
        {
            "en": _plain(f"the {latin}"),
            "de": _german("die der der die", latin),
            "es": _plain(f"el río {latin}"),
            "ru": _russian_head("река реки реке реку рекой реке", decline_russian(cyrillic)),
        },
        gender="f",
    )


def museum(topic: Word, town: Word) -> Word:
    latin = town.text("en")
    subject = f"{topic.text('ru')} в {town.text('ru', 'prep')}"
    german = topic.text("de")
    return Word(
        {
            "en": _plain(f"the {topic.text('en')} in {latin}"),
            "de": _german("das des dem das", f"{german} in {latin}", f"{german}s in {latin}"),
            "es": _plain(f"el {topic.text('es')} de {latin}"),
            "ru": _russian_head("Музей Музея Музею Музей Музеем Музее", subject),
        }
    )


def company(surname: Word) -> Word:
    latin = surname.text("en")
    return Word(
        {
            "en": _plain(f"the {latin} company"),
            "de": _german("die der der die", f"Firma {latin}"),
            "es": _plain(f"la empresa {latin}"),
            "ru": _russian_head(
                "компания компании компании компанию компанией компании", f"«{surname.text('ru')}»"
            ),
        },
        gender="f",
    )


def ship(adjective: Word, noun: Word) -> Word:
    german_gender, german_noun = noun.text("de").split()
    spanish_gender, spanish_noun = noun.text("es").split()
    russian_gender, russian_noun = noun.text("ru").split()
    german = adjective.text("de").capitalize() + {"m": "er", "f": "e", "n": "es"}[german_gender]
    spanish = adjective.text("es", spanish_gender).capitalize()
    russian = adjective.text("ru", russian_gender).capitalize()
    name = f"„{german} {german_noun}“"
    return Word(
        {
            "en": _plain(f"the ship {adjective.text('en')} {noun.text('en')}"),
            "de": _german("das des dem das", f"Schiff {name}", f"Schiffes {name}"),
            "es": _plain(f"el barco «{spanish_noun} {spanish}»"),
            "ru": _russian_head(
                "судно судна судну судно судном судне", f"«{russian} {russian_noun.lower()}»"
            ),
        },
        gender="n",
    )


def novel(adjective: Word, noun: Word) -> Word:
    german_gender, german_noun = noun.text("de").split()
    spanish_gender, spanish_noun = noun.text("es").split()
    russian_gender, russian_noun = noun.text("ru").split()
    article = {"m": "Der", "f": "Die", "n": "Das"}[german_gender]
    german = f"„{article} {adjective.text('de')}e {german_noun}“"
    spanish_article = "El" if spanish_gender == "m" else "La"
    spanish = f"{spanish_article} {spanish_noun} {adjective.text('es', spanish_gender)}"
    russian = f"{adjective.text('ru', russian_gender).capitalize()} {russian_noun}"
    return Word(
        {
            "en": _plain(f'the novel "The {adjective.text("en")} {noun.text("en")}"'),
            "de": _german("der des dem den", f"Roman {german}", f"Romans {german}"),
            "es": _plain(f"la novela «{spanish}»"),
            "ru": _russian_head("роман романа роману роман романом романе", f"«{russian}»"),
        }
    )


class Names:
    """Invented names, each given out once. Parts 0 and 1 share no town, river, surname or title."""

    def __init__(self, part: int, rng: Random) -> None:
        words = lexicon()

        def half(items: Sequence[tuple[Word, ...]]) -> Iterator[tuple[Word, ...]]:
            # The same split for every seed: Random.sample of everything is a shuffled copy.
            mine = Random("embedded world: parts").sample(items, len(items))[part::2]
            rng.shuffle(mine)
            return iter(mine)

        middles = [same(""), *words["middle"]]
        self._towns = half(list(product(words["city_stem"], middles, words["city_end"])))
        self._rivers = half(list(product(words["city_stem"], middles, words["river_end"])))
        self._surnames = half(list(product(words["surname_stem"], words["surname_end"])))
        self._titles = half(list(product(words["adjective"], words["title_noun"])))
        self._ship_names = half(list(product(words["adjective"], words["ship_noun"])))
        self._rng = rng
        self._towns_of_slots = [self.town() for _ in range(40)]
        self._rivers_of_slots = [self.stream() for _ in range(30)]
        self._surnames_of_slots = [self.surname() for _ in range(30)]

    @staticmethod
    def _join(parts: tuple[Word, ...]) -> tuple[str, str]:
        return "".join(p.text("en") for p in parts), "".join(p.text("ru") for p in parts)

    def town(self) -> Word:
        return city(*self._join(next(self._towns)))

    def stream(self) -> Word:
        return river(*self._join(next(self._rivers)))

    def surname(self) -> Word:
        latin, cyrillic = self._join(next(self._surnames))
        return Word({"en": _plain(latin), "de": _plain(latin), "es": _plain(latin), "ru": _plain(cyrillic)})

    def _with_first_name(self, last: Word) -> Word:
        gender = self._rng.choice(("f", "m"))
        return person(self._rng.choice(lexicon()[f"first_{gender}"]), last, gender)

    def subject(self, kind: str) -> Word:
        """A new subject of an article: nothing else in the world has its name."""
        if kind == "city":
            return self.town()
        if kind == "river":
            return self.stream()
        if kind == "scientist":
            return self._with_first_name(self.surname())
        if kind == "company":
            return company(self.surname())
        if kind == "museum":
            return museum(self._rng.choice(lexicon()["topic"]), self.town())
        if kind == "ship":
            return ship(*next(self._ship_names))
        return novel(*next(self._titles))

    def slot(self, kind: str) -> Word:
        """A filler for a slot of this kind, as templates declare it; the same name may come again."""
        name, *limits = kind.split()
        if name == "year":
            return same(str(self._rng.randint(int(limits[0]), int(limits[1]))))
        if name == "number":
            return number(self._rng.randrange(int(limits[0]), int(limits[1]) + 1, int(limits[2])))
        if name == "age":
            return same(str(self._rng.choice(_AGES)))
        if name == "person":
            return self._with_first_name(self._rng.choice(self._surnames_of_slots))
        if name == "city":
            return self._rng.choice(self._towns_of_slots)
        if name == "river":
            return self._rng.choice(self._rivers_of_slots)
        return self._rng.choice(lexicon()[name])
