"""The one exception for what a user can put right."""

from collections.abc import Iterable


class BadInput(Exception):  # noqa: N818 - it reads as what it is where it is raised
    """Everything wrong with one input, each mistake one sentence that says where and how to fix it.

    Command lines print the mistakes, one a line, and exit with 2; a traceback is never shown for it.
    """

    def __init__(self, mistakes: str | Iterable[str]) -> None:
        self.mistakes: tuple[str, ...] = (mistakes,) if isinstance(mistakes, str) else tuple(mistakes)
        super().__init__("\n".join(self.mistakes))
