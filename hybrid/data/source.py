"""What is known of a data set, and where one of its splits is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set before its files are read."""

    name: str
    layout: str  # of hybrid.data.layouts.LAYOUTS
    languages: tuple[str, ...]
    licence: str
    home: str  # page that documents it
    splits: tuple[str, ...]
    default_split: str | None  # None: the whole set
    queries: int | None = None  # of the default split, in all languages together, as published
    documents: int | None = None  # likewise
    archive: str | None = None  # URL of a zip or tar.gz whose top folder is the data set's
    unpacks: str | None = None  # folder the archive becomes, its last part the archive's top; None: name
    files: Mapping[str, str] = field(
        default_factory=dict
    )  # path in the folder -> URL, where there is no archive
    gigabytes: int | None = None  # said before it is fetched, where that is much
    revision: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)  # path in the folder -> checksum of bytes seen
    drop_self_hits: bool = False
    sources: tuple[str, ...] = ()  # collections its text or queries come from: sharing one is not zero-shot
    synthetic: bool = False
    note: str = ""
    stands_in: str | None = None  # its folder under the data root; None: its name

    @property
    def folder(self) -> str:
        """Its folder under the data root."""
        return self.stands_in or self.name

    @property
    def verified(self) -> bool:
        """Whether the bytes that a download must have are known."""
        return bool(self.sha256)

    @property
    def provenance(self) -> frozenset[str]:
        """The set itself and what it was made from."""
        return frozenset((self.name, *self.sources))


@dataclass(frozen=True)
class Source:
    """One split of a data set, and the folder that holds it or will."""

    name: str  # as written in a sweep file, for example "xquad-r:test"
    dataset: DataSet
    split: str | None  # None: the whole set
    folder: Path
